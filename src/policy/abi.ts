// ABI `arqon_host_v1`: what a policy module may import and has to export. Those of the original work unchanged.
import { type FunctionType, kinds, type ModuleFacts, valueTypes } from './module-facts.ts'

export const hostFunctions = [
  'host_log',
  'host_reject',
  'host_get_header',
  'host_get_claim',
  'host_get_payload',
  'host_add_header',
] as const
export type HostFunction = (typeof hostFunctions)[number]

/** The original's modules import from `env`. */
export const importModules = ['env', 'arqon_host_v1'] as const

interface Signature {
  readonly params: number
  readonly mayReturnNothing?: true
}

const signatures: Readonly<Record<HostFunction, Signature>> = {
  host_log: { params: 3, mayReturnNothing: true },
  host_reject: { params: 3, mayReturnNothing: true },
  host_get_header: { params: 3 },
  host_get_claim: { params: 4 },
  host_get_payload: { params: 2 },
  host_add_header: { params: 4 },
}

export const checkExport = 'policy_check'
export const memoryExport = 'memory'
/** Called once before the first frame, where a module exports a function of that name without parameters. */
export const initializeExport = '_initialize'

export interface AbiFault {
  readonly reason: 'IMPORT_NOT_ALLOWED' | 'IMPORT_SIGNATURE' | 'MISSING_EXPORT' | 'EXPORT_SIGNATURE'
  readonly message: string
}

/** What is wrong with a module's imports and exports, or undefined. */
export function findAbiFault(facts: ModuleFacts): AbiFault | undefined {
  return faultOfImports(facts) ?? faultOfExports(facts)
}

function faultOfImports({ imports, types }: ModuleFacts): AbiFault | undefined {
  for (const { module, name, kind, type } of imports) {
    const shown = `${printable(module)}.${printable(name)}`
    if (!isImportModule(module) || !isHostFunction(name) || kind !== kinds.function) {
      return { reason: 'IMPORT_NOT_ALLOWED', message: `it imports ${shown}; allowed are ${hostFunctions.join(', ')}` }
    }
    const { params, mayReturnNothing } = signatures[name]
    const given = types[type ?? -1]
    const returns = given?.results.length ?? -1
    const fits =
      given !== undefined &&
      given.params.length === params &&
      isI32(given) &&
      (returns === 1 || (returns === 0 && mayReturnNothing === true))
    if (!fits) return { reason: 'IMPORT_SIGNATURE', message: `${shown} takes ${params} i32 and returns one` }
  }
  return undefined
}

function faultOfExports({ exports, imports, functions, types }: ModuleFacts): AbiFault | undefined {
  const memory = exports.find(({ name }) => name === memoryExport)
  if (memory?.kind !== kinds.memory) return { reason: 'MISSING_EXPORT', message: 'it exports no memory named "memory"' }
  const check = exports.find(({ name }) => name === checkExport)
  if (check?.kind !== kinds.function) {
    return { reason: 'MISSING_EXPORT', message: 'it exports no function named "policy_check"' }
  }
  // An import exported again would be called with the host's own arguments.
  const imported = imports.filter(({ kind }) => kind === kinds.function).length
  const type = types[functions[check.index - imported] ?? -1]
  const fits = type !== undefined && type.params.length === 2 && type.results.length === 1 && isI32(type)
  return fits
    ? undefined
    : { reason: 'EXPORT_SIGNATURE', message: 'its policy_check is not a function of its own from two i32 to one i32' }
}

const isI32 = ({ params, results }: FunctionType): boolean =>
  [...params, ...results].every((type) => type === valueTypes.i32)
const isImportModule = (name: string): boolean => (importModules as readonly string[]).includes(name)
const isHostFunction = (name: string): name is HostFunction => (hostFunctions as readonly string[]).includes(name)

/** Names in a module are anyone's text. */
const printable = (text: string): string => text.replaceAll(/[^\w.$-]/g, '?').slice(0, 64)
