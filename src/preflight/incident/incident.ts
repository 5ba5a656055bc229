// A run with what the runbook asks for when it fails (L70-L77): evidence in a bundle, tickets to those who have to know,
// and no secret in either, nor in the report. Nothing here changes a verdict.
import type { KeyObject } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { digestOf } from '../../base/canonical-json.ts'
import { type Clock, systemClock } from '../../base/clock.ts'
import { randomHex } from '../../base/ids.ts'
import type { Environment } from '../../config/resolution.ts'
import { createCatalogue } from '../catalogue.ts'
import type { CheckPorts } from '../check.ts'
import type { Plan } from '../plan.ts'
import type { BundleFinding, IncidentOutcome, Report } from '../report.ts'
import { checkPortsOf } from '../ports.ts'
import type { PreflightInputs, PreflightPorts, Progress } from '../inputs.ts'
import { runPreflight } from '../run.ts'
import { exitCodeOf } from '../verdict.ts'
import { makeBundle, writeBundle } from './bundle.ts'
import { collectDependencies, collectEnvironment, collectGit, collectHost } from './collect.ts'
import { Collection, whyOf } from './collection.ts'
import { type CommandSpool, openCommandSpool } from './commands.ts'
import { collectCommits, collectComparison } from './compare.ts'
import { collectCommands, collectReplay, collectReport, collectSummary } from './contents.ts'
import { installationKey, type InstallationKey } from '../../certificate/installation-key.ts'
import { addressSecrets, knownSecrets } from './known-secrets.ts'
import { createRedactor, type Redactor } from './redact.ts'
import { createRecorder, type Recorder, recordOf } from '../replay/record.ts'
import { readHistory } from '../replay/history.ts'
import { remember } from '../replay/remember.ts'
import { type Route, routeOf } from './route.ts'
import { keyTextOf } from '../../waivers/sign.ts'
import { deliver, describeSink, parseSink, type Sink } from './sinks.ts'

export interface IncidentRequest {
  /** `never`, `always`, or a folder; absent: when it failed, into the usual folder. */
  readonly bundle?: string
  /** As `parseSink` reads them. */
  readonly routes?: readonly string[]
  /** The command line of the run, and where it was given. */
  readonly argv: readonly string[]
  readonly cwd: string
  /** Of the process itself: PATH and HOME for git and commands, ARQONBUS_PREFLIGHT_ROUTE_SECRET for signatures. */
  readonly env: Environment
  /** The exceptions that were used, exactly as they were read. */
  readonly waiversFile?: string
  /** A file for the recording of the run, to judge it again from (preflight replay). */
  readonly record?: string
  /** A run that this one is compared with, in place of the last green one. */
  readonly baseline?: Report
  /** What recordings are signed with, that of the bundle too: private, Ed25519. */
  readonly signWith?: KeyObject
  /** What is printed, for `report.txt`. */
  readonly format: (report: Report) => string
}

