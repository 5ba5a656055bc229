// Copies without what is marked as secret (docs/shield.md). Marked are keys by their name, at any depth, and fields by the
// schema of the payload or of the envelope. Only what is marked is written anew: the rest of the frame stays as it came,
// and a frame in which nothing is marked is the same bytes.
import type { Identity } from '../auth/identity.ts'
import type { SecretFields } from '../schemas/secret-fields.ts'
import { decodeProtobuf } from '../wire/protobuf-codec.ts'
import type { WireLimits } from '../wire/limits.ts'
import { scanFrame } from '../wire/message-frame.ts'
import { decodeText, Reader } from '../wire/reader.ts'
import { tags } from '../wire/struct.ts'
import type { PayloadSchemas } from './payload-schemas.ts'

export interface Redacted {
  readonly bytes: Uint8Array
  /** How many values were taken out; 0: the bytes are those that came. */
  readonly fields: number
}

/** Undefined: it cannot be said for sure what in the frame is secret, or it would still be seen. Never throws. */
export type Redact = (frame: Uint8Array, identity: Identity) => Redacted | undefined

export interface RedactionPorts {
  /** Names of keys whose values are secret; case, `-`, `_` and blanks do not count. */
  readonly names: readonly string[]
  /**
   * Fields of the frame's own messages that its schema marks: `<full name of the message>.<number>`. Undefined where the
   * schema could not be loaded: then nothing is sure.
   */
  readonly envelopeFields: ReadonlySet<string> | undefined
  readonly payloads: Pick<PayloadSchemas, 'secretsOf'> | undefined
  readonly limits: WireLimits
}

/** What stands for a secret (original-contract 9). */
export const redactedText = '***REDACTED***'

export function createRedact({ names, envelopeFields, payloads, limits }: RedactionPorts): Redact {
  if (envelopeFields === undefined) return () => undefined
  const marks: Marks = { names: new Set(names.map(plainName)), judged: new Map(), envelopeFields }
  return (bytes, identity) => {
    try {
      const scan = scanFrame(bytes, limits)
      const isCommand = scan.type === 'command'
      const command = isCommand ? decodeProtobuf(bytes, limits) : undefined
      const secrets = payloads?.secretsOf({ scan, tenantId: scan.tenantId, command }, identity)
      if (secrets === 'unknown') return undefined
      return new Walk(bytes, marks, secrets && { part: isCommand ? 'args' : 'payload', secrets }).run()
    } catch {
      return undefined
    }
  }
}

interface Marks {
  readonly names: ReadonlySet<string>
  /** Short keys that were looked at: most frames have the same few. */
  readonly judged: Map<string, boolean>
  readonly envelopeFields: ReadonlySet<string>
}

/** One spelling for `api_key`, `apiKey`, `API-Key`. */
const plainName = (name: string): string => name.toLowerCase().replaceAll(/[-_ ]/g, '')
/** What divides the parts of a flattened key: `user.password`, `user[password]`. */
const keyParts = /[.[\]/:]+/

/** A message around the Structs; fields that are not named here are text. */
interface Layout {
  readonly message: string
  readonly parts: Readonly<Record<number, Layout | StructPart | 'header' | 'bytes'>>
}
type StructPart = 'payload' | 'args' | 'metadata'

const busPayload: Layout = {
  message: 'arqon.pybus.v1.BusPayload',
  parts: { 20: 'payload', 21: 'args', 22: 'metadata' },
}
const envelope: Layout = {
  message: 'arqon.v1.Envelope',
  parts: {
    6: 'header',
    10: 'bytes',
    20: { message: 'arqon.v1.Command', parts: { 2: busPayload } },
    21: { message: 'arqon.v1.Event', parts: { 2: busPayload } },
    22: { message: 'arqon.v1.SystemSignal', parts: {} },
  },
}

/** Bytes to stand in place of `[start, end)`. */
type Edit = readonly [start: number, end: number, bytes: Uint8Array]

const varint = 0
const delimited = 2
const secretText = Buffer.from(redactedText)
const secretValue = Buffer.concat([Buffer.from([tags.text]), prefixed(secretText)])
const nothing = new Uint8Array()
const quote = 0x22
const backslash = 0x5c
const maxJudged = 1_024
const maxJudgedLength = 64
/** Shorter texts stand in many frames by chance. */
const minSoughtBytes = 8
/** Bytes looked through for secrets that stand a second time. */
const maxSoughtWork = 8 * 1024 * 1024

/** One frame. Each method returns the new content of what it was given, or undefined where that stays as it is. */
class Walk {
  readonly #bytes: Uint8Array
  readonly #reader: Reader
  readonly #marks: Marks
  readonly #schema: { readonly part: StructPart; readonly secrets: SecretFields } | undefined
  /** Texts that were taken out. */
  readonly #secrets: Buffer[] = []
  #fields = 0

