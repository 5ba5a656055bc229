// `arqonbus policy test`: what a policy would say to recorded frames, and where that differs from the one in service.
// `arqonbus policy hash`: how it is pinned.
import { Command } from 'commander'
import type { Identity } from '../../auth/identity.ts'
import { systemClock } from '../../base/clock.ts'
import { createLogger } from '../../base/logger.ts'
import { toShieldLimits } from '../../config/load.ts'
import { resolveKeys } from '../../config/resolve.ts'
import type { Difference, RecordedFrame, ReplayedFrame } from '../../policy/replay.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { type Terminal, toPrintable, toPrintableJson, toPrintableWord } from '../terminal.ts'

interface Options {
  readonly frames: string
  readonly baseline?: string
  readonly tenant: string
  readonly header: readonly string[]
  readonly json?: boolean
}

export function policyCommand(terminal: Terminal): Command {
  const command = new Command('policy').description('Try policies of the gateway')
  command.addCommand(
    new Command('hash')
      .description('Print the pins of policies for SHIELD_POLICY_SHA256')
      .argument('<files...>', 'Wasm modules')
      .action((files: string[]) => hash(files, terminal)),
  )
  return command.addCommand(
    new Command('test')
      .description('Put recorded frames to a policy, and show what it says')
      .argument('<file>', 'the candidate, a Wasm module')
      .requiredOption(
        '--frames <dir>',
        'a folder of binary frames, one in each file; taken in the order of their names',
      )
      .option('--baseline <file>', 'another module: where they differ is shown, and the exit code is 1')
      .option('--tenant <tenant>', 'whose frames they are', 'default')
      .option('--header <name=value>', 'a header of the upgrade request; may be given again', collect, [])
      .option('--json', 'print one JSON document')
      .addHelpText(
        'after',
        `
Fuel, memory and deadline are those of SHIELD_LIMIT_POLICY_… (docs/config.md). How to write one: docs/policies.md.

Examples:
  arqonbus policy test next.wasm --frames recorded
  arqonbus policy test next.wasm --frames recorded --baseline now.wasm --json`,
      )
      .action((file: string, options: Options) => test(file, options, terminal)),
  )
}

const collect = (value: string, before: readonly string[]): string[] => [...before, value]

/** One pin a line; rejects with START_REFUSED for a file that cannot be read or is too large. */
async function hash(files: readonly string[], terminal: Terminal): Promise<void> {
  const { policyName, sha256Of } = await import('../../policy/pins.ts')
  const { readPolicy } = await import('../../policy/policy-chain.ts')
  for (const file of files) {
    const name = policyName(file)
    terminal.out(`${name}:${sha256Of(await readPolicy(name, file))}`)
  }
}

async function test(file: string, options: Options, terminal: Terminal): Promise<void> {
  const { differencesOf, readFrames } = await import('../../policy/replay.ts')
  const frames = await readFrames(options.frames).catch((cause: unknown) => {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable'
    throw new ExitError(exitCodes.usage, `the folder ${toPrintableWord(options.frames)} cannot be read (${code})`)
  })
  if (frames.length === 0) throw new ExitError(exitCodes.usage, 'there is no file in the folder of frames')
  const judge = await judgeOf(frames, options, terminal)
  const candidate = await judge(file)
  const { baseline } = options
  const differences = baseline === undefined ? undefined : differencesOf(await judge(baseline), candidate)
  if (options.json === true) terminal.out(toPrintableJson({ frames: candidate, differences }))
  else print(candidate, differences, terminal)
  if (differences !== undefined && differences.length > 0) terminal.exitWith(exitCodes.failure)
}

/** Puts all frames to one file under the limits of the environment. */
async function judgeOf(
  frames: readonly RecordedFrame[],
  options: Options,
  terminal: Terminal,
): Promise<(file: string) => Promise<ReplayedFrame[]>> {
  const { replay } = await import('../../policy/replay.ts')
  const resolution = resolveKeys(terminal.env)
  const { limits, policies } = toShieldLimits(resolution)
  const identity: Identity = { tenant: options.tenant, subject: 'policy-test', role: 'user' }
  const headers = Object.fromEntries(options.header.map(readHeader))
  // What goes as planned is on standard output already.
  const level = resolution.sources.get('logLevel')?.kind === 'default' ? 'warn' : resolution.values.logLevel
  const ports = { clock: systemClock, logger: createLogger(level, 'policy'), metrics: undefined }
  const wire = { maxDepth: limits.maxJsonDepth, maxKeys: limits.maxJsonKeys, maxArrayItems: 10_000 }
  const settings = {
    fuel: policies.policyFuel,
    maxMemoryPages: policies.policyMemoryPages,
    maxInstances: policies.policyInstances,
    deadlineMs: policies.policyDeadlineMs,
    threads: 1,
    maxWaiting: policies.policyQueue,
  }
  return (file) => replay({ file, frames, identity, headers, wire, settings }, ports)
}

function readHeader(text: string): [string, string] {
  const at = text.indexOf('=')
  if (at < 1) throw new ExitError(exitCodes.usage, 'a header is given as name=value')
  return [text.slice(0, at).toLowerCase(), text.slice(at + 1)]
}

function print(
  frames: readonly ReplayedFrame[],
  differences: readonly Difference[] | undefined,
  terminal: Terminal,
): void {
  for (const frame of frames) {
    terminal.out(`${frame.verdict.padEnd(7)}  ${toPrintableWord(frame.file)}  fuel ${frame.fuel}${reasonOf(frame)}`)
  }
  const counted = (['allow', 'deny', 'error', 'invalid'] as const)
    .map((verdict) => `${verdict} ${frames.filter((frame) => frame.verdict === verdict).length}`)
    .join(', ')
  terminal.out(`${frames.length} frames: ${counted}`)
  if (differences === undefined) return
  terminal.out(`${differences.length} differences to the baseline`)
  for (const { file, baseline, candidate } of differences) {
    terminal.out(
      `  ${toPrintableWord(file)}: ${baseline.verdict}${reasonOf(baseline)} -> ${candidate.verdict}${reasonOf(candidate)}`,
    )
  }
}

function reasonOf({ reason, headers }: ReplayedFrame): string {
  const added = headers === undefined ? '' : ` headers ${toPrintableJson(headers)}`
  return `${reason === undefined ? '' : ` (${toPrintable(reason)})`}${added}`
}
