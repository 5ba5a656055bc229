// The strict schema: a frame is walked byte by byte against the descriptor the operator pinned. Whatever the
// descriptor does not name is refused, so a narrower descriptor admits less, also of frames the bus would take.
import { isUtf8 } from 'node:buffer'
import { type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf'
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt'
import { BusError } from '../base/errors.ts'
import { readDescriptorSet } from '../schemas/descriptor-set.ts'
import { isSecretField } from '../schemas/secret-fields.ts'

export const schemaRules = [
  'EMPTY',
  'TRUNCATED',
  'BAD_TAG',
  'WIRE_TYPE',
  'UNKNOWN_FIELD',
  'DUPLICATE_FIELD',
  'ONEOF_CONFLICT',
  'BAD_UTF8',
  'OUT_OF_RANGE',
  'UNKNOWN_ENUM_VALUE',
  'TOO_DEEP',
  'REQUIRED_FIELD',
] as const
export type SchemaRule = (typeof schemaRules)[number]

export interface SchemaViolation {
  readonly rule: SchemaRule
  /** Names of fields from the envelope down; a number where the descriptor has no name. Never content. */
  readonly path: string
}

export interface SchemaCheck {
  readonly violation: SchemaViolation | undefined
  /** The frame's id as far as it could be read, unchecked. */
  readonly id: string | undefined
}

export interface Schema {
  check(frame: Uint8Array): SchemaCheck
  /** Fields that it marks with `debug_redact`: `<full name of the message>.<number>`. */
  readonly secretFields: ReadonlySet<string>
}

const envelopeName = 'arqon.v1.Envelope'
const payloadName = 'arqon.pybus.v1.BusPayload'
/** Bytes fields that hold a BusPayload. */
const payloadCarriers: readonly string[] = ['arqon.v1.Command.data', 'arqon.v1.Event.data']
/** Of which a frame has one. */
const bodyFields: readonly string[] = [`${envelopeName}.cmd`, `${envelopeName}.event`]
/** Where a frame's id stands; the first that is not empty counts. */
const idFields: readonly string[] = [`${envelopeName}.trace_id`, `${payloadName}.envelope_id`]

/**
 * Reads a serialised FileDescriptorSet. Throws START_REFUSED when it cannot be read, does not have
 * `arqon.v1.Envelope`, or has groups. `maxDepth` bounds the nesting of messages.
 */
export function loadSchema(descriptorSet: Uint8Array, maxDepth: number): Schema {
  const set = readDescriptorSet(descriptorSet)
  const envelope = set.message(envelopeName)
  if (envelope === undefined) {
    throw new BusError('START_REFUSED', `The schema file has no message ${envelopeName}`, {
      reason: 'SCHEMA_WITHOUT_ENVELOPE',
    })
  }
  const payload = set.message(payloadName)
  const rules = new Map<string, MessageRule>()
  const root = ruleOf(envelope, rules, payload)
  return { check: (frame) => new Walk(frame, maxDepth).run(root), secretFields: secretFieldsOf(envelope, payload) }
}

/** Under our own names of the messages, whatever the operator's descriptor calls those inside. */
function secretFieldsOf(envelope: DescMessage, payload: DescMessage | undefined): ReadonlySet<string> {
  const held = (number: number): DescMessage | undefined =>
    envelope.fields.find((field) => field.number === number)?.message
  const messages: [string, DescMessage | undefined][] = [
    [envelopeName, envelope],
    ['arqon.v1.Command', held(20)],
    ['arqon.v1.Event', held(21)],
    ['arqon.v1.SystemSignal', held(22)],
    [payloadName, payload],
  ]
  return new Set(
    messages.flatMap(([name, message]) =>
      (message?.fields ?? []).filter(isSecretField).map(({ number }) => `${name}.${number}`),
    ),
  )
}

/** Wire types of the protobuf encoding. */
const varint = 0
const fixed64 = 1
const delimited = 2
const fixed32 = 5

interface FieldRule {
  readonly name: string
  readonly wireType: number
  /** Repeated numbers may also come packed, as one delimited field of this wire type. */
  readonly isPackable: boolean
  readonly isRepeated: boolean
  readonly isText: boolean
  readonly oneof: string | undefined
  /** Its bit among the singular fields of its message, 0 for none, and the bits of the other fields of its oneof. */
  bit: number
  rivals: number
  /** It may name the frame. */
  readonly isId: boolean
  /** It is the frame's content. */
  readonly isBody: boolean
  readonly enumValues: ReadonlySet<number> | undefined
  /** Which varints are values of it; 64-bit ones all are. */
  readonly range: Range
  /** What a delimited field holds, if it is a message. Looked up late: messages nest themselves. */
  readonly message: (() => MessageRule) | undefined
}

interface MessageRule {
  readonly name: string
  readonly fields: Map<number, FieldRule>
  /** Those the descriptor requires. */
  readonly required: FieldRule[]
}

/** Of a number: so many fields of one message are noted in it. */
const bits = 32

type Range = 'any' | 'bool' | 'int32' | 'uint32'

function ruleOf(message: DescMessage, rules: Map<string, MessageRule>, payload: DescMessage | undefined): MessageRule {
  const known = rules.get(message.typeName)
  if (known !== undefined) return known
  const rule: MessageRule = { name: message.typeName, fields: new Map(), required: [] }
  rules.set(message.typeName, rule)
  for (const field of message.fields) {
    if (field.fieldKind === 'message' && field.delimitedEncoding) {
      throw unsupported(`${message.typeName} has a group, which no frame may hold`)
    }
    const path = `${message.typeName}.${field.name}`
    const made = fieldRule(
      field,
      (nested) => ruleOf(nested, rules, payload),
      payloadCarriers.includes(path) ? payload : undefined,
    )
    rule.fields.set(field.number, made)
    if (field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED) rule.required.push(made)
  }
  giveBits(rule)
  return rule
}

/** Bits go to the fields of oneofs first; what is left without one is noted in a set of its message. */
function giveBits({ name, fields }: MessageRule): void {
  const singular = [...fields.values()].filter(({ isRepeated }) => !isRepeated)
  const inOneofs = singular.filter(({ oneof }) => oneof !== undefined)
  if (inOneofs.length > bits)
    throw unsupported(`${name} has ${inOneofs.length} fields in oneofs, at most ${bits} may be`)
  const alone = singular.filter(({ oneof }) => oneof === undefined)
  for (const [i, field] of [...inOneofs, ...alone].slice(0, bits).entries()) field.bit = 1 << i
  for (const field of inOneofs) {
    for (const other of inOneofs) if (other !== field && other.oneof === field.oneof) field.rivals |= other.bit
  }
}

function unsupported(what: string): BusError {
  return new BusError('START_REFUSED', what, { reason: 'SCHEMA_UNSUPPORTED' })
}

function fieldRule(
  field: DescField,
  nested: (message: DescMessage) => MessageRule,
  carried: DescMessage | undefined,
): FieldRule {
  const base = {
    name: field.name,
    wireType: delimited,
    isPackable: false,
    isRepeated: field.fieldKind === 'list' || field.fieldKind === 'map',
    isText: false,
    oneof: field.oneof?.name,
    bit: 0,
    rivals: 0,
    isId: idFields.includes(`${field.parent.typeName}.${field.name}`),
    isBody: bodyFields.includes(`${field.parent.typeName}.${field.name}`),
    enumValues: undefined,
    range: 'any' as Range,
    message: undefined,
  }
  if (field.fieldKind === 'map') {
    const entry = mapEntryRule(field, nested)
    return { ...base, message: () => entry }
  }
  const { message, scalar, enum: values } = field
  if (message !== undefined) return { ...base, message: () => nested(message) }
  if (values !== undefined) {
    return { ...base, wireType: varint, isPackable: base.isRepeated, range: 'int32', enumValues: numbersOf(values) }
  }
  const wireType = wireTypeOf(scalar)
  return {
    ...base,
    wireType,
    isPackable: base.isRepeated && wireType !== delimited,
    range: rangeOf(scalar),
    isText: scalar === ScalarType.STRING,
    message: carried === undefined ? undefined : () => nested(carried),
  }
}

function mapEntryRule(
  field: DescField & { fieldKind: 'map' },
  nested: (message: DescMessage) => MessageRule,
): MessageRule {
  const base = {
    isPackable: false,
    isRepeated: false,
    oneof: undefined,
    bit: 0,
    rivals: 0,
    isId: false,
    isBody: false,
    enumValues: undefined,
    message: undefined,
  }
  const key: FieldRule = {
    ...base,
    name: 'key',
    wireType: wireTypeOf(field.mapKey),
    isText: field.mapKey === ScalarType.STRING,
    range: rangeOf(field.mapKey),
  }
  const { message, scalar, enum: values } = field
  const value: FieldRule = {
    ...base,
    name: 'value',
    wireType: message !== undefined ? delimited : values !== undefined ? varint : wireTypeOf(scalar),
    isText: scalar === ScalarType.STRING,
    range: values === undefined ? rangeOf(scalar) : 'int32',
    ...(values !== undefined && { enumValues: numbersOf(values) }),
    ...(message !== undefined && { message: () => nested(message) }),
  }
  const rule: MessageRule = {
    name: `${field.name} entry`,
    fields: new Map([
      [1, key],
      [2, value],
    ]),
    required: [],
  }
  giveBits(rule)
  return rule
}

function numbersOf({ values }: DescEnum): ReadonlySet<number> {
  return new Set(values.map(({ number }) => number))
}

function rangeOf(scalar: ScalarType | undefined): Range {
  if (scalar === ScalarType.BOOL) return 'bool'
  if (scalar === ScalarType.INT32) return 'int32'
  return scalar === ScalarType.UINT32 || scalar === ScalarType.SINT32 ? 'uint32' : 'any'
}

function wireTypeOf(scalar: ScalarType | undefined): number {
  return (scalar !== undefined && wireTypes.get(scalar)) || varint
}

/** Every other scalar is a varint. */
const wireTypes: ReadonlyMap<ScalarType, number> = new Map([
  [ScalarType.STRING, delimited],
  [ScalarType.BYTES, delimited],
  [ScalarType.FIXED32, fixed32],
  [ScalarType.SFIXED32, fixed32],
  [ScalarType.FLOAT, fixed32],
  [ScalarType.FIXED64, fixed64],
  [ScalarType.SFIXED64, fixed64],
  [ScalarType.DOUBLE, fixed64],
])

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true })

