// The map: read strictly, first rule first, replaced only by something better.
import { expect, test } from 'vitest'
import { silentLogger } from '../../../src/base/logger.ts'
import { openLiveRegistry } from '../../../src/schemas/live-registry.ts'
import { planPush } from '../../../src/schemas/push.ts'
import { loadRegistry, type SchemaFiles } from '../../../src/schemas/registry.ts'
import type { SchemaSource } from '../../../src/schemas/source.ts'
import { setOf, userCreated } from './descriptors.ts'

const set = setOf([userCreated])
const encode = (map: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(map))
const entry = { message: 'acme.v1.UserCreated', version: 1 }
const files = (map: unknown, ids = ['v1.users', 'v2.users']): SchemaFiles => ({
  map: encode(map),
  sets: new Map(ids.map((id) => [id, set])),
})
const facts = (subject: string, eventType?: string, command?: string) => ({
  subjects: [subject.split('.')],
  command,
  eventType,
})

test('the first rule that matches decides, by subject, event type or command', () => {
  const registry = loadRegistry(
    files({
      schemas: { 'v1.users': entry, 'v2.users': entry },
      rules: [
        { subject: 'out.t.acme.r.users.*', event_type: 'user.v2', schema: 'v2.users' },
        { subject: 'out.t.acme.r.users.*', schema: 'v1.users' },
        { event_type: 'anywhere', schema: 'v2.users' },
        { command: 'op.create', schema: 'v2.users', required: ['user_id'] },
      ],
      unmatched: 'refuse',
    }),
  )
  const id = (found: ReturnType<typeof registry.find>): unknown => (typeof found === 'object' ? found.id : found)
  expect(id(registry.find(facts('out.t.acme.r.users.a', 'user.v2')))).toBe('v2.users')
  expect(id(registry.find(facts('out.t.acme.r.users.a')))).toBe('v1.users')
  expect(id(registry.find(facts('out.t.acme.r.users.a.b')))).toBe('refuse')
  expect(id(registry.find(facts('in.t.other.raw', 'anywhere')))).toBe('v2.users')
  expect(id(registry.find(facts('in.t.other.raw', undefined, 'op.create')))).toBe('v2.users')
  // A command is never judged by the rules of messages, nor refused for want of one.
  expect(id(registry.find(facts('out.t.acme.r.users.a', undefined, 'history')))).toBeUndefined()
})

const bad: [string, unknown][] = [
  ['no object', []],
  ['an unknown key', { rule: [] }],
  ['an unknown key in a rule', { schemas: { 'v1.users': entry }, rules: [{ subject: 'a', schema: 'v1.users', x: 1 }] }],
  ['a rule without a condition', { schemas: { 'v1.users': entry }, rules: [{ schema: 'v1.users' }] }],
  ['a rule of no schema', { rules: [{ subject: 'a', schema: 'v1.users' }] }],
  ['the prototype as a schema', { rules: [{ subject: 'a', schema: '__proto__' }] }],
  ['a bad pattern', { schemas: { 'v1.users': entry }, rules: [{ subject: 'a.>.b', schema: 'v1.users' }] }],
  ['a bad id', { schemas: { 'v1/users': entry } }],
  ['our own key as an id', { schemas: { _map: entry } }],
  ['a schema without its set', { schemas: { 'v9.users': entry } }],
  ['a message that is not there', { schemas: { 'v1.users': { message: 'acme.v1.Nobody' } } }],
  ['a version of 0', { schemas: { 'v1.users': { ...entry, version: 0 } } }],
  [
    'a required field that is none',
    { schemas: { 'v1.users': entry }, rules: [{ subject: 'a', schema: 'v1.users', required: ['zip'] }] },
  ],
  ['neither allow nor refuse', { unmatched: 'maybe' }],
]
test.each(bad)('refuses a map with %s', (_name, map) => {
  expect(() => loadRegistry(files(map))).toThrow(expect.objectContaining({ code: 'START_REFUSED' }))
})

function sourceOf(read: () => SchemaFiles): SchemaSource & { change(): void; trouble: string | undefined } {
  let told = (): void => undefined
  return {
    name: 'test',
    trouble: undefined,
    read: async () => read(),
    onChange(listener) {
      told = listener
      return () => undefined
    },
    change: () => told(),
    write: async () => undefined,
    close: async () => undefined,
  }
}

test('a bad new map, or none that can be read, leaves the one that serves', async () => {
  const good = files({ schemas: { 'v1.users': entry }, rules: [] })
  let now: () => SchemaFiles = () => good
  const source = sourceOf(() => now())
  const live = await openLiveRegistry({ source, isStrict: true, logger: silentLogger })
  const digest = live.current?.digest
  expect(digest).toBeDefined()
  const settled = async (count: keyof typeof live.counts, value: number): Promise<void> => {
    source.change()
    await expect.poll(() => live.counts[count]).toBe(value)
  }
  now = () => files({ nonsense: 1 })
  await settled('refused', 1)
  expect(live.current?.digest).toBe(digest)
  expect(live.trouble).toMatch(/bad/)
  now = () => {
    throw new Error('away')
  }
  await settled('unreadable', 1)
  expect(live.current?.digest).toBe(digest)
  now = () => files({ schemas: { 'v2.users': entry }, rules: [] })
  await settled('loaded', 2)
  expect(live.current?.digest).not.toBe(digest)
  expect(live.trouble).toBeUndefined()
  source.trouble = 'NATS is away'
  expect(live.trouble).toBe('NATS is away')
  await live.close()
})

test('strict does not start without a registry; otherwise it waits for one', async () => {
  let map: unknown = { nonsense: 1 }
  const source = sourceOf(() => files(map))
  await expect(openLiveRegistry({ source, isStrict: true, logger: silentLogger })).rejects.toMatchObject({
    code: 'START_REFUSED',
  })
  const live = await openLiveRegistry({ source, isStrict: false, logger: silentLogger })
  expect(live.current).toBeUndefined()
  map = {}
  source.change()
  await expect.poll(() => live.current).toBeDefined()
  await live.close()
})

test('a push makes the next version, keeps other rules, and says what it breaks', () => {
  const empty: SchemaFiles = { map: undefined, sets: new Map() }
  const rule = { subject: 'out.t.acme.r.users.*' }
  const first = planPush(empty, { id: 'v1.users', set, message: undefined, rule })
  expect(first).toMatchObject({ message: 'acme.v1.UserCreated', version: 1, isUnchanged: false, breaking: [] })
  const after: SchemaFiles = { map: first.map, sets: new Map([['v1.users', set]]) }
  expect(planPush(after, { id: 'v1.users', set, message: undefined, rule })).toMatchObject({
    version: 1,
    isUnchanged: true,
  })
  const narrow = setOf([{ ...userCreated, fields: userCreated.fields.filter(({ name }) => name !== 'age') }])
  const second = planPush(after, { id: 'v1.users', set: narrow, message: undefined, rule: undefined })
  expect(second).toMatchObject({ version: 2, isUnchanged: false })
  expect(second.breaking.map((change) => change.rule)).toEqual(['FIELD_REMOVED'])
  const stricter = planPush(after, {
    id: 'v1.users',
    set,
    message: undefined,
    rule: { ...rule, required: ['user_id'] },
  })
  expect(loadRegistry({ ...after, map: stricter.map }).map.rules).toEqual([
    { ...rule, schema: 'v1.users', required: ['user_id'] },
  ])
  expect(() => planPush(after, { id: '../etc', set, message: undefined, rule })).toThrow(
    expect.objectContaining({ code: 'VALIDATION_ERROR' }),
  )
})
