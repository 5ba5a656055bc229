// Takes the plug-ins of a policy into the catalogue, all or none: one that is missing, changed, unproven or in another's
// way refuses the run, for a check that is quietly absent would look like one that has passed.
import { basename, dirname, resolve } from 'node:path'
import { BusError } from '../../base/errors.ts'
import type { PluginEntry } from '../../waivers/preflight-policy.ts'
import type { Answer, Check, CheckResult, JudgePorts } from '../check.ts'
import type { CommandSpool } from '../incident/commands.ts'
import { judgeAnswer } from '../judge.ts'
import { catalogueDigest } from '../plan.ts'
import type { ModulePlugin } from '../prober.ts'
import { proveCheck } from '../self-proof.ts'
import { invalid } from './form.ts'
import { guardExit, loadModule } from './module-file.ts'
import { loadProgram } from './program.ts'

export interface LoadOptions {
  /** The policy's; relative paths count from its folder. Absent: from where the command was called. */
  readonly policyPath?: string | undefined
  readonly builtIn: readonly Check[]
  readonly spool?: CommandSpool | undefined
}

export interface Plugins {
  /** In the order of the list, and of each file. */
  readonly checks: readonly Check[]
  readonly entries: readonly PluginEntry[]
  /** For the processes in which modules look. */
  readonly modules: readonly ModulePlugin[]
}

export const noPlugins: Plugins = { checks: [], entries: [], modules: [] }

/** Throws CONFIG_INVALID (PLUGIN_INVALID) naming the file. */
export async function loadPlugins(
  entries: readonly PluginEntry[],
  { policyPath, builtIn, spool }: LoadOptions,
): Promise<Plugins> {
  const folder = policyFolder(policyPath)
  const ids = new Map(builtIn.map(({ id }) => [id, 'this build']))
  const checks: Check[] = []
  const modules: ModulePlugin[] = []
  for (const entry of entries) {
    const path = resolve(folder, entry.path)
    const own = await loadPlugin({ ...entry, path }, spool)
    for (const { id } of own) {
      const other = ids.get(id)
      if (other !== undefined) throw invalid(path, [`${id} is a check of ${other} already`])
      ids.set(id, basename(path))
    }
    if (entry.kind === 'module') modules.push({ path, sha256: entry.sha256, ids: own.map(({ id }) => id) })
    checks.push(...own.map((check) => ({ ...check, origin: entry })))
  }
  requireOrder(checks, builtIn)
  return { checks, entries, modules }
}

/** Where relative paths of plug-ins count from. */
export const policyFolder = (policyPath: string | undefined): string =>
  policyPath === undefined ? '.' : dirname(policyPath)

/** `path` is absolute. The checks are proven. */
export async function loadPlugin(entry: PluginEntry, spool?: CommandSpool): Promise<readonly Check[]> {
  const { path, sha256 } = entry
  const checks = entry.kind === 'module' ? await loadModule(entry) : [await loadProgram({ path, sha256, spool })]
  for (const check of checks) await requireProof(check, path)
  return checks
}

/** Programs at once; their judges are asked about each world. */
const asked = 4

async function requireProof(check: Check, path: string): Promise<void> {
  const { passes, fails, ignores } = check.worlds
  const waiting = [...passes, ...fails, ...ignores].flatMap(({ facts }) => (facts === undefined ? [] : [facts]))
  const ask = async (): Promise<void> => {
    for (let facts = waiting.shift(); facts !== undefined; facts = waiting.shift()) await check.consult?.(facts)
  }
  await Promise.all(Array.from({ length: asked }, ask))
  const release = guardExit(path)
  const { faults } = proveCheck(check)
  release()
  if (faults.length > 0) throw invalid(path, [`${check.id} is unproven`, ...faults])
}

/** What they require is there, of no later phase, and in no circle. */
function requireOrder(checks: readonly Check[], builtIn: readonly Check[]): void {
  const known = new Set([...builtIn, ...checks].map(({ id }) => id))
  for (const { id, requires, origin } of checks) {
    const unknown = requires.filter((needed) => !known.has(needed))
    const file = origin?.path ?? id
    if (unknown.length > 0) throw invalid(file, [`${id} requires ${unknown.join(', ')}, which is no check`])
  }
  try {
    catalogueDigest([...builtIn, ...checks])
  } catch (error) {
    if (!(error instanceof BusError)) throw error
    throw invalid(checks.map(({ origin }) => origin?.path ?? '').join(', '), [error.message])
  }
}

/** Judges; the code of a plug-in cannot end the process as if all were well. */
export function judgeGuarded(check: Check, answer: Answer, ports: JudgePorts): CheckResult {
  if (check.origin === undefined) return judgeAnswer(check, answer, ports)
  const release = guardExit(check.origin.path)
  const result = judgeAnswer(check, answer, ports)
  release()
  return result
}
