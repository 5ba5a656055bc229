// Reading and writing the numbers and sections of Wasm binaries. Only given what `WebAssembly.validate` has passed, yet
// never reads past an end: a module this does not understand is an error, not a guess.

export const section = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  code: 10,
  tag: 13,
} as const

export interface Section {
  readonly id: number
  readonly body: Uint8Array
}

export const headerLength = 8

/** A form of the binary format that is not known here. */
export class UnknownForm extends Error {
  readonly what: string
  constructor(what: string) {
    super(`not understood: ${what}`)
    this.name = 'UnknownForm'
    this.what = what
  }
}

export class WasmReader {
  readonly bytes: Uint8Array
  offset: number
  constructor(bytes: Uint8Array, offset = 0) {
    this.bytes = bytes
    this.offset = offset
  }

  get isAtEnd(): boolean {
    return this.offset >= this.bytes.length
  }

  byte(): number {
    const byte = this.bytes[this.offset++]
    if (byte === undefined) throw new UnknownForm('an end too early')
    return byte
  }

  u32(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte()
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new UnknownForm('a number too long')
  }

  /** Passes over a LEB128 number of any kind. */
  skipNumber(): void {
    while (this.byte() >= 0x80);
  }

  skip(length: number): void {
    this.offset += length
    if (this.offset > this.bytes.length) throw new UnknownForm('an end too early')
  }

  take(length: number): Uint8Array {
    const start = this.offset
    this.skip(length)
    return this.bytes.subarray(start, this.offset)
  }

  name(): string {
    return new TextDecoder().decode(this.take(this.u32()))
  }
}

export class WasmWriter {
  #bytes: Uint8Array
  length = 0
  constructor(capacity: number) {
    this.#bytes = new Uint8Array(Math.max(capacity, 64))
  }

  #reserve(more: number): void {
    if (this.length + more <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + more))
    grown.set(this.#bytes.subarray(0, this.length))
    this.#bytes = grown
  }

  byte(value: number): void {
    this.#reserve(1)
    this.#bytes[this.length++] = value
  }

  bytes(values: Uint8Array | readonly number[]): void {
    this.#reserve(values.length)
    this.#bytes.set(values, this.length)
    this.length += values.length
  }

  u32(value: number): void {
    let rest = value
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.byte((rest & 0x7f) | 0x80)
    this.byte(rest)
  }

  /** An `i32.const`'s number below 2^27, four bytes wide, so that it can be set later. */
  wideNumber(value: number): void {
    this.bytes(wide(value))
  }

  setWideNumber(at: number, value: number): void {
    this.#bytes.set(wide(value), at)
  }

  section(id: number, body: Uint8Array): void {
    this.byte(id)
    this.u32(body.length)
    this.bytes(body)
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.length)
  }
}

function wide(value: number): number[] {
  return [(value & 0x7f) | 0x80, ((value >> 7) & 0x7f) | 0x80, ((value >> 14) & 0x7f) | 0x80, (value >> 21) & 0x3f]
}

export const maxWideNumber = 2 ** 26

export function readSections(bytes: Uint8Array): Section[] {
  const reader = new WasmReader(bytes, headerLength)
  const sections: Section[] = []
  while (!reader.isAtEnd) {
    const id = reader.byte()
    sections.push({ id, body: reader.take(reader.u32()) })
  }
  return sections
}
