// A policy file's bytes become a module that may run: checked, its memory capped, and metered where that is possible.
// Whatever is not understood is refused or, where only its instructions are, runs under a deadline instead of fuel.
import { BusError } from '../base/errors.ts'
import { findAbiFault } from './abi.ts'
import { meterModule } from './meter.ts'
import { type Extent, type ModuleFacts, readFacts } from './module-facts.ts'
import { headerLength, readSections, type Section, section, UnknownForm, WasmWriter } from './wasm-bytes.ts'

export const maxModuleBytes = 1_048_576
const maxTableElements = 10_000
const pageBytes = 65_536
/** Of 32-bit addresses; more cannot be written down. */
const allPages = 65_536

export interface ModuleLimits {
  /** What one call, or the start of an instance, may cost. */
  readonly fuel: number
  readonly maxMemoryPages: number
}

export interface PreparedModule {
  readonly wasm: Uint8Array
  /** The export that holds the fuel; absent where the module could not be metered. */
  readonly fuelExport?: string
  /** Why not. */
  readonly unmetered?: string
}

/** Throws START_REFUSED with `details.reason`; `name` says which policy. */
export function prepareModule(name: string, bytes: Uint8Array, limits: ModuleLimits): PreparedModule {
  const refuse = (reason: string, message: string): BusError =>
    new BusError('START_REFUSED', `Policy ${name} is refused: ${message}`, { reason, policy: name })
  if (bytes.length > maxModuleBytes) {
    throw refuse('POLICY_TOO_LARGE', `${bytes.length} bytes, at most ${maxModuleBytes}`)
  }
  // Also what keeps the fuel out of the module's reach: it was whole without it.
  if (!WebAssembly.validate(bytes)) throw refuse('POLICY_INVALID', 'it is no valid WebAssembly module')
  let sections: Section[]
  let facts: ModuleFacts
  try {
    sections = readSections(bytes)
    facts = readFacts(sections)
  } catch (error) {
    if (error instanceof UnknownForm) throw refuse('POLICY_UNSUPPORTED', `it has ${error.what}`)
    throw error
  }
  const fault = findAbiFault(facts)
  if (fault !== undefined) throw refuse(fault.reason, fault.message)
  checkMemory(facts, limits, refuse)
  const capped = cap(sections, facts, limits)
  try {
    const { sections: metered, fuelExport } = meterModule(capped, facts, limits.fuel)
    const wasm = join(metered)
    if (WebAssembly.validate(wasm)) return { wasm, fuelExport }
    return { wasm: join(capped), unmetered: 'its functions have no room for metering' }
  } catch (error) {
    if (error instanceof UnknownForm) return { wasm: join(capped), unmetered: `it has ${error.what}` }
    throw error
  }
}

function checkMemory(
  { memories, tables }: ModuleFacts,
  { maxMemoryPages }: ModuleLimits,
  refuse: (reason: string, message: string) => BusError,
): void {
  const [memory] = memories
  if (memory === undefined || memories.length > 1) throw refuse('POLICY_MEMORY', 'it has not exactly one memory')
  if (memory.flags > 1) throw refuse('POLICY_MEMORY', 'its memory is shared or has 64-bit addresses')
  if (memory.min > maxMemoryPages) {
    const asked = `${memory.min} pages of ${pageBytes} bytes`
    throw refuse('POLICY_MEMORY', `its memory begins with ${asked}, at most ${maxMemoryPages}`)
  }
  for (const { flags, min } of tables) {
    if (flags > 1) throw refuse('POLICY_TABLE', 'it has a table with 64-bit indices')
    if (min > maxTableElements) throw refuse('POLICY_TABLE', `a table of ${min} elements, at most ${maxTableElements}`)
  }
}

/** Without a maximum, or with a larger one, memory and tables would grow past what a policy may have. */
function cap(sections: readonly Section[], facts: ModuleFacts, { maxMemoryPages }: ModuleLimits): Section[] {
  return sections.map((one) => {
    if (one.id === section.memory)
      return { id: one.id, body: encode(facts.memories, Math.min(maxMemoryPages, allPages)) }
    if (one.id === section.table) return { id: one.id, body: encode(facts.tables, maxTableElements) }
    return one
  })
}

function encode(extents: readonly (Extent & { readonly type?: number })[], cap: number): Uint8Array {
  const writer = new WasmWriter(64)
  writer.u32(extents.length)
  for (const { type, min, max = cap } of extents) {
    if (type !== undefined) writer.byte(type)
    writer.byte(1)
    writer.u32(min)
    writer.u32(Math.min(max, cap))
  }
  return writer.finish()
}

function join(sections: readonly Section[]): Uint8Array {
  const writer = new WasmWriter(sections.reduce((sum, { body }) => sum + body.length + 6, headerLength))
  writer.bytes([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00])
  for (const { id, body } of sections) {
    if (id !== section.custom) writer.section(id, body)
  }
  return writer.finish()
}
