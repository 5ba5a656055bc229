// `arqonbus preflight replay`: judges a recorded run again, without network or services, and compares.
import { Command } from 'commander'
import { allKeys } from '../../config/keys.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { type Terminal, toPrintable, toPrintableJson } from '../terminal.ts'

interface Options {
  readonly set?: string[]
  readonly unset?: string[]
  readonly asRecorded?: boolean
  readonly json?: boolean
}

export function replayCommand(terminal: Terminal): Command {
  return new Command('replay')
    .description('Judge a recorded run again, offline: 0 when the digest is the same, 50 when it is not')
    .argument('<recording>', 'an incident bundle, or the file of `preflight run --record`')
    .option('--set <pairs...>', 'what if: VARIABLE=value, for public variables')
    .option('--unset <variables...>', 'what if: without these')
    .option('--as-recorded', 'with the checks of then; those that are new since are left out')
    .option('--json', 'print as JSON')
    .action((path: string, options: Options) => replay(path, options, terminal))
}

async function replay(path: string, options: Options, terminal: Terminal): Promise<void> {
  const { exitCodes: verdicts } = await import('../../preflight/verdict.ts')
  terminal.exitWith(verdicts.internal)
  const { readRecord } = await import('../../preflight/replay/keep-record.ts')
  const { replayRecord } = await import('../../preflight/replay/replay.ts')
  const { formatText } = await import('../../preflight/format-text.ts')
  const { harmless } = await import('../../preflight/report.ts')
  const changes = changesOf(options)
  const { record, notes: found } = await orInput(() => readRecord(path))
  const { asRecorded = false, json } = options
  const { report, isEqual, expected, differing, parts, notes } = await replayRecord(record, { changes, asRecorded })
  const said = [...found, ...notes]
  terminal.exitWith(isEqual ? verdicts.go : verdicts.differs)
  const { rejudged = [], notRejudged = [] } = report.observations.replay ?? {}
  if (json === true) {
    terminal.out(
      toPrintableJson({ equal: isEqual, expected, digest: report.digest, differing, parts, notes: said, report }),
    )
    return
  }
  // A recording comes from elsewhere, and so may its texts.
  const out = (text: string): void => {
    for (const line of text.split('\n')) terminal.out(harmless(line))
  }
  out(formatText(report).trimEnd())
  out('')
  out(`replayed ${rejudged.length} judged again, ${notRejudged.length} as recorded`)
  for (const { id, needs } of notRejudged) out(`         as recorded  ${id}: needs ${needs.join(', ')}`)
  for (const note of said) out(`note     ${note}`)
  if (isEqual) {
    out(`equal    ${expected}   exit ${verdicts.go}`)
    return
  }
  out(`differs  ${report.digest} instead of ${expected}   exit ${verdicts.differs}`)
  for (const { id, recorded, now } of differing) out(`         ${id}: ${recorded} -> ${now}`)
  if (parts.length > 0) out(`         other parts: ${parts.join(', ')}`)
}

/** Throws USAGE for what is no variable of ours, and for a secret: those are not judged anew. */
function changesOf({ set = [], unset = [] }: Options): Record<string, string | undefined> {
  const changes: Record<string, string | undefined> = {}
  for (const pair of set) {
    const equals = pair.indexOf('=')
    if (equals < 1) throw new ExitError(exitCodes.usage, '--set takes VARIABLE=value')
    changes[publicName(pair.slice(0, equals))] = pair.slice(equals + 1)
  }
  for (const name of unset) changes[publicName(name)] = undefined
  return changes
}

function publicName(name: string): string {
  const spec = allKeys.find(({ names }) => names.includes(name))
  if (spec === undefined) throw new ExitError(exitCodes.usage, `no variable is called ${toPrintable(name)}`)
  if (spec.secret !== undefined) {
    throw new ExitError(exitCodes.usage, `${name} is a secret: what rules say of it stays as it was recorded`)
  }
  return name
}

/** A file that is no recording is bad input (65). */
export async function orInput<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (error) {
    if (error instanceof Error && error.name === 'BusError') throw new ExitError(exitCodes.input, error.message)
    throw error
  }
}