/** As `runPreflight`, redacted, with `observations.incident`. Throws USAGE for a wrong request, before anything runs. */
export async function runWithIncident(
  inputs: PreflightInputs,
  request: IncidentRequest,
  ports: PreflightPorts = {},
): Promise<Report> {
  const sinks = (request.routes ?? []).map(parseSink)
  const { clock = systemClock, runId = randomHex(8), canary = `canary-${randomHex(16)}` } = ports
  const checkPorts = checkPortsOf(inputs, { ...ports, runId }, clock)
  let key: InstallationKey | undefined
  const keyOf = (): InstallationKey => (key ??= installationKey(checkPorts.ctx.resolution.values.dataDir))
  const redactor = createRedactor(
    [
      ...knownSecrets(checkPorts.ctx),
      ...sinks.flatMap((sink) => ('url' in sink ? addressSecrets('--route', sink.url) : [])),
      ...routeSecret(request).map((value) => ({ name: routeSecretName, value, kind: 'secret' as const })),
      { name: 'canary', value: canary, kind: 'secret' },
    ],
    () => keyOf().key,
  )
  const spool = openCommandSpool(clock)
  try {
    const self = spool.begin({ id: 'preflight', argv: request.argv, cwd: request.cwd })
    const startedMs = clock.monotonic()
    const progress = ports.progress === undefined ? {} : { progress: redactedProgress(ports.progress, redactor) }
    const recorder = recorderOf(ports)
    const catalogue = recorder === undefined ? {} : { catalogue: recorder.catalogue }
    let plan: Plan | undefined
    const onPlan = (made: Plan): void => {
      plan = made
    }
    const own = { ...progress, ...catalogue, clock, runId, canary, spool, onPlan }
    const bare = await runPreflight(inputs, { ...ports, ...own })
    const { report, notes: kept } = await remember(redactReport(bare, redactor), {
      inputs,
      ports: checkPorts,
      redactor,
      keyOf,
      runId,
      recorder,
      ...(request.record !== undefined && { record: request.record }),
      ...(request.baseline !== undefined && { baseline: request.baseline }),
      ...(request.signWith !== undefined && { signWith: request.signWith }),
    })
    const text = request.format(report)
    self.write('stdout', text)
    self.end({ exit: exitCodeOf(report.canonical), signal: null, ms: Math.round(clock.monotonic() - startedMs) })
    const route = routeOf(report, checkPorts.policy)
    const run: Run = {
      inputs,
      recorder,
      request,
      report,
      text,
      checkPorts,
      redactor,
      spool,
      clock,
      runId,
      keyOf,
      route,
      ...(plan !== undefined && { plan }),
    }
    const capture: Capture = isWanted(run) ? await captured(run) : { findings: [], notes: [] }
    const notes = [...kept, ...capture.notes, ...(await delivered(sinks, run, capture))]
    const isSilent = capture.bundle === undefined && capture.findings.length === 0 && notes.length === 0
    if (isSilent) return report
    const incident: IncidentOutcome = redactor.value({ ...capture, notes })
    return { ...report, observations: { ...report.observations, incident } }
  } finally {
    spool.close()
  }
}

/** A catalogue that contradicts itself is a fault of the run, which says so. */
function recorderOf({ catalogue }: PreflightPorts): Recorder | undefined {
  try {
    return createRecorder(catalogue ?? createCatalogue())
  } catch {
    return undefined
  }
}

interface Run {
  readonly inputs: PreflightInputs
  readonly recorder: Recorder | undefined
  readonly request: IncidentRequest
  readonly report: Report
  readonly text: string
  readonly checkPorts: CheckPorts
  readonly redactor: Redactor
  readonly spool: CommandSpool
  readonly clock: Clock
  readonly runId: string
  readonly keyOf: () => InstallationKey
  readonly route: Route | undefined
  /** Absent where the report says why there is none. */
  readonly plan?: Plan
}

interface Capture {
  readonly bundle?: { readonly path: string; readonly files: number }
  readonly findings: readonly BundleFinding[]
  readonly notes: readonly string[]
}

const routeSecretName = 'ARQONBUS_PREFLIGHT_ROUTE_SECRET'

function routeSecret({ env }: IncidentRequest): string[] {
  const secret = env[routeSecretName]
  return secret === undefined || secret === '' ? [] : [secret]
}

/** What is told while it runs holds no more than the report will. */
function redactedProgress(progress: Progress, redactor: Redactor): Progress {
  return {
    write: (ended) => progress.write(ended),
    release: (ended) => progress.release?.(redactor.value(ended)),
  }
}

/** The digest is always that of what is shown. */
export function redactReport(report: Report, redactor: Redactor): Report {
  const shown = redactor.value(report)
  return { ...shown, digest: digestOf(shown.canonical) }
}

/**
 * On NO-GO and INCONCLUSIVE (preflight 2.8), but not for a wrong call, nor where the operator asked for a part of the
 * checks only and none failed: nothing has happened then, and such bundles would push real ones out of those kept.
 */
function isWanted({ request: { bundle }, report: { canonical }, inputs }: Run): boolean {
  if (bundle === 'never') return false
  if (bundle === 'always') return true
  if (canonical.fault?.kind === 'usage' || canonical.verdict === 'GO') return false
  const isNarrowed = inputs.only !== undefined || inputs.skip !== undefined || inputs.phases !== undefined
  return canonical.verdict === 'NO-GO' || !isNarrowed || bundle !== undefined
}

/** In the data folder, when there is one; else beside where the command was called. */
function folderOf({ request: { bundle, cwd }, checkPorts, inputs }: Run): string {
  if (bundle !== undefined && bundle !== 'always') return bundle
  const { dataDir } = checkPorts.ctx.resolution.values
  const isThere = inputs.env['ARQONBUS_DATA_DIR'] !== undefined || existsSync(dataDir)
  return isThere ? join(dataDir, 'incidents') : join(cwd, 'preflight-incidents')
}

