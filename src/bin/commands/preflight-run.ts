// `arqonbus preflight run`: one report, whatever happens, and the exit code of its verdict.
import type { KeyObject } from 'node:crypto'
import { Command, InvalidArgumentError, Option } from 'commander'
import { BusError, isBusError } from '../../base/errors.ts'
import type { Profile } from '../../config/shapes.ts'
import type { CandidateSystem } from '../../preflight/candidate/candidate-system.ts'
import type { PreflightInputs, Progress } from '../../preflight/inputs.ts'
import type { Report } from '../../preflight/report.ts'
import { parseReportRequest, reportFormats, type ReportRequest } from '../../preflight/reporters/report-request.ts'
import { parseDuration } from '../duration.ts'
import { ExitError } from '../exit-codes.ts'
import { signingKeyOf } from '../read-key.ts'
import type { Terminal } from '../terminal.ts'
import { inputsOf, type SelectionOptions, withSelection } from './preflight-selection.ts'

interface RunOptions extends SelectionOptions {
  readonly candidate?: boolean
  readonly keepGoing?: boolean
  readonly failFast?: boolean
  readonly wait?: number
  readonly timeout?: number
  readonly checkTimeout?: Readonly<Record<string, number>>
  readonly jobs?: number
  readonly now?: number
  readonly plan?: string
  readonly bundle?: string
  readonly route?: string[]
  readonly record?: string
  readonly baseline?: string
  readonly sign?: string
  readonly runId?: string
  readonly output: 'text' | 'json' | 'ndjson'
  readonly report?: ReportRequest[]
  readonly reportCanonical?: boolean
  readonly quiet?: boolean
}

export function runCommand(terminal: Terminal): Command {
  return withSelection(new Command('run').description('Run the checks and judge (the default)'))
    .option(
      '--candidate',
      'for the live checks, start bus and Shield of this package on loopback and end them afterwards',
    )
    .option('--keep-going', 'run the live checks even after a blocker failed')
    .option('--fail-fast', 'start no further phase after something failed')
    .option('--wait <duration>', 'try again for so long what is not ready yet, in all', parseDuration)
    .option('--timeout <duration>', 'bound of the whole run (default 30m)', parseDuration)
    .option('--check-timeout <id=duration>', 'bound of one check; may be repeated', parseCheckTimeout)
    .option('--jobs <n>', 'checks at once (default 8); changes how long it takes, never what comes out', parseJobs)
    .option('--plan <digest>', 'run only if the plan is still the one with this digest')
    .option('--now <time>', 'judge for this instant (RFC 3339); recorded in the report', parseInstant)
    .addOption(
      new Option('--output <format>', 'format of the report').choices(['text', 'json', 'ndjson']).default('text'),
    )
    .option('--report <format=path>', `also to a file, may be repeated: ${reportFormats.join(', ')}`, collectReport)
    .option('--report-canonical', 'in these files only what is the same for the same system: no times, no found texts')
    .option('--json', 'short for --output json')
    .option('--bundle <where>', 'incident bundle: a folder, never or always (default: when it failed)')
    .option('--baseline <run>', 'compare with this report, bundle or recording (default: last-green, of the history)')
    .option('--record <file>', 'keep what the run was judged from, for `preflight replay`')
    .option(
      '--run-id <id>',
      'names the run, in the history too: up to 32 of 0-9 and a-z (default: by chance)',
      parseRunId,
    )
    .option('--sign <key>', 'sign recordings, that of the bundle too, with this private key: Ed25519, PEM')
    .option('--route <sinks...>', 'tickets for root causes: file=PATH, webhook=URL, slack=URL, command=ARGV')
    .option('-q, --quiet', 'print the verdict only')
    .action((options: RunOptions) => run(options, terminal))
}

function parseCheckTimeout(text: string, before: Readonly<Record<string, number>> = {}): Record<string, number> {
  const equals = text.indexOf('=')
  if (equals < 1) throw new InvalidArgumentError('it takes an id and a duration: dep.valkey.connect=10s')
  return { ...before, [text.slice(0, equals)]: parseDuration(text.slice(equals + 1)) }
}

function collectReport(text: string, before: readonly ReportRequest[] = []): ReportRequest[] {
  try {
    return [...before, parseReportRequest(text)]
  } catch (error) {
    throw isBusError(error) ? new InvalidArgumentError(error.message) : error
  }
}

function parseRunId(text: string): string {
  if (!/^[0-9a-z]{1,32}$/.test(text) || text === 'last')
    throw new InvalidArgumentError('up to 32 of 0-9 and a-z, not `last`')
  return text
}

function parseJobs(text: string): number {
  if (!/^[1-9]\d?$/.test(text)) throw new InvalidArgumentError('a number from 1 to 99')
  return Number(text)
}

function parseInstant(text: string): number {
  const form = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,3})?(?:Z|[+-]\d{2}:\d{2})$/
  const ms = form.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(ms)) throw new InvalidArgumentError('an instant with its zone, for example 2026-11-25T03:00:00Z')
  return ms
}

