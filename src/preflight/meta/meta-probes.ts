// What the checks of the preflight itself look at: the runbook, the catalogue, the source of the environment, the lock.
import { execFile } from 'node:child_process'
import { statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { promisify } from 'node:util'
import { toIsoTime } from '../../base/clock.ts'
import { isExplicit } from '../../rules/explicit.ts'
import type { RuleContext } from '../../rules/rule.ts'
import type { PluginEntry } from '../../waivers/preflight-policy.ts'
import { describeFault } from '../build-report.ts'
import { type CatalogueManifest, manifestOf, readManifest } from '../catalogue-manifest.ts'
import type { Check, CheckPorts } from '../check.ts'
import { coverRunbook, digestOfText, notYet, readRunbook, runbookPath } from '../runbook-coverage.ts'
import { proveCatalogue } from '../self-proof.ts'
import { ProbeStop } from '../stops.ts'
import { holdsLock, lockName, takeLock } from './run-lock.ts'

/** Where it comes from; tests give others. */
export interface MetaSources {
  readonly runbook?: () => string
  readonly notYet?: Readonly<Record<string, string>>
  readonly manifest?: () => CatalogueManifest
  readonly lockFolder?: string
}

export function lookAtRunbook(catalogue: readonly Check[], sources: MetaSources) {
  const text = runbookOf(sources)
  const { orphans, strangers, stale, faults } = coverRunbook(text, catalogue, sources.notYet ?? notYet)
  return { digest: digestOfText(text), orphans, strangers, stale, faults }
}

function runbookOf({ runbook = readRunbook }: MetaSources): string {
  try {
    return runbook()
  } catch (error) {
    throw new ProbeStop('RUNBOOK_MISSING', describeFault(error), 'read')
  }
}

const isoForm = /\b\d{4}-\d{2}-\d{2}\b/g
/** As file names have it: `20260220_name`. */
const compactForm = /\b(\d{4})(\d{2})(\d{2})(?=_)/g

/** Days as `YYYY-MM-DD`. `touched`: of the last commit, where there is a repository. */
export async function lookAtDates(sources: MetaSources, signal: AbortSignal) {
  const lines = runbookOf(sources).split(/\r?\n/)
  const updated = lines.map((line) => /^Last updated: *(.*)$/.exec(line)?.[1]?.trim()).find((day) => day !== undefined)
  const text = lines.filter((line) => !line.startsWith('Last updated:')).join('\n')
  const named = [
    ...[...text.matchAll(isoForm)].map(([day]) => day),
    ...[...text.matchAll(compactForm)].map(([, year, month, day]) => `${year}-${month}-${day}`),
  ]
  const touched = sources.runbook === undefined ? await lastCommitOf(runbookPath, signal) : undefined
  return {
    ...(updated !== undefined && { updated }),
    named: [...new Set(named.filter(isDay))].sort(),
    ...(touched !== undefined && { touched }),
  }
}

/** Is there such a day? */
export function isDay(text: string): boolean {
  const ms = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN
  return !Number.isNaN(ms) && toIsoTime(ms).startsWith(text)
}

async function lastCommitOf(path: string, signal: AbortSignal): Promise<string | undefined> {
  const root = new URL('../../../', import.meta.url)
  try {
    const { stdout } = await promisify(execFile)('git', ['log', '-1', '--format=%ct', '--', path], {
      cwd: root,
      signal,
    })
    return stdout.trim() === '' ? undefined : toIsoTime(Number(stdout.trim()) * 1_000).slice(0, 10)
  } catch {
    return undefined // no git, no repository: an installed package has neither
  }
}

/** Names and places only. */
export function lookAtSource({ envSource }: CheckPorts) {
  const { name = 'process', isGiven = false, drift = [], shadowed = [] } = envSource ?? {}
  const hidden = shadowed.map(({ variable, where, by }) => `${variable} of ${where} by ${by}`)
  return { source: name, isGiven, drift, hidden }
}

/** The built-in part against the manifest, the plug-ins against the policy's list. */
export function lookAtCatalogue(
  catalogue: readonly Check[],
  { manifest = readManifest }: MetaSources,
  { policy, plugins = [] }: Pick<CheckPorts, 'policy' | 'plugins'>,
) {
  let expected: CatalogueManifest
  try {
    expected = manifest()
  } catch (error) {
    throw new ProbeStop('MANIFEST_MISSING', describeFault(error), 'read')
  }
  const actual = manifestOf(catalogue)
  const name = ({ path, sha256 }: PluginEntry): string => `${path} ${sha256.slice(0, 12)}…`
  const listed = (policy.plugins ?? []).map(name)
  const loaded = plugins.map(name)
  return {
    count: actual.ids.length,
    expected: expected.digest,
    actual: actual.digest,
    missing: expected.ids.filter((id) => !actual.ids.includes(id)),
    unexpected: actual.ids.filter((id) => !expected.ids.includes(id)),
    plugins: loaded.length,
    pluginsMissing: listed.filter((one) => !loaded.includes(one)),
    pluginsUnexpected: loaded.filter((one) => !listed.includes(one)),
  }
}

export function lookAtProof(catalogue: readonly Check[]) {
  const { digest, kills, faults, proofs } = proveCatalogue(catalogue)
  return {
    ledger: digest,
    kills,
    faults,
    unproven: proofs.filter((proof) => proof.faults.length > 0).map(({ id }) => id),
  }
}

/** The lock is given back at the end of the run. */
export function takeRunLock(ports: CheckPorts, sources: MetaSources) {
  const { ctx, runId, clock } = ports
  const folder = sources.lockFolder ?? lockFolder(ctx)
  const name = lockName(ctx)
  const now = clock.now()
  try {
    const lock = takeLock(folder, name, runId, now)
    if ('heldBy' in lock) throw new ProbeStop('RUN_LOCKED', describeHolder(lock.heldBy, now), 'take')
    // Without an end to wait for, it would stay.
    if (ports.atEnd === undefined) lock.release()
    else ports.atEnd(lock.release)
    return { isOurs: holdsLock(folder, name, runId) }
  } catch (error) {
    if (error instanceof ProbeStop) throw error
    throw new ProbeStop('LOCK_UNWRITABLE', describeFault(error), 'take')
  }
}

function describeHolder(holder: { runId: string; pid: number; since: number } | undefined, now: number): string {
  if (holder === undefined) return 'held by a run whose lock cannot be read'
  const seconds = Math.max(0, Math.round((now - holder.since) / 1_000))
  return `held by run ${holder.runId}, process ${holder.pid}, for ${seconds} s`
}

/** The bus' own folder where it was named and is there: it is the same for every user. */
function lockFolder(ctx: RuleContext): string {
  const { dataDir } = ctx.resolution.values
  const isFolder = statSync(dataDir, { throwIfNoEntry: false })?.isDirectory() === true
  return isExplicit(ctx, 'dataDir') && isFolder ? dataDir : tmpdir()
}
