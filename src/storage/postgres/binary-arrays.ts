// Arrays as Postgres takes them in binary form (array_recv): no quoting, no hex, one block for each parameter.
const headerBytes = 20
const oids = { int4: 23, int8: 20, text: 25, bytea: 17 } as const

function begin(bytes: number, oid: number, length: number): Buffer {
  const block = Buffer.allocUnsafe(headerBytes + bytes)
  block.writeInt32BE(1, 0) // one dimension
  block.writeInt32BE(0, 4) // no nulls
  block.writeInt32BE(oid, 8)
  block.writeInt32BE(length, 12)
  block.writeInt32BE(1, 16) // counted from 1
  return block
}

export function int4Array(values: readonly number[]): Buffer {
  const block = begin(8 * values.length, oids.int4, values.length)
  let at = headerBytes
  for (const value of values) {
    block.writeInt32BE(4, at)
    block.writeInt32BE(value, at + 4)
    at += 8
  }
  return block
}

/** Of safe integers. */
export function int8Array(values: readonly number[]): Buffer {
  const block = begin(12 * values.length, oids.int8, values.length)
  let at = headerBytes
  for (const value of values) {
    const high = Math.floor(value / 2 ** 32)
    block.writeInt32BE(8, at)
    block.writeInt32BE(high, at + 4)
    block.writeUInt32BE(value - high * 2 ** 32, at + 8)
    at += 12
  }
  return block
}

export function textArray(values: readonly string[]): Buffer {
  const block = begin(
    values.reduce((sum, value) => sum + 4 + Buffer.byteLength(value), 0),
    oids.text,
    values.length,
  )
  let at = headerBytes
  for (const value of values) {
    const written = block.write(value, at + 4)
    block.writeInt32BE(written, at)
    at += 4 + written
  }
  return block
}

export function byteaArray(values: readonly Uint8Array[]): Buffer {
  const block = begin(
    values.reduce((sum, value) => sum + 4 + value.length, 0),
    oids.bytea,
    values.length,
  )
  let at = headerBytes
  for (const value of values) {
    block.writeInt32BE(value.length, at)
    block.set(value, at + 4)
    at += 4 + value.length
  }
  return block
}

/** The text form of an array of whole numbers: `{1,2,-3}`. */
export function readIntegers(text: unknown): number[] {
  if (typeof text !== 'string' || text === '{}') return []
  return text.slice(1, -1).split(',').map(Number)
}

/** The text form of an array of bytea without nulls, each as hex. */
export function readHexes(text: unknown): string[] {
  if (typeof text !== 'string' || text === '{}') return []
  return text
    .slice(1, -1)
    .split(',')
    .map((item) => item.slice('"\\\\x'.length, -1))
}
