// Rewrites a Wasm module so that it pays for what it does: one more global holds fuel, every function and every round
// of a loop takes the cost of its instructions from it first, and what is not enough ends in a trap.
//
// A piece of code runs at most once between two such points, because only loops go back; branches not taken are paid
// for too. What works in bulk pays for its length where it stands. The module cannot name the new global, since it was
// valid without it.
import { op, readInstruction, skipValueType } from './instructions.ts'
import type { ModuleFacts } from './module-facts.ts'
import { kinds, valueTypes } from './module-facts.ts'
import { maxWideNumber, type Section, section, UnknownForm, WasmReader, WasmWriter } from './wasm-bytes.ts'

const localsPerFuelBits = 3
const voidBlock = 0x40

export interface Metered {
  readonly sections: readonly Section[]
  /** The export that holds the fuel. */
  readonly fuelExport: string
}

/** Throws UnknownForm for a module that has instructions of which the cost is not known. */
export function meterModule(sections: readonly Section[], facts: ModuleFacts, startFuel: number): Metered {
  const fuelExport = unusedName(facts)
  const importedGlobals = facts.imports.filter(({ kind }) => kind === kinds.global).length
  const fuelGlobal = importedGlobals + facts.globalCount
  const replaced = new Map<number, Uint8Array>()
  replaced.set(section.global, appended(bodyOf(sections, section.global), fuelEntry(startFuel)))
  replaced.set(section.export, appended(bodyOf(sections, section.export), exportEntry(fuelExport, fuelGlobal)))
  const code = bodyOf(sections, section.code)
  if (code !== undefined) replaced.set(section.code, meterCode(code, facts, fuelGlobal))
  return { sections: merge(sections, replaced), fuelExport }
}

function unusedName({ exports }: ModuleFacts): string {
  let name = 'arqon_fuel'
  while (exports.some((one) => one.name === name)) name += '_'
  return name
}

const bodyOf = (sections: readonly Section[], id: number): Uint8Array | undefined =>
  sections.find((one) => one.id === id)?.body

function fuelEntry(startFuel: number): Uint8Array {
  const writer = new WasmWriter(16)
  writer.bytes([valueTypes.i32, 1, op.i32Const])
  // A signed number: five bytes always have room for the sign.
  for (let i = 0; i < 4; i++) writer.byte(((startFuel >>> (7 * i)) & 0x7f) | 0x80)
  writer.byte((startFuel >>> 28) & 0x07)
  writer.byte(op.end)
  return writer.finish()
}

function exportEntry(name: string, index: number): Uint8Array {
  const writer = new WasmWriter(32)
  const bytes = new TextEncoder().encode(name)
  writer.u32(bytes.length)
  writer.bytes(bytes)
  writer.byte(kinds.global)
  writer.u32(index)
  return writer.finish()
}

/** A section's list with one more entry at its end. */
function appended(body: Uint8Array | undefined, entry: Uint8Array): Uint8Array {
  const reader = new WasmReader(body ?? new Uint8Array([0]))
  const count = reader.u32()
  const writer = new WasmWriter((body?.length ?? 0) + entry.length + 8)
  writer.u32(count + 1)
  writer.bytes(reader.bytes.subarray(reader.offset))
  writer.bytes(entry)
  return writer.finish()
}

/** Where sections stand in a module; ids are not in that order. */
const order = [1, 2, 3, 4, 5, section.tag, 6, 7, 8, 9, 12, section.code, 11]

function merge(sections: readonly Section[], replaced: ReadonlyMap<number, Uint8Array>): Section[] {
  const bodies = new Map(sections.map(({ id, body }) => [id, body]))
  for (const [id, body] of replaced) bodies.set(id, body)
  return order.flatMap((id) => {
    const body = bodies.get(id)
    return body === undefined ? [] : [{ id, body }]
  })
}

function meterCode(code: Uint8Array, facts: ModuleFacts, fuelGlobal: number): Uint8Array {
  const reader = new WasmReader(code)
  const writer = new WasmWriter(code.length * 2)
  const count = reader.u32()
  writer.u32(count)
  for (let index = 0; index < count; index++) {
    const type = facts.types[facts.functions[index] ?? -1]
    if (type === undefined) throw new UnknownForm('a function without a type')
    const body = meterFunction(reader.take(reader.u32()), type.params.length, fuelGlobal)
    writer.u32(body.length)
    writer.bytes(body)
  }
  return writer.finish()
}

/** Code that is paid for at one point: a function without its loops, or a loop without those inside it. */
interface Piece {
  /** Where the cost is written. */
  readonly at: number
  cost: number
}

function meterFunction(body: Uint8Array, params: number, fuelGlobal: number): Uint8Array {
  const reader = new WasmReader(body)
  const writer = new WasmWriter(body.length * 2)
  const locals = copyLocals(reader, writer)
  const spare = params + locals

  /** Takes a cost that is on top of the stack under the fuel; traps when the fuel ends. */
  const pay = (): void => {
    writer.bytes([op.i32Sub, op.localTee])
    writer.u32(spare)
    writer.byte(op.globalSet)
    writer.u32(fuelGlobal)
    writer.byte(op.localGet)
    writer.u32(spare)
    writer.bytes([op.i32Const, 0, op.i32LessSigned, op.if, voidBlock, op.unreachable, op.end])
  }
  const getFuel = (): void => {
    writer.byte(op.globalGet)
    writer.u32(fuelGlobal)
  }
  const begin = (cost: number): Piece => {
    getFuel()
    writer.byte(op.i32Const)
    const at = writer.length
    writer.wideNumber(0)
    pay()
    return { at, cost }
  }
  const finish = ({ at, cost }: Piece): void => {
    if (cost > maxWideNumber) throw new UnknownForm('a function too long')
    writer.setWideNumber(at, cost)
  }
  /** The length is on top of the stack and stays there. */
  const payLength = (shift: number): void => {
    writer.byte(op.localTee)
    writer.u32(spare)
    getFuel()
    writer.byte(op.localGet)
    writer.u32(spare)
    writer.bytes([op.i32Const, shift, op.i32ShiftRight])
    pay()
  }

  const pieces: Piece[] = [begin(locals >> localsPerFuelBits)]
  const scopes: boolean[] = [false] // is it a loop?
  while (!reader.isAtEnd) {
    const start = reader.offset
    const instruction = readInstruction(reader)
    const { code } = instruction
    pieces.at(-1)!.cost += instruction.cost
    if (code === op.end && scopes.pop() === true) finish(pieces.pop()!)
    if (instruction.bulkShift !== undefined) payLength(instruction.bulkShift)
    writer.bytes(body.subarray(start, reader.offset))
    if (code === op.block || code === op.if) scopes.push(false)
    if (code !== op.loop) continue
    scopes.push(true)
    pieces.push(begin(0))
  }
  finish(pieces[0]!)
  return writer.finish()
}

/** With one more of i32 at their end; returns how many there were. */
function copyLocals(reader: WasmReader, writer: WasmWriter): number {
  const groups = reader.u32()
  const start = reader.offset
  let locals = 0
  for (let group = 0; group < groups; group++) {
    locals += reader.u32()
    skipValueType(reader)
  }
  writer.u32(groups + 1)
  writer.bytes(reader.bytes.subarray(start, reader.offset))
  writer.bytes([1, valueTypes.i32])
  return locals
}
