// `arqonbus preflight diff`: two runs side by side, and what most likely came first.
import { Command } from 'commander'
import type { InputChange, RunDiff } from '../../preflight/replay/diff.ts'
import type { Report } from '../../preflight/report.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { type Terminal, toPrintable, toPrintableJson } from '../terminal.ts'
import { orInput } from './preflight-replay.ts'

interface Options {
  readonly ofHistory?: boolean
  readonly since?: string
  readonly json?: boolean
}

export function diffCommand(terminal: Terminal): Command {
  return new Command('diff')
    .description('Compare two runs: 0 when they are the same, 50 when they are not')
    .argument('[reports...]', 'two of: report as JSON, incident bundle, recording, file of the history')
    .option('--since <run>', 'compare with `last-green`, or a file; the other is the newest run, or the one given')
    .option('--of-history', 'runs are named by their ids in the history of ARQONBUS_DATA_DIR, or `last`')
    .option('--json', 'print as JSON')
    .action((paths: string[], options: Options) => diff(paths, options, terminal))
}

async function diff(paths: readonly string[], options: Options, terminal: Terminal): Promise<void> {
  const { createCatalogue } = await import('../../preflight/catalogue.ts')
  const { harmless } = await import('../../preflight/report.ts')
  const { diffRuns } = await import('../../preflight/replay/diff.ts')
  const { exitCodes: verdicts } = await import('../../preflight/verdict.ts')
  terminal.exitWith(verdicts.internal)
  const [before, after] = await orInput(() => sidesOf(paths, options, terminal))
  const result = diffRuns(before, after, createCatalogue())
  terminal.exitWith(result.isEqual ? verdicts.go : verdicts.differs)
  if (options.json === true) terminal.out(toPrintableJson(result))
  else for (const line of linesOf(result)) terminal.out(harmless(line))
}

async function sidesOf(
  paths: readonly string[],
  { since, ofHistory }: Options,
  terminal: Terminal,
): Promise<[Report, Report]> {
  const { readRun } = await import('../../preflight/replay/read-run.ts')
  const { lastGreen, readHistory, readKeptRun } = await import('../../preflight/replay/history.ts')
  const dataDir = terminal.env['ARQONBUS_DATA_DIR'] ?? ''
  const read = async (name: string): Promise<Report> => {
    if (ofHistory !== true) return await readRun(name)
    const run = dataDir === '' ? undefined : readKeptRun(dataDir, name)
    if (run === undefined) throw new ExitError(exitCodes.input, `no run ${toPrintable(name)} is in the history`)
    return run
  }
  const [first, second, ...more] = paths
  const isPair = since === undefined && first !== undefined && second !== undefined
  if (isPair && more.length === 0) return [await read(first), await read(second)]
  if (since === undefined || second !== undefined) {
    throw new ExitError(exitCodes.usage, 'diff takes two runs, or --since last-green and at most one')
  }
  const runs = dataDir === '' ? [] : readHistory(dataDir)
  const after = first === undefined ? runs.at(-1) : await read(first)
  if (after === undefined) throw new ExitError(exitCodes.input, 'there is no run yet', 'Set ARQONBUS_DATA_DIR.')
  if (since !== 'last-green') return [await read(since), after]
  const earlier = runs.filter(({ observations }) => observations.startedAt < after.observations.startedAt)
  const green = lastGreen(earlier, after.canonical.profile)
  if (green === undefined) throw new ExitError(exitCodes.input, `no run of ${after.canonical.profile} was green yet`)
  return [green, after]
}

const shownMoving = 20

function linesOf({ before, after, isEqual, checks, inputs, causes, notes }: RunDiff): string[] {
  const facts = inputs.filter(({ check }) => check !== undefined)
  const others = inputs.filter(({ check }) => check === undefined)
  const head = ({ verdict, at, digest }: RunDiff['before']): string =>
    `${verdict.padEnd(12)} ${at}   ${digest.slice(0, 'sha256:'.length + 12)}`
  return [
    `before   ${head(before)}`,
    `after    ${head(after)}`,
    '',
    `CHECKS   ${checks.length} changed`,
    ...checks.map((change) => {
      const other = change.class === undefined ? '' : `   class ${change.class.before} -> ${change.class.after}`
      return `         ${change.id}: ${change.before} -> ${change.after}${other}`
    }),
    `INPUTS   ${others.length} changed`,
    ...others.map((change) => `         ${words(change)}`),
    `FACTS    ${facts.length} changed`,
    ...facts.slice(0, shownMoving).map((change) => `         ${words(change)}`),
    ...(facts.length > shownMoving ? [`         and ${facts.length - shownMoving} more (--json)`] : []),
    ...(causes.length === 0 ? [] : ['', 'LIKELY FIRST']),
    ...causes
      .slice(0, 5)
      .map((cause, index) => `  ${index + 1}.     ${words(cause)}   (${cause.explains}: ${cause.why})`),
    '',
    ...notes.map((note) => `note     ${note}`),
    isEqual ? 'equal   exit 0' : 'different   exit 50',
  ]
}

function words({ kind, name, check, before, after }: InputChange): string {
  const show = (value: unknown): string => {
    const text = value === undefined ? 'absent' : typeof value === 'string' ? value : JSON.stringify(value)
    return text.length > 60 ? `${text.slice(0, 60)}…` : text
  }
  if (kind === 'variable') {
    return `variable ${name}: ${before === undefined ? 'new' : after === undefined ? 'gone' : 'another value'}`
  }
  return `${check === undefined ? kind : `${check} ${kind === 'stopped' ? 'stopped' : name}`}: ${show(before)} -> ${show(after)}`
}