/** Stops a walk: thrown and caught in this file only. */
class Stop {
  readonly rule: SchemaRule
  readonly path: string[]

  constructor(rule: SchemaRule, field?: string) {
    this.rule = rule
    this.path = field === undefined ? [] : [field]
  }
}

class Walk {
  readonly #bytes: Uint8Array
  readonly #maxDepth: number
  #at = 0
  #id: string | undefined
  #hasBody = false
  /** The low half of the varint read last. */
  #low = 0

  constructor(bytes: Uint8Array, maxDepth: number) {
    this.#bytes = bytes
    this.#maxDepth = maxDepth
  }

  run(root: MessageRule): SchemaCheck {
    try {
      if (this.#bytes.length === 0) throw new Stop('EMPTY')
      this.#message(root, this.#bytes.length, 1)
      if (!this.#hasBody) throw new Stop('REQUIRED_FIELD', 'payload')
      if (this.#id === undefined || this.#id === '') throw new Stop('REQUIRED_FIELD', 'trace_id')
      return { violation: undefined, id: this.#id }
    } catch (stop) {
      if (!(stop instanceof Stop)) throw stop
      return { violation: { rule: stop.rule, path: stop.path.join('.') }, id: this.#id }
    }
  }

  #message(rule: MessageRule, end: number, depth: number): void {
    if (depth > this.#maxDepth) throw new Stop('TOO_DEEP')
    let seen = 0
    let others: Set<FieldRule> | undefined
    while (this.#at < end) {
      const tag = this.#varint(end)
      const number = Math.floor(tag / 8)
      if (number === 0 || number > 0x1fff_ffff) throw new Stop('BAD_TAG')
      const field = rule.fields.get(number)
      if (field === undefined) throw new Stop('UNKNOWN_FIELD', String(number))
      if ((seen & field.bit) !== 0) throw new Stop('DUPLICATE_FIELD', field.name)
      if ((seen & field.rivals) !== 0) throw new Stop('ONEOF_CONFLICT', field.name)
      seen |= field.bit
      if (field.bit === 0 && !field.isRepeated) {
        if (others?.has(field)) throw new Stop('DUPLICATE_FIELD', field.name)
        others = (others ?? new Set<FieldRule>()).add(field)
      }
      try {
        this.#value(field, tag % 8, end, depth)
      } catch (stop) {
        if (stop instanceof Stop) stop.path.unshift(field.name)
        throw stop
      }
    }
    for (const field of rule.required) {
      if ((seen & field.bit) === 0 && !others?.has(field)) throw new Stop('REQUIRED_FIELD', field.name)
    }
  }

  #value(field: FieldRule, wireType: number, end: number, depth: number): void {
    if (wireType !== field.wireType) {
      if (!field.isPackable || wireType !== delimited) throw new Stop('WIRE_TYPE')
      const packedEnd = this.#length(end)
      while (this.#at < packedEnd) this.#number(field, packedEnd)
      return
    }
    if (wireType !== delimited) {
      this.#number(field, end)
      return
    }
    const valueEnd = this.#length(end)
    if (field.message !== undefined) {
      this.#hasBody ||= field.isBody
      this.#message(field.message(), valueEnd, depth + 1)
      return
    }
    if (field.isText) this.#text(valueEnd)
    if (field.isId && !this.#id) this.#id = utf8.decode(this.#bytes.subarray(this.#at, valueEnd))
    this.#at = valueEnd
  }

  /** Most text is ASCII, and then no view of it is needed. */
  #text(end: number): void {
    for (let at = this.#at; at < end; at++) {
      if (this.#bytes[at]! < 0x80) continue
      if (!isUtf8(this.#bytes.subarray(at, end))) throw new Stop('BAD_UTF8')
      return
    }
  }

  #number(field: FieldRule, end: number): void {
    if (field.wireType === fixed32) this.#skip(4, end)
    else if (field.wireType === fixed64) this.#skip(8, end)
    else {
      const value = this.#varint(end)
      if (!isInRange(field.range, value, this.#low)) throw new Stop('OUT_OF_RANGE')
      if (field.enumValues !== undefined) {
        // Negative numbers take ten bytes, too many for a double: their low half tells them apart.
        const number = value >= negativeFrom ? this.#low | 0 : value
        if (!field.enumValues.has(number)) throw new Stop('UNKNOWN_ENUM_VALUE')
      }
    }
  }

  #length(end: number): number {
    const length = this.#varint(end)
    if (length > end - this.#at) throw new Stop('TRUNCATED')
    return this.#at + length
  }

  #skip(count: number, end: number): void {
    if (count > end - this.#at) throw new Stop('TRUNCATED')
    this.#at += count
  }

  /**
   * At most ten bytes and 64 bits; above 2^53 the value is only roughly right, `#low` its low half exactly.
   */
  #varint(end: number): number {
    const first = this.#bytes[this.#at]!
    if (first < 0x80 && this.#at < end) {
      this.#at++
      this.#low = first
      return first
    }
    let value = 0
    let factor = 1
    let low = 0
    for (let i = 0; i < 10; i++) {
      if (this.#at >= end) throw new Stop('TRUNCATED')
      const byte = this.#bytes[this.#at++]!
      if (i === 9 && byte > 1) throw new Stop(byte < 0x80 ? 'OUT_OF_RANGE' : 'TRUNCATED')
      value += (byte & 0x7f) * factor
      if (i < 5) low |= (byte & 0x7f) << (7 * i)
      if (byte < 0x80) {
        this.#low = low
        return value
      }
      factor *= 128
    }
    throw new Stop('TRUNCATED')
  }
}

/** The low end of negative int32s as 64-bit varints, as near as a double comes. */
const negativeFrom = 2 ** 64 - 2 ** 31

/** `value` is roughly right, `low` its low 32 bits exactly. */
function isInRange(range: Range, value: number, low: number): boolean {
  if (range === 'any') return true
  if (range === 'bool') return value <= 1
  if (range === 'uint32') return value < 2 ** 32
  // 2^64 - 2^31 and above in steps of 2048: only what is below by less than a step could be taken for it.
  return value < 2 ** 31 || (value >= negativeFrom && (low | 0) < 0)
}
