// What the rules of schemas reach at the edge: args of commands, messages that no rule matches, other tenants, keys that
// stand in a payload twice.
import { afterEach, expect, test } from 'vitest'
import type { LiveRegistry } from '../../../src/schemas/live-registry.ts'
import { loadRegistry } from '../../../src/schemas/registry.ts'
import { encodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import { type EdgeLab, startEdgeLab } from '../../support/edge-lab.ts'
import { setOf, userCreated } from '../../unit/schemas/descriptors.ts'

let lab: EdgeLab | undefined
afterEach(() => lab?.close())

function registryOf(map: object): LiveRegistry {
  const whole = { schemas: { 'v1.users': { message: 'acme.v1.UserCreated' } }, ...map }
  const current = loadRegistry({
    map: new TextEncoder().encode(JSON.stringify(whole)),
    sets: new Map([['v1.users', setOf([userCreated])]]),
  })
  const counts = { loaded: 1, refused: 0, unreadable: 0 }
  return { current, trouble: undefined, counts, close: () => Promise.resolve() }
}
const startWith = async (map: object): Promise<EdgeLab> => {
  lab = await startEdgeLab({ shield: { schemas: registryOf(map) } })
  return lab
}

test('args of a command are judged by its rule, and no other command is', async () => {
  const open = await startWith({ rules: [{ command: 'history', schema: 'v1.users' }] })
  const one = await open.client('acme.a')
  const id = one.send({ type: 'command', command: 'history', args: { room: 'ops' } })
  expect(await one.answerTo(id)).toMatchObject({
    error_code: 'SCHEMA_VIOLATION',
    payload: { field: 'args.room', reason: 'UNKNOWN_FIELD' },
  })
  const other = one.send({ type: 'command', command: 'ping', args: { room: 'ops' } })
  expect((await one.answerTo(other)).error_code).not.toBe('SCHEMA_VIOLATION')
})

test('messages that no rule matches are refused where the map says so; commands never are', async () => {
  const open = await startWith({
    unmatched: 'refuse',
    rules: [{ subject: 'out.t.acme.r.users.*', schema: 'v1.users' }],
  })
  const one = await open.client('acme.a', { format: 'protobuf' })
  expect(await one.publish('users', 'a', { user_id: 'u' })).toMatchObject({ type: 'message_response' })
  expect(await one.publish('ops', 'a', { user_id: 'u' })).toMatchObject({
    error_code: 'SCHEMA_VIOLATION',
    payload: { reason: 'NO_SCHEMA' },
  })
  await one.join('ops', 'a')
  const stranger = await open.client('other.a')
  expect(await stranger.publish('users', 'a', { user_id: 'u' })).toMatchObject({ payload: { reason: 'NO_SCHEMA' } })
  expect(open.shield.metrics.read('shield_unmatched_payloads_total')).toBe(2)
})

test('the tenant is the one of the token, whatever the frame says of itself', async () => {
  const open = await startWith({ rules: [{ subject: 'out.t.acme.r.users.*', schema: 'v1.users' }] })
  const one = await open.client('acme.a')
  expect(await one.publish('users', 'a', { zip: 1 }, { tenant_id: 'other' })).toMatchObject({
    error_code: 'TENANT_MISMATCH',
  })
  expect(await one.publish('users', 'a', { zip: 1 }, { tenant_id: 'acme' })).toMatchObject({
    error_code: 'SCHEMA_VIOLATION',
  })
})

test("an operator's message is judged by the rules of the tenant it names", async () => {
  const open = await startWith({ rules: [{ subject: 'out.t.acme.r.users.*', schema: 'v1.users' }] })
  const one = await open.client('*.root.operator')
  expect(await one.publish('users', 'a', { zip: 1 }, { tenant_id: 'acme' })).toMatchObject({
    error_code: 'SCHEMA_VIOLATION',
  })
  expect(await one.publish('users', 'a', { zip: 1 }, { tenant_id: 'other' })).toMatchObject({
    type: 'message_response',
  })
})

test('a key that stands twice hides nothing', async () => {
  const open = await startWith({ rules: [{ subject: 'out.t.acme.r.users.*', schema: 'v1.users' }] })
  const one = await open.client('acme.a', { format: 'protobuf' })
  const bytes = Buffer.from(
    encodeProtobuf({
      id: 'arq_1795417006860163159_1_55420b',
      timestamp: '2026-11-23T12:00:00.000Z',
      type: 'message',
      version: '1.0',
      room: 'users',
      channel: 'a',
      payload: { mail: 'x', male: 'y' },
      args: {},
      metadata: {},
    }),
  )
  bytes.write('mail', bytes.indexOf('male'))
  one.sendRaw(bytes)
  const answer = await one.until((frame) => frame.type === 'error', 'the refusal')
  expect(answer).toMatchObject({
    error_code: 'SCHEMA_VIOLATION',
    payload: { field: 'payload', reason: 'DUPLICATE_FIELD' },
  })
})