  constructor(bytes: Uint8Array, marks: Marks, schema: { part: StructPart; secrets: SecretFields } | undefined) {
    this.#bytes = bytes
    this.#reader = new Reader(bytes)
    this.#marks = marks
    this.#schema = schema
  }

  run(): Redacted | undefined {
    const bytes = this.#message(envelope, 0, this.#bytes.length)
    if (bytes === undefined) return { bytes: this.#bytes, fields: 0 }
    return this.#isStillSeen(bytes) ? undefined : { bytes, fields: this.#fields }
  }

  #message({ message, parts }: Layout, start: number, end: number): Uint8Array | undefined {
    const { envelopeFields } = this.#marks
    const edits: Edit[] = []
    for (this.#reader.offset = start; this.#reader.offset < end; ) {
      const tagAt = this.#reader.offset
      const tag = this.#reader.varint(end)
      const number = Math.floor(tag / 8)
      const isSecret = envelopeFields.size > 0 && envelopeFields.has(`${message}.${number}`)
      if ((tag & 7) === varint) {
        this.#reader.varint(end)
        if (isSecret) edits.push(this.#leftOut(tagAt, this.#reader.offset))
        continue
      }
      if ((tag & 7) !== delimited) throw new Error('a field of another kind')
      const lengthAt = this.#reader.offset
      const fieldEnd = this.#reader.lengthEnd(end)
      const part = parts[number]
      if (isSecret && part !== undefined) edits.push(this.#leftOut(tagAt, fieldEnd))
      else {
        const content = isSecret
          ? this.#takenText(this.#reader.offset, fieldEnd)
          : this.#part(part, this.#reader.offset, fieldEnd)
        if (content !== undefined) edits.push([lengthAt, fieldEnd, prefixed(content)])
      }
      this.#reader.offset = fieldEnd
    }
    return this.#edited(start, end, edits)
  }

  #part(part: Layout['parts'][number] | undefined, start: number, end: number): Uint8Array | undefined {
    if (part === undefined) return this.#text(start, end)
    if (part === 'bytes') return undefined
    if (part === 'header') return this.#entry(start, end, (value) => this.#header(value))
    if (typeof part === 'object') return this.#message(part, start, end)
    return this.#struct(start, end, this.#schema?.part === part ? this.#schema.secrets : undefined)
  }

  #header({ key, start, end }: Entry): Uint8Array | undefined {
    return this.#isNamed(key) ? this.#takenText(start, end) : this.#text(start, end)
  }

