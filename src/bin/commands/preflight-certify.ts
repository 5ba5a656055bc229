// `arqonbus preflight certify` and `break-glass`: what somebody signs so that production starts (docs/certificate.md).
import { writeFileSync } from 'node:fs'
import { Command, Option } from 'commander'
import { systemClock, toIsoTime } from '../../base/clock.ts'
import { randomHex } from '../../base/ids.ts'
import type { StartedProgram } from '../../certificate/break-glass.ts'
import { resolveKeys } from '../../config/resolve.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { callCodeOf, signingKeyOf, textOf } from '../read-key.ts'
import { type Terminal, toPrintable } from '../terminal.ts'

interface CertifyOptions {
  readonly report: string
  readonly key: string
  readonly out: string
}

export function certifyCommand(terminal: Terminal): Command {
  return new Command('certify')
    .description('Sign the report of a whole GO: the certificate without which production does not start')
    .requiredOption('--report <file>', 'what `preflight run --json` printed, of the last hour')
    .requiredOption('--key <file>', 'your private key: Ed25519, PEM (PKCS #8)')
    .requiredOption('--out <file>', 'where the certificate goes; it has to be activated within 60 minutes')
    .addHelpText(
      'after',
      `
Exit codes: 0 signed; 30 the report proves too little (no GO, narrowed, --now, dirty tree, too old); 65 no report`,
    )
    .action((options: CertifyOptions) => certify(options, terminal))
}

async function certify({ report, key, out }: CertifyOptions, terminal: Terminal): Promise<void> {
  const { certify: sign } = await import('../../preflight/certificate/certify.ts')
  const { createCatalogue } = await import('../../preflight/catalogue.ts')
  const { keyTextOf } = await import('../../waivers/sign.ts')
  const privateKey = signingKeyOf(key)
  const certified = sign(textOf(report), privateKey, { now: systemClock.now(), catalogue: createCatalogue() })
  if ('refused' in certified) {
    for (const reason of certified.refused) terminal.note(`not certified: ${reason}`)
    terminal.exitWith(certified.exit)
    return
  }
  const { certificate } = certified
  write(out, certificate)
  const { commit, profile, activateBy, waivers } = certificate
  const rest = waivers.length === 0 ? '' : `, resting on ${waivers.map(({ id }) => id).join(', ')}`
  terminal.out(`${toPrintable(out)}: GO of ${profile} for commit ${commit.slice(0, 12)}${rest}`)
  terminal.out(`activate by ${activateBy}; the key to pin: ${keyTextOf(privateKey)}`)
}

interface BreakGlassOptions {
  readonly program: StartedProgram
  readonly reason: string
  readonly by: string
  readonly key: string
  readonly out: string
  readonly hours: string
  readonly policy?: string
}

export function breakGlassCommand(terminal: Terminal): Command {
  return new Command('break-glass')
    .description('Sign one start of one program without a certificate; loud, and for four hours at most')
    .addOption(
      new Option('--program <program>', 'what is to be started')
        .choices(['bus', 'shield', 'projector'])
        .makeOptionMandatory(),
    )
    .requiredOption('--reason <text>', 'why it cannot wait for a GO; shown wherever it counts')
    .requiredOption('--by <name>', 'your name in the policy')
    .requiredOption('--key <file>', 'your private key: Ed25519, PEM (PKCS #8)')
    .requiredOption('--out <file>', 'where it goes; ARQONBUS_PREFLIGHT_BREAK_GLASS names it at the start')
    .option('--hours <hours>', 'how long it can be used, from 1 to 4', '1')
    .option('--policy <file>', 'default: ARQONBUS_PREFLIGHT_POLICY')
    .action((options: BreakGlassOptions) => breakGlass(options, terminal))
}

async function breakGlass(options: BreakGlassOptions, terminal: Terminal): Promise<void> {
  const { signBreakGlass, judgeBreakGlass } = await import('../../certificate/break-glass.ts')
  const { readPreflightPolicy } = await import('../../waivers/read-files.ts')
  const { fromDisk } = await import('../../waivers/read-bytes.ts')
  const { program, reason, by, hours, key, out } = options
  if (!/^[1-4]$/.test(hours)) throw new ExitError(exitCodes.usage, '--hours has to be from 1 to 4')
  const policy = readPreflightPolicy(options.policy ?? resolveKeys(terminal.env).values.preflightPolicy, fromDisk)
  const now = systemClock.now()
  const signed = signBreakGlass(
    {
      program,
      reason,
      by,
      site: policy.site ?? null,
      at: toIsoTime(now),
      until: toIsoTime(now + Number(hours) * 3_600_000),
      nonce: randomHex(16),
    },
    signingKeyOf(key),
  )
  const judged = judgeBreakGlass(Buffer.from(JSON.stringify(signed)), { program, policy, now })
  if ('refused' in judged) throw new ExitError(exitCodes.denied, `no server would take it: ${judged.refused}`)
  write(out, signed)
  terminal.out(`${toPrintable(out)}: one start of ${program} without a certificate, until ${signed.until}, by ${by}`)
}

function write(path: string, value: object): void {
  try {
    writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o644 })
  } catch (error) {
    throw new ExitError(exitCodes.usage, `${toPrintable(path)} cannot be written (${callCodeOf(error)})`)
  }
}
