// `arqonbus preflight`: the production runbook as checks with evidence and a verdict. The exit code is that of the
// verdict (docs/preflight.md), in every output format.
import { resolve } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { Profile } from '../../config/shapes.ts'
import type { Check, Phase } from '../../preflight/check.ts'
import type { Plan } from '../../preflight/plan.ts'
import type { Report } from '../../preflight/report.ts'
import type { Progress } from '../../preflight/inputs.ts'
import { isBusError } from '../../base/errors.ts'
import { parseReportRequest, reportFormats, type ReportRequest } from '../../preflight/reporters/report-request.ts'
import { parseDuration } from '../duration.ts'
import { ExitError, exitCodes as programCodes } from '../exit-codes.ts'
import { type Terminal, toPrintable, toPrintableJson } from '../terminal.ts'
import { attestCommand } from './preflight-attest.ts'
import { pluginCommand } from './preflight-plugin.ts'
import { breakGlassCommand, certifyCommand } from './preflight-certify.ts'
import { verifyCommand } from './preflight-verify.ts'
import { waiversCommand } from './preflight-waivers.ts'
import { selftestCommand } from './preflight-selftest.ts'
import { diffCommand } from './preflight-diff.ts'
import { replayCommand } from './preflight-replay.ts'

interface SelectionOptions {
  readonly profile?: Profile
  readonly only?: string[]
  readonly skip?: string[]
  readonly phase?: Phase[]
  readonly target?: string
  readonly readOnly?: boolean
  readonly offline?: boolean
  readonly deep?: boolean
  readonly gates?: boolean
  readonly attestation?: string
  /** false: --no-waivers. */
  readonly waivers?: string | false
  readonly policy?: string
  readonly envFrom?: string
  readonly json?: boolean
  readonly bundle?: string
  readonly route?: string[]
}

interface RunOptions extends SelectionOptions {
  readonly keepGoing?: boolean
  readonly failFast?: boolean
  readonly wait?: number
  readonly timeout?: number
  readonly checkTimeout?: Readonly<Record<string, number>>
  readonly jobs?: number
  readonly now?: number
  readonly plan?: string
  readonly record?: string
  readonly output: 'text' | 'json' | 'ndjson'
  readonly report?: ReportRequest[]
  readonly reportCanonical?: boolean
  readonly quiet?: boolean
}

interface ListOptions {
  readonly policy?: string
  readonly json?: boolean
}

export function preflightCommand(terminal: Terminal): Command {
  const command = new Command('preflight').description(
    'Prove that a production start is safe: GO or NO-GO with evidence',
  )
  command.addCommand(
    withSelection(new Command('run').description('Run the checks and judge (the default)'))
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
      .option(
        '--report-canonical',
        'in these files only what is the same for the same system: no times, no found texts',
      )
      .option('--json', 'short for --output json')
      .option('--bundle <where>', 'incident bundle: a folder, never or always (default: when it failed)')
      .option('--record <file>', 'keep what the run was judged from, for `preflight replay`')
      .option('--route <sinks...>', 'tickets for root causes: file=PATH, webhook=URL, slack=URL, command=ARGV')
      .option('-q, --quiet', 'print the verdict only')
      .action((options: RunOptions) => run(options, terminal)),
    { isDefault: true },
  )
  command.addCommand(
    withSelection(new Command('plan').description('Show what would run, in which order, without running anything'))
      .option('--json', 'print as JSON')
      .action((options: SelectionOptions) => plan(options, terminal)),
  )
  command.addCommand(
    new Command('list')
      .description('List every check, those of plug-ins with their file and its digest')
      .option('--policy <file>', 'whose plug-ins to list; default: ARQONBUS_PREFLIGHT_POLICY')
      .option('--json', 'print as JSON')
      .action((options: ListOptions) => list(options, terminal)),
  )
  command.addCommand(
    new Command('explain')
      .description('Tell what a check proves, how it can fail and what to do')
      .argument('<id>', 'id of a check, as `preflight list` shows it')
      .option('--policy <file>', 'whose plug-ins there are; default: ARQONBUS_PREFLIGHT_POLICY')
      .option('--json', 'print as JSON')
      .action((id: string, options: ListOptions) => explain(id, options, terminal)),
  )
  command.addCommand(waiversCommand(terminal))
  command.addCommand(selftestCommand(terminal))
  command.addCommand(attestCommand(terminal))
  command.addCommand(replayCommand(terminal))
  command.addCommand(diffCommand(terminal))
  command.addCommand(pluginCommand(terminal))
  for (const make of [certifyCommand, verifyCommand, breakGlassCommand]) command.addCommand(make(terminal))
  return command.addHelpText(
    'after',
    `
Examples:
  arqonbus preflight --profile prod
  arqonbus preflight run --only dep.valkey --json
  arqonbus preflight plan --read-only
  arqonbus preflight explain bus.no-defaults

Exit codes: 0 GO; 20, 21, 22 NO-GO (blocker, critical, high); 30 INCONCLUSIVE; 64 wrong call; 70 a fault of ours`,
  )
}