/** Whatever happens, one document: a wrong call and a fault of ours are reports too. */
async function run(options: RunOptions, terminal: Terminal): Promise<void> {
  const { formatJson } = await import('../../preflight/format-json.ts')
  const { formatText, formatVerdict } = await import('../../preflight/format-text.ts')
  const { exitCodeOf, exitCodes } = await import('../../preflight/verdict.ts')
  const { writeReports } = await import('../../preflight/reporters/reporters.ts')
  const { checkLine, ndjsonLines } = await import('../../preflight/reporters/ndjson.ts')
  // What keeps the report from being written is a fault of ours, also a promise that never settles.
  terminal.exitWith(exitCodes.internal)
  const { report: requests = [], reportCanonical: canonical = false, ...others } = options
  const shown = new Set<string>()
  const show = (line: string): void => {
    if (shown.has(line)) return // said as it happened
    shown.add(line)
    terminal.out(line)
  }
  const isStream = options.output === 'ndjson' && options.json !== true
  const progress: ReturnType<typeof createProgress> = {
    ...createProgress(terminal),
    ...(isStream && { release: ({ result, observation }) => show(checkLine(result, observation)) }),
  }
  const report = await judge(others, terminal, progress)
    .catch((error: unknown) => reportFault(error, options.profile))
    .finally(() => progress.end())
  const isJson = options.json === true || options.output === 'json'
  const format = isJson ? formatJson : options.quiet === true ? formatVerdict : formatText
  if (isStream) for (const line of ndjsonLines(report)) show(line)
  else terminal.out(format(report).trimEnd())
  for (const note of writeReports(report, requests, { canonical, log: (line) => terminal.log(line) }))
    terminal.note(note)
  terminal.exitWith(exitCodeOf(report.canonical))
}

export async function reportFault(error: unknown, profile: Profile = 'dev'): Promise<Report> {
  const { faultReport } = await import('../../preflight/build-report.ts')
  const { systemClock, toIsoTime } = await import('../../base/clock.ts')
  return faultReport(error, profile, { node: process.versions.node, startedAt: toIsoTime(systemClock.now()), ms: 0 })
}

async function judge(
  options: Omit<RunOptions, 'report' | 'reportCanonical'>,
  terminal: Terminal,
  progress: Progress,
): Promise<Report> {
  const { runWithIncident } = await import('../../preflight/incident/incident.ts')
  const { formatText } = await import('../../preflight/format-text.ts')
  const { rememberGreen } = await import('../../preflight/projector/known-environments.ts')
  const {
    wait,
    timeout,
    checkTimeout,
    plan: expectPlan,
    output: _,
    quiet: __,
    bundle,
    route,
    record,
    candidate: wantsCandidate,
    baseline: baselinePath,
    sign,
    runId,
    ...rest
  } = options
  const selection: SelectionOptions = rest
  const asked = await inputsOf(selection, terminal)
  const candidate = wantsCandidate === true ? await candidateOf(asked) : undefined
  const inputs = {
    ...asked,
    ...(candidate !== undefined && { targets: candidate.targets }),
    ...(wait !== undefined && { waitMs: wait }),
    ...(timeout !== undefined && { timeoutMs: timeout }),
    ...(checkTimeout !== undefined && { checkTimeoutsMs: checkTimeout }),
    ...(expectPlan !== undefined && { expectPlan }),
  }
  const { readRun } = await import('../../preflight/replay/read-run.ts')
  const isNamed = baselinePath !== undefined && baselinePath !== 'last-green'
  const baseline = isNamed ? await readRun(baselinePath) : undefined
  const waiversFile = 'waiversPath' in inputs ? inputs.waiversPath : inputs.env['ARQONBUS_PREFLIGHT_WAIVERS']
  const report = await runWithIncident(
    inputs,
    {
      ...(bundle !== undefined && { bundle }),
      ...(route !== undefined && { routes: route }),
      ...(record !== undefined && { record }),
      ...(baseline !== undefined && { baseline }),
      ...(sign !== undefined && { signWith: signWith(sign) }),
      ...(waiversFile !== undefined && waiversFile !== '' && { waiversFile }),
      argv: terminal.argv,
      cwd: terminal.cwd,
      env: terminal.env,
      format: formatText,
    },
    {
      progress,
      stop: terminal.stop,
      ...(runId !== undefined && { runId }),
      async onPhase(phase, ports) {
        if (phase !== 'live' || candidate === undefined) return undefined
        const trouble = await candidate.start(ports)
        if (trouble !== undefined) terminal.note(trouble)
        return { ...(trouble !== undefined && { trouble }), end: () => candidate.close() }
      },
    },
  )
  const dataDir = inputs.env['ARQONBUS_DATA_DIR']
  if (dataDir !== undefined && dataDir !== '') await rememberGreen(report, dataDir)
  return report
}

/** Throws USAGE where a running system is named too. */
async function candidateOf({ env, targets }: Pick<PreflightInputs, 'env' | 'targets'>): Promise<CandidateSystem> {
  const { systemClock } = await import('../../base/clock.ts')
  const { createCandidateSystem } = await import('../../preflight/candidate/candidate-system.ts')
  if (targets !== undefined)
    throw new BusError('USAGE', '--candidate starts the system that --target would name: give one')
  return createCandidateSystem({ env, clock: systemClock })
}

/** A wrong key is a wrong call, told in the report like any other. */
function signWith(path: string): KeyObject {
  try {
    return signingKeyOf(path)
  } catch (error) {
    throw error instanceof ExitError ? new BusError('USAGE', `--sign: ${error.message}`) : error
  }
}

/** One line that is written over, on a terminal only. */
function createProgress({ status }: Terminal): Progress & { end(): void } {
  let done = 0
  return {
    write({ id, planned }) {
      done++
      status?.(`${String(done).padStart(String(planned).length)}/${planned}  ${id}`)
    },
    end: () => status?.(''),
  }
}
