// Passing over one Wasm instruction, and what it costs. Knows Wasm 2.0 without SIMD; anything else throws UnknownForm,
// and a module with it cannot be metered.
import { UnknownForm, type WasmReader } from './wasm-bytes.ts'

export const op = {
  unreachable: 0x00,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  brTable: 0x0e,
  call: 0x10,
  callIndirect: 0x11,
  selectTyped: 0x1c,
  localGet: 0x20,
  localTee: 0x22,
  globalGet: 0x23,
  globalSet: 0x24,
  memoryGrow: 0x40,
  i32Const: 0x41,
  i32LessSigned: 0x48,
  i32Sub: 0x6b,
  i32ShiftRight: 0x76,
  prefixed: 0xfc,
} as const

const costs = { plain: 1, call: 5, callIndirect: 10, memoryGrow: 2_000, bulk: 20 } as const

export interface Instruction {
  readonly code: number
  readonly cost: number
  /** For what works on as many bytes or elements as its last operand says: by how many bits that is shifted to fuel. */
  readonly bulkShift: number | undefined
}

const bytesPerFuelBits = 2
const elementsPerFuelBits = 1
const maxAlignment = 0x40

/** What follows an instruction's code. */
const operands = {
  none: () => undefined,
  number: (reader: WasmReader) => reader.skipNumber(),
  twoNumbers(reader: WasmReader) {
    reader.skipNumber()
    reader.skipNumber()
  },
  blockType: skipBlockType,
  labels(reader: WasmReader) {
    for (let labels = reader.u32() + 1; labels > 0; labels--) reader.skipNumber()
  },
  valueType: skipValueType,
  valueTypes(reader: WasmReader) {
    for (let types = reader.u32(); types > 0; types--) skipValueType(reader)
  },
  access(reader: WasmReader) {
    if (reader.u32() >= maxAlignment) throw new UnknownForm('an access to one of several memories')
    reader.skipNumber()
  },
  fourBytes: (reader: WasmReader) => reader.skip(4),
  eightBytes: (reader: WasmReader) => reader.skip(8),
} as const

/** First code, last code, what follows, and the cost where it is not that of a plain one. */
const forms: readonly (readonly [from: number, to: number, follows: keyof typeof operands, cost?: number])[] = [
  [0x00, 0x01, 'none'],
  [op.block, op.if, 'blockType'],
  [op.else, op.else, 'none'],
  [op.end, op.end, 'none'],
  [0x0c, 0x0d, 'number'],
  [op.brTable, op.brTable, 'labels'],
  [0x0f, 0x0f, 'none'],
  [op.call, op.call, 'number', costs.call],
  [op.callIndirect, op.callIndirect, 'twoNumbers', costs.callIndirect],
  [0x1a, 0x1b, 'none'],
  [op.selectTyped, op.selectTyped, 'valueTypes'],
  [op.localGet, 0x26, 'number'],
  [0x28, 0x3e, 'access'],
  [0x3f, 0x3f, 'number'],
  [op.memoryGrow, op.memoryGrow, 'number', costs.memoryGrow],
  [op.i32Const, 0x42, 'number'],
  [0x43, 0x43, 'fourBytes'],
  [0x44, 0x44, 'eightBytes'],
  [0x45, 0xc4, 'none'],
  [0xd0, 0xd0, 'valueType'],
  [0xd1, 0xd1, 'none'],
  [0xd2, 0xd2, 'number'],
]
const byCode = new Map(
  forms.flatMap(([from, to, follows, cost = costs.plain]) =>
    Array.from({ length: to - from + 1 }, (_, i) => [from + i, { follows, cost }] as const),
  ),
)

/** Stands after the instruction when it returns. */
export function readInstruction(reader: WasmReader): Instruction {
  const code = reader.byte()
  if (code === op.prefixed) return readPrefixed(reader, code)
  const form = byCode.get(code)
  if (form === undefined) throw new UnknownForm(`instruction 0x${code.toString(16).padStart(2, '0')}`)
  operands[form.follows](reader)
  return { code, cost: form.cost, bulkShift: undefined }
}

/** Conversions that saturate, and everything in bulk. */
function readPrefixed(reader: WasmReader, code: number): Instruction {
  const sub = reader.u32()
  if (sub <= 7) return { code, cost: costs.plain, bulkShift: undefined }
  if (sub > 17) throw new UnknownForm(`instruction 0xfc ${sub}`)
  reader.skipNumber()
  // init and copy name two things
  if (sub === 8 || sub === 10 || sub === 12 || sub === 14) reader.skipNumber()
  const isSizeless = sub === 9 || sub === 13 || sub === 16
  const bulkShift = isSizeless ? undefined : sub <= 11 ? bytesPerFuelBits : elementsPerFuelBits
  return { code, cost: costs.bulk, bulkShift }
}

/** References to types of their own are two numbers; they are of later versions. */
const laterTypes: readonly number[] = [0x63, 0x64, 0x7b]

function skipBlockType(reader: WasmReader): void {
  if (laterTypes.includes(reader.bytes[reader.offset] ?? 0)) throw new UnknownForm('a block with a later type')
  reader.skipNumber()
}

export function skipValueType(reader: WasmReader): void {
  const type = reader.byte()
  if ((type < 0x7c || type > 0x7f) && type !== 0x70 && type !== 0x6f) throw new UnknownForm('a later value type')
}
