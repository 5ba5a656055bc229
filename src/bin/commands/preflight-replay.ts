// `arqonbus preflight replay`: judges a recorded run again, without network or services, and compares.
import { Command } from 'commander'
import { allKeys } from '../../config/keys.ts'
import type { RunRecord } from '../../preflight/replay/record.ts'
import { isKeyText } from '../../waivers/sign.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { type Terminal, toPrintable, toPrintableJson } from '../terminal.ts'

interface Options {
  readonly set?: string[]
  readonly unset?: string[]
  readonly asRecorded?: boolean
  readonly publicKey?: string
  readonly json?: boolean
}

export function replayCommand(terminal: Terminal): Command {
  return new Command('replay')
    .description('Judge a recorded run again, offline: 0 when the digest is the same, 50 when it is not')
    .argument('<recording>', 'an incident bundle, or the file of `preflight run --record`')
    .option('--set <pairs...>', 'what if: VARIABLE=value, for public variables')
    .option('--unset <variables...>', 'what if: without these')
    .option('--as-recorded', 'with the checks of then; those that are new since are left out')
    .option('--public-key <key>', 'ed25519:… that has to have signed it; any other, and none, is refused')
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
  const signedBy = signerOf(record, options)
  const { asRecorded = false, json } = options
  const { report, isEqual, expected, differing, parts, notes } = await replayRecord(record, { changes, asRecorded })
  const said = [...found, ...notes]
  terminal.exitWith(isEqual ? verdicts.go : verdicts.differs)
  const { rejudged = [], notRejudged = [] } = report.observations.replay ?? {}
  if (json === true) {
    terminal.out(
      toPrintableJson({
        equal: isEqual,
        signedBy: signedBy ?? null,
        expected,
        digest: report.digest,
        differing,
        parts,
        notes: said,
        report,
      }),
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
  out(signatureLine(signedBy, options))
  for (const note of said) out(`note     ${note}`)
  if (isEqual) {
    out(`equal    ${expected}   exit ${verdicts.go}`)
    return
  }
  out(`differs  ${report.digest} instead of ${expected}   exit ${verdicts.differs}`)
  for (const { id, recorded, now } of differing) out(`         ${id}: ${recorded} -> ${now}`)
  if (parts.length > 0) out(`         other parts: ${parts.join(', ')}`)
}

/** Undefined where nobody signed it. Its signature was judged when it was read. Exits with 65 where another key is asked for. */
function signerOf({ signature }: RunRecord, { publicKey }: Options): string | undefined {
  if (publicKey === undefined || publicKey === signature?.key) return signature?.key
  if (!isKeyText(publicKey)) throw new ExitError(exitCodes.usage, '--public-key takes ed25519: and base64 of 32 bytes')
  const found = signature === undefined ? 'nobody signed it' : `it was signed by ${signature.key}`
  throw new ExitError(exitCodes.input, `The recording cannot be used: ${found}`)
}

function signatureLine(signedBy: string | undefined, { publicKey }: Options): string {
  if (signedBy === undefined) return 'unsigned whoever can change all of it can make it agree with itself'
  return `signed by ${signedBy}${publicKey === undefined ? ', whoever holds that key (--public-key)' : ', as asked for'}`
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