async function captured(run: Run): Promise<Capture> {
  const { report, redactor, runId, clock, keyOf, route } = run
  try {
    const folder = folderOf(run)
    const { into, commit } = await collect(run)
    const causes = new Set(report.canonical.rootCauses)
    const head = {
      runId,
      verdict: report.canonical.verdict,
      digest: report.digest,
      ...(commit !== undefined && { commit }),
      ...(route !== undefined && { label: route.label }),
      classes: report.canonical.results.filter(({ id }) => causes.has(id)).map((result) => result.class),
    }
    const bundle = makeBundle(into, head, redactor, keyOf(), run.request.signWith)
    const path = await writeBundle(bundle, folder, redactor, clock.now())
    const missing = bundle.missing.length
    return {
      bundle: { path, files: bundle.files.size },
      findings: bundle.findings,
      notes: missing === 0 ? [] : [`bundle incomplete: ${missing} of its files are missing (INCOMPLETE.json)`],
    }
  } catch (error) {
    return { findings: [], notes: [`no incident bundle: ${whyOf(error)}`] }
  }
}

async function collect(run: Run): Promise<{ into: Collection; commit?: string }> {
  const { inputs, recorder, request, report, text, checkPorts, redactor, spool, clock, route } = run
  const into = new Collection()
  const env = toolEnvironment(request.env)
  const { commit } = await collectGit(into, spool, env)
  collectReport(into, report, text, planOf(run))
  const comparison = collectComparison(into, report, {
    earlier: earlierRuns(run),
    ...(recorder !== undefined && { catalogue: recorder.catalogue }),
  })
  if (comparison !== undefined) await collectCommits(into, comparison, { spool, env })
  collectSummary(into, report, { route, comparison, signer: request.signWith && keyTextOf(request.signWith) })
  collectEnvironment(into, checkPorts.ctx.resolution, redactor)
  collectHost(into, clock.now(), request.cwd)
  collectDependencies(into)
  collectWaivers(into, request.waiversFile)
  collectReplay(
    into,
    report,
    recorder && recordOf(recorder, report, { inputs, ports: checkPorts, redactor }, request.signWith),
  )
  collectCommands(into, spool)
  return { into, ...(commit !== undefined && { commit }) }
}

/** Those of the history, or why there are none. */
function earlierRuns({ inputs, checkPorts, report }: Run): readonly Report[] | string {
  if ((inputs.env['ARQONBUS_DATA_DIR'] ?? '') === '') return 'no ARQONBUS_DATA_DIR, so that no history is kept'
  const { startedAt } = report.observations
  const isEarlier = ({ observations }: Report): boolean => observations.startedAt < startedAt
  return readHistory(checkPorts.ctx.resolution.values.dataDir).filter(isEarlier)
}

function collectWaivers(into: Collection, path: string | undefined): void {
  if (path === undefined) return
  const place = `waivers/${basename(path)}`
  try {
    into.bytes(place, readFileSync(path))
  } catch (error) {
    into.lacks(place, whyOf(error))
  }
}

function planOf({ plan }: Run): object | undefined {
  if (plan === undefined) return undefined
  const { profile, required, digest, checks } = plan
  return {
    profile,
    required,
    digest,
    checks: checks.map(({ check: { id, phase, severity, effects }, skip }) => ({ id, phase, severity, effects, skip })),
  }
}

/** What programs need to run at all; no secret is in it. */
function toolEnvironment(env: Environment): Record<string, string> {
  const entries = ['PATH', 'HOME'].flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]] as const]))
  return Object.fromEntries(entries)
}

/** A note for each sink that did not take it. */
async function delivered(sinks: readonly Sink[], run: Run, { bundle }: Capture): Promise<string[]> {
  const { route, report, request, runId } = run
  if (route === undefined) return []
  const [secret] = routeSecret(request)
  const delivery = {
    runId,
    digest: report.digest,
    route,
    ...(bundle !== undefined && { bundle: bundle.path }),
  }
  const options = { env: toolEnvironment(request.env), ...(secret !== undefined && { secret }) }
  const results = await Promise.all(sinks.map(async (sink) => ({ sink, why: await deliver(sink, delivery, options) })))
  return results.flatMap(({ sink, why }) => (why === undefined ? [] : [`not routed to ${describeSink(sink)}: ${why}`]))
}
