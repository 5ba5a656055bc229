// Shield and the bus read the arguments of a join alike: otherwise a member at the bus would hear nothing at the edge.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../src/base/json.ts'
import type { Envelope } from '../../../src/envelope/envelope.ts'
import { roomAndChannel } from '../../../src/router/args.ts'
import { intentOf } from '../../../src/shield/intent.ts'

const identity = { tenant: 'acme', subject: 's', role: 'user' } as const

function join(args: JsonObject, command = 'join_channel', metadata: JsonObject = {}): Envelope {
  return { id: 'x', timestamp: '', type: 'command', version: '1.0', payload: {}, args, metadata, command }
}

function ofBus(args: JsonObject): { room: string; channel: string } | undefined {
  try {
    return roomAndChannel(args, true)
  } catch {
    return undefined
  }
}

test('agrees with the bus on every form of arguments', () => {
  const value = fc.constantFrom(
    'a',
    'b:c',
    ':c',
    'b:',
    '*',
    'a:*',
    '>',
    '',
    'x'.repeat(129),
    'ü',
    'a\u0000',
    null,
    7,
    {},
    [],
  )
  const args = fc.record(
    { room: value, channel: value, name: value, channel_id: value },
    { requiredKeys: [] },
  ) as fc.Arbitrary<JsonObject>
  fc.assert(
    fc.property(args, (given) => {
      const intent = intentOf(join(given), identity)
      const expected = ofBus(given)
      expect(intent).toEqual(
        expected === undefined ? undefined : { kind: 'join', name: { tenant: 'acme', ...expected } },
      )
    }),
    { numRuns: 2_000 },
  )
})

test('takes its tenant from the token, and an operator may name one', () => {
  const args = { room: 'r', channel: 'c', tenant_id: 'globex' }
  expect(intentOf(join(args), identity)).toMatchObject({ name: { tenant: 'acme' } })
  const operator = { tenant: '*', subject: 's', role: 'operator' } as const
  expect(intentOf(join(args, 'leave_channel'), operator)).toMatchObject({ kind: 'leave', name: { tenant: 'globex' } })
  const { tenant_id: _, ...plain } = args
  expect(intentOf(join(plain), operator)).toMatchObject({ name: { tenant: 'default' } })
  expect(intentOf(join(plain, 'join_channel', { tenant_id: 'acme' }), operator)).toMatchObject({
    name: { tenant: 'acme' },
  })
})

test('has no part in other commands, and keeps refreshes', () => {
  expect(intentOf(join({ room: 'r', channel: 'c' }, 'history'), identity)).toBeUndefined()
  expect(intentOf(join({ token: 't' }, 'auth.refresh'), identity)).toEqual({ kind: 'refresh', token: 't' })
})