function withSelection(command: Command): Command {
  return command
    .addOption(new Option('--profile <profile>', 'what the environment has to be').choices(['dev', 'staging', 'prod']))
    .option(
      '--env-from <source>',
      'where the service starts: process, file:PATH, systemd:UNIT, compose:FILE#service, k8s:FILE#container, pid:N',
    )
    .option('--only <ids...>', 'only these checks and what they need, or a category as dep.valkey')
    .option('--skip <ids...>', 'without these; a skipped gating check makes the verdict INCONCLUSIVE')
    .option('--waivers <file>', 'approved exceptions; default: ARQONBUS_PREFLIGHT_WAIVERS')
    .option('--no-waivers', 'judge without exceptions')
    .option('--policy <file>', 'who may approve, and more; default: ARQONBUS_PREFLIGHT_POLICY')
    .addOption(
      new Option('--phase <phases...>', 'only these phases').choices(['static', 'deps', 'gates', 'boot', 'live']),
    )
    .option(
      '--target <list>',
      'a started system for the live checks: bus=ws://…,http=http://…,telemetry=ws://…,shield=ws://…',
    )
    .option('--read-only', 'change nothing outside this process, not even for a moment')
    .option('--offline', 'open no connection')
    .option('--deep', 'also what takes long or costs')
    .option('--gates', 'also the gates: install, compile and run every suite, which takes minutes')
    .option('--attestation <file>', 'take a signed result of the gates in place of a run (preflight attest)')
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

async function inputsOf(options: RunOptions | SelectionOptions, terminal: Terminal) {
  const { parseTargets } = await import('../../preflight/targets.ts')
  const { startInputs } = await import('../../preflight/env-from/start-environment.ts')
  const { only, skip, phase, target, json: _json, waivers, policy, envFrom, attestation, ...rest } = options
  return {
    ...rest,
    ...startInputs(envFrom, { env: terminal.env }),
    shell: terminal.env,
    ...(only !== undefined && { only }),
    ...(skip !== undefined && { skip }),
    ...(phase !== undefined && { phases: phase }),
    ...(target !== undefined && { targets: parseTargets(target) }),
    ...(waivers === false && { waivers: 'none' as const }),
    ...(typeof waivers === 'string' && { waiversPath: waivers }),
    ...(policy !== undefined && { policyPath: policy }),
    ...(attestation !== undefined && { attestationPath: resolve(terminal.cwd, attestation) }),
    ...(terminal.env['PATH'] !== undefined && { searchPath: terminal.env['PATH'] }),
  }
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
    ...rest
  } = options
  const selection: SelectionOptions = rest
  const inputs = {
    ...(await inputsOf(selection as SelectionOptions, terminal)),
    ...(wait !== undefined && { waitMs: wait }),
    ...(timeout !== undefined && { timeoutMs: timeout }),
    ...(checkTimeout !== undefined && { checkTimeoutsMs: checkTimeout }),
    ...(expectPlan !== undefined && { expectPlan }),
  }
  const waiversFile = 'waiversPath' in inputs ? inputs.waiversPath : inputs.env['ARQONBUS_PREFLIGHT_WAIVERS']
  const report = await runWithIncident(
    inputs,
    {
      ...(bundle !== undefined && { bundle }),
      ...(route !== undefined && { routes: route }),
      ...(record !== undefined && { record }),
      ...(waiversFile !== undefined && waiversFile !== '' && { waiversFile }),
      argv: terminal.argv,
      cwd: terminal.cwd,
      env: terminal.env,
      format: formatText,
    },
    { progress },
  )
  const dataDir = inputs.env['ARQONBUS_DATA_DIR']
  if (dataDir !== undefined && dataDir !== '') await rememberGreen(report, dataDir)
  return report
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

async function plan(options: SelectionOptions, terminal: Terminal): Promise<void> {
  const { showEffect } = await import('../../preflight/catalogue.ts')
  const { requireKnownChecks } = await import('../../preflight/exceptions.ts')
  const { planPreflight } = await import('../../preflight/plan.ts')
  const { checkPortsOf, waiversOf, wholeCatalogue } = await import('../../preflight/ports.ts')
  const { withAttested } = await import('../../preflight/inputs.ts')
  const inputs = await inputsOf(options, terminal)
  const ports = checkPortsOf(inputs, {})
  const file = waiversOf(inputs, ports)
  const { checks: catalogue } = await wholeCatalogue(inputs, ports)
  requireKnownChecks(file, ports.policy, catalogue)
  const waiversFor = (id: string): string[] =>
    file.waivers.filter(({ check }) => check === id).map((waiver) => waiver.id)
  const { profile, required, checks, digest } = planPreflight(catalogue, ports, withAttested(inputs))
  if (options.json === true) {
    const rows = checks.map(({ check, skip }) => ({
      id: check.id,
      title: check.title,
      phase: check.phase,
      severity: check.severity,
      requires: check.requires,
      effects: check.effects,
      deadline_ms: check.deadlineMs,
      waivers: waiversFor(check.id),
      skip,
    }))
    terminal.out(toPrintableJson({ profile, required, digest, checks: rows }))
    return
  }
  const running = checks.filter(({ skip }) => skip === undefined)
  terminal.out(`profile ${profile}, ${running.length} of ${checks.length} checks would run, plan ${digest}`)
  for (const { check } of running) {
    const { phase, severity, id, effects, deadlineMs } = check
    terminal.out(`${phase.padEnd(6)} ${severity.padEnd(8)} ${id}  at most ${deadlineMs / 1_000} s`)
    for (const effect of effects) terminal.out(`                ${showEffect(effect)}`)
    for (const waiver of waiversFor(id)) terminal.out(`                waiver ${waiver}`)
  }
  for (const [reason, ids] of skippedByReason(checks)) terminal.out(`not run, ${reason}: ${ids.join(' ')}`)
}

function skippedByReason(checks: Plan['checks']): Map<string, string[]> {
  const byReason = new Map<string, string[]>()
  for (const { check, skip } of checks) {
    if (skip === undefined || skip.kind === 'blocked-by') continue
    byReason.set(skip.because, [...(byReason.get(skip.because) ?? []), check.id])
  }
  return byReason
}

/** What is built in, and the plug-ins of the policy that is named. */
async function catalogueFor({ policy }: ListOptions, { env }: Terminal): Promise<readonly Check[]> {
  const policyPath = policy ?? env['ARQONBUS_PREFLIGHT_POLICY']
  const { createCatalogue } = await import('../../preflight/catalogue.ts')
  if (policyPath === undefined || policyPath === '') return createCatalogue()
  const { checkPortsOf, wholeCatalogue } = await import('../../preflight/ports.ts')
  const inputs = { env, policyPath }
  return (await wholeCatalogue(inputs, checkPortsOf(inputs, {}))).checks
}

async function list(options: ListOptions, terminal: Terminal): Promise<void> {
  const { listCatalogue } = await import('../../preflight/catalogue.ts')
  const rows = listCatalogue(await catalogueFor(options, terminal))
  if (options.json === true) {
    terminal.out(toPrintableJson(rows))
    return
  }
  for (const { id, phase, severity, title, origin } of rows) {
    terminal.out(`${phase.padEnd(6)} ${severity.padEnd(8)} ${id}  ${title}`)
    if (origin === undefined) continue
    terminal.out(`                ${origin.kind} ${origin.path}  sha256:${origin.sha256}`)
  }
}

async function explain(id: string, options: ListOptions, terminal: Terminal): Promise<void> {
  const { explainCheck } = await import('../../preflight/catalogue.ts')
  const facts = explainCheck(id, await catalogueFor(options, terminal))
  if (facts === undefined) {
    throw new ExitError(
      programCodes.usage,
      `no check is called ${toPrintable(id)}`,
      '`arqonbus preflight list` shows them all.',
    )
  }
  if (options.json === true) {
    terminal.out(toPrintableJson(facts))
    return
  }
  for (const [name, value] of Object.entries(facts)) {
    terminal.out(`${name.padEnd(12)} ${Array.isArray(value) ? value.join(', ') || '-' : String(value)}`)
  }
}