  #struct(start: number, end: number, secrets: SecretFields | undefined): Uint8Array | undefined {
    const edits: Edit[] = []
    for (this.#reader.offset = start; this.#reader.offset < end; ) {
      this.#reader.varint(end)
      const lengthAt = this.#reader.offset
      const entryEnd = this.#reader.lengthEnd(end)
      const content = this.#entry(this.#reader.offset, entryEnd, (entry) => this.#member(entry, secrets))
      if (content !== undefined) edits.push([lengthAt, entryEnd, prefixed(content)])
      this.#reader.offset = entryEnd
    }
    return this.#edited(start, end, edits)
  }

  /** An entry of a map: its key may stand behind its value. */
  #entry(start: number, end: number, change: (entry: Entry) => Uint8Array | undefined): Uint8Array | undefined {
    let key = ''
    let value: { lengthAt: number; start: number; end: number } | undefined
    for (this.#reader.offset = start; this.#reader.offset < end; ) {
      const tag = this.#reader.varint(end)
      const lengthAt = this.#reader.offset
      const fieldEnd = this.#reader.lengthEnd(end)
      if (tag === tags.entryKey) key = decodeText(this.#bytes, this.#reader.offset, fieldEnd)
      else value = { lengthAt, start: this.#reader.offset, end: fieldEnd }
      this.#reader.offset = fieldEnd
    }
    if (value === undefined) return undefined
    const content = change({ key, ...value })
    return this.#edited(start, end, content === undefined ? [] : [[value.lengthAt, value.end, prefixed(content)]])
  }

  #member({ key, start, end }: Entry, secrets: SecretFields | undefined): Uint8Array | undefined {
    const field = secrets?.field(key)
    if (field?.isSecret !== true && !this.#isNamed(key)) return this.#value(start, end, field?.inner)
    this.#fields++
    this.#gather(start, end)
    return secretValue
  }

  #value(start: number, end: number, secrets: SecretFields | undefined): Uint8Array | undefined {
    this.#reader.offset = start
    const tag = this.#reader.varint(end)
    if (tag !== tags.text && tag !== tags.struct && tag !== tags.list) return undefined
    const contentEnd = this.#reader.lengthEnd(end)
    const at = this.#reader.offset
    const content =
      tag === tags.text
        ? this.#text(at, contentEnd)
        : tag === tags.struct
          ? this.#struct(at, contentEnd, secrets)
          : this.#list(at, contentEnd, secrets)
    return content && Buffer.concat([Buffer.from([tag]), prefixed(content)])
  }

  #list(start: number, end: number, secrets: SecretFields | undefined): Uint8Array | undefined {
    const edits: Edit[] = []
    for (this.#reader.offset = start; this.#reader.offset < end; ) {
      this.#reader.varint(end)
      const lengthAt = this.#reader.offset
      const itemEnd = this.#reader.lengthEnd(end)
      const content = this.#value(this.#reader.offset, itemEnd, secrets)
      if (content !== undefined) edits.push([lengthAt, itemEnd, prefixed(content)])
      this.#reader.offset = itemEnd
    }
    return this.#edited(start, end, edits)
  }

  /** A text that is JSON itself and has a marked key is taken out whole: what else is in it cannot be told surely. */
  #text(start: number, end: number): Uint8Array | undefined {
    const view = this.#bytes.subarray(start, end)
    if (!view.includes(quote) && !view.includes(backslash)) return undefined
    const plain = decodeText(this.#bytes, start, end)
      .replaceAll(/\\+u([0-9a-f]{4})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
      .toLowerCase()
      .replaceAll(/[-_ \\]/g, '')
    if (![...this.#marks.names].some((name) => plain.includes(name))) return undefined
    for (const [, quoted = ''] of plain.matchAll(/"([^"]*)(?=")/g)) {
      if (this.#isNamed(quoted)) return this.#takenText(start, end)
    }
    return undefined
  }

  #takenText(start: number, end: number): Uint8Array {
    this.#fields++
    this.#secrets.push(Buffer.from(this.#bytes.subarray(start, end)))
    return secretText
  }

  #leftOut(start: number, end: number): Edit {
    this.#fields++
    return [start, end, nothing]
  }

  #isNamed(key: string): boolean {
    const { names, judged } = this.#marks
    const known = judged.get(key)
    if (known !== undefined) return known
    const plain = plainName(key)
    const isNamed = names.has(plain) || (keyParts.test(plain) && plain.split(keyParts).some((part) => names.has(part)))
    if (key.length <= maxJudgedLength) {
      if (judged.size >= maxJudged) judged.clear()
      judged.set(key, isNamed)
    }
    return isNamed
  }

  /** The texts in a Value that is taken out. */
  #gather(start: number, end: number): void {
    this.#reader.offset = start
    const tag = this.#reader.varint(end)
    if (tag !== tags.text && tag !== tags.struct && tag !== tags.list) return
    const contentEnd = this.#reader.lengthEnd(end)
    let at = this.#reader.offset
    if (tag === tags.text) {
      this.#secrets.push(Buffer.from(this.#bytes.subarray(at, contentEnd)))
      return
    }
    while (at < contentEnd) {
      this.#reader.offset = at
      this.#reader.varint(contentEnd)
      at = this.#reader.lengthEnd(contentEnd)
      if (tag === tags.list) this.#gather(this.#reader.offset, at)
      else
        this.#entry(this.#reader.offset, at, (entry) => {
          this.#gather(entry.start, entry.end)
          return undefined
        })
    }
  }

  /** A secret that also stands where nothing is marked. */
  #isStillSeen(bytes: Uint8Array): boolean {
    const sought = this.#secrets.filter(({ length }) => length >= minSoughtBytes)
    if (sought.length * bytes.length > maxSoughtWork) return true
    const haystack = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    return sought.some((secret) => haystack.includes(secret))
  }

  #edited(start: number, end: number, edits: readonly Edit[]): Uint8Array | undefined {
    if (edits.length === 0) return undefined
    const parts: Uint8Array[] = []
    let at = start
    for (const [from, to, bytes] of edits) {
      parts.push(this.#bytes.subarray(at, from), bytes)
      at = to
    }
    parts.push(this.#bytes.subarray(at, end))
    return Buffer.concat(parts)
  }
}

interface Entry {
  readonly key: string
  /** Of the value. */
  readonly start: number
  readonly end: number
}

/** With its length before it. */
function prefixed(content: Uint8Array): Uint8Array {
  const length: number[] = []
  let rest = content.length
  for (; rest >= 0x80; rest >>>= 7) length.push((rest & 0x7f) | 0x80)
  return Buffer.concat([Buffer.from([...length, rest]), content])
}
