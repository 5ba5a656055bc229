// Frames without their secrets: whatever the frame looks like, no planted secret is left in its bytes; what is not marked
// stays, and where nothing is marked the very bytes stay.
import { readFileSync } from 'node:fs'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { FieldOptionsSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Identity } from '../../../src/auth/identity.ts'
import type { JsonObject, JsonValue } from '../../../src/base/json.ts'
import { readDescriptorSet } from '../../../src/schemas/descriptor-set.ts'
import { secretFieldsOf } from '../../../src/schemas/secret-fields.ts'
import { createRedact, type RedactionPorts, redactedText } from '../../../src/shield/redact.ts'
import { loadSchema } from '../../../src/shield/schema.ts'
import { CommandSchema, EnvelopeSchema, EventSchema } from '../../../src/wire/generated/arqon/v1/envelope_pb.ts'
import { defaultWireLimits } from '../../../src/wire/limits.ts'
import { decodeProtobuf, encodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import { messageOf, sampleId } from '../../support/frames.ts'
import { setOf, userCreated, userWithSecrets } from '../schemas/descriptors.ts'

const identity: Identity = { tenant: 'acme', subject: 'a', role: 'user' }
const names = ['password', 'api_key']
const redactBy = (ports: Partial<RedactionPorts> = {}) =>
  createRedact({ names, envelopeFields: new Set(), payloads: undefined, limits: defaultWireLimits, ...ports })
const redact = redactBy()
const clean = (frame: Uint8Array, by = redact): { bytes: Uint8Array; fields: number } => {
  const result = by(frame, identity)
  if (result === undefined) throw new Error('withheld')
  return result
}
const decode = (bytes: Uint8Array) => decodeProtobuf(bytes, defaultWireLimits)

/** Stands in every planted secret and nowhere else. */
const marker = 'zQ7-planted-'
const holds = (bytes: Uint8Array): boolean => Buffer.from(bytes).includes(marker)

const markedKey = fc.constantFrom(
  'password',
  'Password',
  'PASS_WORD',
  'apiKey',
  'API-Key',
  'user.password',
  'a[api_key]',
)
const plainKey = fc.stringMatching(/^[a-z]{1,3}$/)
const plainLeaf = fc.oneof(fc.constant(null), fc.boolean(), fc.integer(), fc.stringMatching(/^[a-z "\\]{0,6}$/))
const secretText = fc.stringMatching(/^\w{0,20}$/).map((tail) => marker + tail)

/** Pairs of a value with secrets in it, and what has to be left of it. */
type Pair = readonly [JsonValue, JsonValue]
const { tree } = fc.letrec<{ secret: JsonValue; tree: Pair }>((tie) => ({
  secret: fc.oneof(
    { maxDepth: 3 },
    secretText,
    fc.array(tie('secret'), { maxLength: 3 }),
    fc.dictionary(plainKey, tie('secret'), { maxKeys: 3 }),
  ),
  tree: fc.oneof(
    { maxDepth: 5, depthSize: 'medium' },
    plainLeaf.map((leaf): Pair => [leaf, leaf]),
    fc.array(tie('tree'), { maxLength: 4 }).map((items): Pair => [items.map(([a]) => a), items.map(([, b]) => b)]),
    fc
      .tuple(
        fc.uniqueArray(fc.tuple(plainKey, tie('tree')), { maxLength: 3, selector: ([key]) => key }),
        fc.uniqueArray(fc.tuple(markedKey, tie('secret')), { maxLength: 2, selector: ([key]) => key }),
      )
      .map(
        ([plain, marked]): Pair => [
          Object.fromEntries([...plain.map(([key, [value]]) => [key, value]), ...marked]) as JsonObject,
          Object.fromEntries([
            ...plain.map(([key, [, value]]) => [key, value]),
            ...marked.map(([key]) => [key, redactedText]),
          ]) as JsonObject,
        ],
      ),
    // JSON as a text, once or twice over.
    fc.tuple(markedKey, tie('secret'), fc.boolean()).map(([key, value, isTwice]): Pair => {
      const once = JSON.stringify({ a: [{ [key]: value }] })
      return [isTwice ? JSON.stringify({ b: once }) : once, redactedText]
    }),
  ),
}))

test('no planted secret is left, and nothing else is lost', () => {
  fc.assert(
    fc.property(tree, tree, tree, ([payload, left], [args, leftOfArgs], [inner, leftOfInner]) => {
      fc.pre(payload !== null) // no message
      const frame = encodeProtobuf(messageOf({ payload, args: { args }, metadata: { inner } }))
      const { bytes, fields } = clean(frame)
      expect(holds(bytes)).toBe(false)
      const expected = messageOf({ payload: left, args: { args: leftOfArgs }, metadata: { inner: leftOfInner } })
      expect(decode(bytes)).toEqual(decode(encodeProtobuf(expected)))
      if (fields === 0) expect(bytes).toBe(frame)
    }),
    { numRuns: 1_000 },
  )
})

describe('however the bytes are laid out', () => {
  /** A Struct by hand: keys may stand twice, behind their values, and lengths may be longer than they need to be. */
  type Node = { text: string } | { list: Node[] } | { entries: [string, Node][] }
  const node = fc.letrec<{ node: Node; secret: Node }>((tie) => ({
    secret: fc.oneof(
      { maxDepth: 2 },
      secretText.map((text): Node => ({ text })),
      fc.array(tie('secret'), { maxLength: 2 }).map((list): Node => ({ list })),
    ),
    node: fc.oneof(
      { maxDepth: 4 },
      plainKey.map((text): Node => ({ text })),
      fc.array(tie('node'), { maxLength: 3 }).map((list): Node => ({ list })),
      fc
        .array(fc.oneof(fc.tuple(plainKey, tie('node')), fc.tuple(markedKey, tie('secret'))), { maxLength: 4 })
        // The first once more at the end: readers that keep the last value never see the one before.
        .map((entries): Node => ({ entries: [...entries, ...entries.slice(0, 1)] })),
    ),
  })).node

  interface Style {
    readonly isSwapped: boolean
    readonly padding: number
  }
  const lengthOf = (length: number, padding: number): number[] => {
    const bytes: number[] = []
    let rest = length
    for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80)
    bytes.push(rest)
    for (let i = 0; i < padding; i++) {
      bytes[bytes.length - 1]! |= 0x80
      bytes.push(0)
    }
    return bytes
  }
  const field = (tag: number, content: number[], { padding }: Style): number[] => [
    tag,
    ...lengthOf(content.length, padding),
    ...content,
  ]
  const structOf = (entries: readonly [string, Node][], style: Style): number[] =>
    entries.flatMap(([key, value]) => {
      const parts = [field(0x0a, [...Buffer.from(key)], style), field(0x12, bytesOf(value, style), style)]
      return field(0x0a, (style.isSwapped ? parts.reverse() : parts).flat(), style)
    })
  const bytesOf = (value: Node, style: Style): number[] => {
    if ('text' in value) return field(0x1a, [...Buffer.from(value.text)], style)
    if ('list' in value)
      return field(
        0x32,
        value.list.flatMap((item) => field(0x0a, bytesOf(item, style), style)),
        style,
      )
    return field(0x2a, structOf(value.entries, style), style)
  }

  test('no planted secret is left', () => {
    fc.assert(
      fc.property(
        node,
        fc.boolean(),
        fc.integer({ min: 0, max: 2 }),
        fc.boolean(),
        (root, isSwapped, padding, isCmd) => {
          const style = { isSwapped, padding }
          const struct = structOf([['root', root]], style)
          const data = new Uint8Array(
            [0xa2, 0x01, 0xaa, 0x01, 0xb2, 0x01].flatMap((byte, i) => {
              if (i % 2 === 0) return [byte]
              return [byte, ...lengthOf(struct.length, padding), ...struct]
            }),
          )
          const frame = toBinary(
            EnvelopeSchema,
            create(EnvelopeSchema, {
              traceId: sampleId,
              payload: isCmd
                ? { case: 'cmd', value: create(CommandSchema, { type: 'ping', data }) }
                : { case: 'event', value: create(EventSchema, { type: 'message', data }) },
            }),
          )
          const { bytes, fields } = clean(frame)
          expect(holds(bytes)).toBe(false)
          expect(() => decode(bytes)).not.toThrow()
          if (fields === 0) expect(bytes).toBe(frame)
        },
      ),
      { numRuns: 1_000 },
    )
  })
})

const eventFrame = (fields: object, data: Uint8Array): Uint8Array =>
  toBinary(
    EnvelopeSchema,
    create(EnvelopeSchema, {
      traceId: sampleId,
      payload: { case: 'event', value: create(EventSchema, { type: 'message', data }) },
      ...fields,
    }),
  )
/** BusPayload with the payload `{}`. */
const emptyData = new Uint8Array([0xa2, 0x01, 0x00])

test('headers of the envelope are looked at like keys', () => {
  const headers = { 'Api-Key': `${marker}1`, note: `{"password": "${marker}2"}`, other: 'kept' }
  const { bytes, fields } = clean(eventFrame({ headers }, emptyData))
  expect(holds(bytes)).toBe(false)
  expect(fields).toBe(2)
  expect(Buffer.from(bytes).includes('kept')).toBe(true)
})

test('a secret at the greatest depth is found', () => {
  let payload: JsonObject = { api_key: `${marker}x` }
  for (let depth = 1; depth < defaultWireLimits.maxDepth; depth++) payload = { a: payload }
  const { bytes } = clean(encodeProtobuf(messageOf({ payload })))
  expect(holds(bytes)).toBe(false)
})

describe('what cannot be redacted surely is withheld', () => {
  test('a secret that also stands where nothing is marked', () => {
    const payload = { password: 'correct horse', note: 'it is: correct horse.' }
    expect(redact(encodeProtobuf(messageOf({ payload })), identity)).toBeUndefined()
    const other = { api_key: { list: ['correct horse'] }, note: 'correct cow' }
    expect(redact(encodeProtobuf(messageOf({ payload: other })), identity)).toMatchObject({ fields: 1 })
  })

  test('bytes that are no frame', () => {
    expect(redact(new Uint8Array([1, 2, 3]), identity)).toBeUndefined()
  })

  test('more secrets than can be looked for', () => {
    const items = Array.from({ length: 900 }, (_, i) => `long secret ${i}`)
    const payload = { password: items, filler: 'x'.repeat(10_000) }
    expect(redact(encodeProtobuf(messageOf({ payload })), identity)).toBeUndefined()
  })

  test('a payload whose schema is not known', () => {
    const by = redactBy({ payloads: { secretsOf: () => 'unknown' } })
    expect(by(encodeProtobuf(messageOf()), identity)).toBeUndefined()
  })

  test('every frame, where the schema of the envelope could not be loaded', () => {
    expect(redactBy({ envelopeFields: undefined })(encodeProtobuf(messageOf()), identity)).toBeUndefined()
  })
})

describe('what the schema of the payload marks', () => {
  const message = readDescriptorSet(setOf([userWithSecrets])).message('acme.v1.UserCreated')!
  const secrets = secretFieldsOf(message)
  const by = redactBy({ names: [], payloads: { secretsOf: () => secrets } })

  test('is taken out wherever the message stands, and by both of its names', () => {
    const user = { user_id: 'u', tax_number: `${marker}1`, answers: [`${marker}2`], card: { city: `${marker}3` } }
    const payload = {
      ...user,
      friends: [{ user_id: 'f', taxNumber: `${marker}4`, friends: [user] }],
      by_name: { tax_number: user, b: { byName: { c: { taxNumber: 5 } } } },
      tags: ['kept'],
    }
    const { bytes, fields } = clean(encodeProtobuf(messageOf({ payload })), by)
    expect(holds(bytes)).toBe(false)
    const bare = { user_id: 'u', tax_number: redactedText, answers: redactedText, card: redactedText }
    expect(decode(bytes).payload).toEqual({
      ...bare,
      friends: [{ user_id: 'f', taxNumber: redactedText, friends: [bare] }],
      by_name: { tax_number: bare, b: { byName: { c: { taxNumber: redactedText } } } },
      tags: ['kept'],
    })
    expect(fields).toBe(11)
  })

  test('counts in the args of a command, and not in its payload', () => {
    const frame = encodeProtobuf(
      messageOf({
        type: 'command',
        command: 'x',
        args: { tax_number: `${marker}1` },
        payload: { tax_number: 'other' },
      }),
    )
    const { args, payload } = decode(clean(frame, by).bytes)
    expect(args).toEqual({ tax_number: redactedText })
    expect(payload).toEqual({ tax_number: 'other' })
  })

  test('is nothing where no field has the option', () => {
    expect(secretFieldsOf(readDescriptorSet(setOf([userCreated])).message('acme.v1.UserCreated')!)).toBeUndefined()
  })
})

describe('a field of the envelope that its schema marks', () => {
  test('becomes the mark where it is text, and is left out where it is not', () => {
    const frame = encodeProtobuf(messageOf({ error: `${marker}1`, payload: { a: 1 }, metadata: { b: 'kept' } }))
    const by = redactBy({
      envelopeFields: new Set(['arqon.pybus.v1.BusPayload.9', 'arqon.pybus.v1.BusPayload.20', 'arqon.v1.Envelope.4']),
    })
    const { bytes, fields } = clean(frame, by)
    expect(decode(bytes)).toMatchObject({ error: redactedText, payload: {}, metadata: { b: 'kept' } })
    expect(fields).toBe(3)
  })

  test('is found in the descriptor, also in the messages inside', () => {
    const shipped = readFileSync(new URL('../../../src/wire/generated/envelope.desc', import.meta.url))
    expect([...loadSchema(shipped, 100).secretFields]).toEqual([])
    const set = fromBinary(FileDescriptorSetSchema, shipped)
    for (const name of ['tenant_id', 'reason', 'error', 'args']) {
      for (const field of set.file.flatMap(({ messageType }) => messageType).flatMap((message) => message.field)) {
        if (field.name === name) field.options = create(FieldOptionsSchema, { debugRedact: true })
      }
    }
    const { secretFields } = loadSchema(toBinary(FileDescriptorSetSchema, set), 100)
    expect([...secretFields].sort()).toEqual([
      'arqon.pybus.v1.BusPayload.21',
      'arqon.pybus.v1.BusPayload.9',
      'arqon.v1.Envelope.2',
      'arqon.v1.SystemSignal.2',
    ])
  })
})
