// What a Wasm module says of itself outside its code: types, imports, exports, memory, tables.
import { type Section, section, UnknownForm, WasmReader } from './wasm-bytes.ts'

export interface FunctionType {
  readonly params: readonly number[]
  readonly results: readonly number[]
}

export interface ModuleImport {
  readonly module: string
  readonly name: string
  readonly kind: number
  /** Of a function: its type's index. */
  readonly type: number | undefined
}

export interface ModuleExport {
  readonly name: string
  readonly kind: number
  readonly index: number
}

export interface Extent {
  readonly flags: number
  readonly min: number
  readonly max: number | undefined
}

export interface Table extends Extent {
  readonly type: number
}

export interface ModuleFacts {
  readonly types: readonly FunctionType[]
  readonly imports: readonly ModuleImport[]
  /** Type indices of the functions defined here; they follow the imported ones. */
  readonly functions: readonly number[]
  readonly tables: readonly Table[]
  readonly memories: readonly Extent[]
  readonly globalCount: number
  readonly exports: readonly ModuleExport[]
}

export const kinds = { function: 0, table: 1, memory: 2, global: 3 } as const
export const valueTypes = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b, funcref: 0x70, externref: 0x6f }
const known = new Set<number>(Object.values(valueTypes))
const functionForm = 0x60

/** Throws UnknownForm for what is not of Wasm 2.0's module structure. */
export function readFacts(sections: readonly Section[]): ModuleFacts {
  const items = <T>(id: number, read: (reader: WasmReader) => T): T[] => {
    const found = sections.find((one) => one.id === id)
    if (found === undefined) return []
    const reader = new WasmReader(found.body)
    return Array.from({ length: reader.u32() }, () => read(reader))
  }
  const globals = sections.find((one) => one.id === section.global)
  return {
    types: items(section.type, readType),
    imports: items(section.import, readImport),
    functions: items(section.function, (reader) => reader.u32()),
    tables: items(section.table, readTable),
    memories: items(section.memory, readExtent),
    globalCount: globals === undefined ? 0 : new WasmReader(globals.body).u32(),
    exports: items(section.export, (reader) => ({ name: reader.name(), kind: reader.byte(), index: reader.u32() })),
  }
}

function readType(reader: WasmReader): FunctionType {
  if (reader.byte() !== functionForm) throw new UnknownForm('a type that is no function type')
  return { params: readValueTypes(reader), results: readValueTypes(reader) }
}

function readValueTypes(reader: WasmReader): number[] {
  return Array.from({ length: reader.u32() }, () => {
    const type = reader.byte()
    if (!known.has(type)) throw new UnknownForm('a value type beyond Wasm 2.0')
    return type
  })
}

function readImport(reader: WasmReader): ModuleImport {
  const module = reader.name()
  const name = reader.name()
  const kind = reader.byte()
  if (kind === kinds.function) return { module, name, kind, type: reader.u32() }
  if (kind === kinds.table) readTable(reader)
  else if (kind === kinds.memory) readExtent(reader)
  else if (kind === kinds.global) reader.skip(2)
  else throw new UnknownForm('an import of an unknown kind')
  return { module, name, kind, type: undefined }
}

/** With `flags` of shared and 64-bit memories left to the caller to judge. */
function readExtent(reader: WasmReader): Extent {
  const flags = reader.u32()
  if (flags > 7) throw new UnknownForm('a memory or table of an unknown form')
  const min = reader.u32()
  return { flags, min, max: (flags & 1) === 1 ? reader.u32() : undefined }
}

function readTable(reader: WasmReader): Table {
  const type = reader.byte()
  if (type !== valueTypes.funcref && type !== valueTypes.externref) throw new UnknownForm('a table of unknown elements')
  return { type, ...readExtent(reader) }
}
