// `arqonbus preflight verify`: would a server start under this certificate, here and now? Every mismatch is explained.
import { Command } from 'commander'
import { systemClock } from '../../base/clock.ts'
import type { Certificate } from '../../certificate/certificate.ts'
import type { Mismatch, StartFacts } from '../../certificate/judge-start.ts'
import { resolveKeys } from '../../config/resolve.ts'
import { type Terminal, toPrintableJson } from '../terminal.ts'

interface Options {
  readonly certificate?: string
  readonly publicKey?: string
  readonly envFrom?: string
  readonly json?: boolean
}

/** Preflight 3.4: missing, expired, or for another build or environment. */
const mismatched = 40

export function verifyCommand(terminal: Terminal): Command {
  return new Command('verify')
    .description('Tell whether a server of this build would start under a certificate, and if not, every reason')
    .option('--certificate <file>', 'default: ARQONBUS_PREFLIGHT_CERTIFICATE')
    .option('--public-key <key>', 'ed25519:… that has to have signed it; default: ARQONBUS_PREFLIGHT_PUBLIC_KEY')
    .option('--env-from <source>', 'where the service starts, as for `preflight run`; default: this shell')
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nExit codes: 0 it would start; 40 it would not')
    .action((options: Options) => verify(options, terminal))
}

async function verify({ certificate, publicKey, envFrom, json }: Options, terminal: Terminal): Promise<void> {
  const { startInputs } = await import('../../preflight/env-from/start-environment.ts')
  const { judgeSharedStart, sharedActivations } = await import('../../app/shared-activations.ts')
  const { ownFactsOf, startFactsOf, findCertificate } = await import('../../certificate/start.ts')
  const resolution = resolveKeys(startInputs(envFrom, { env: terminal.env }).env)
  const found = await startFactsOf(resolution, ownFactsOf(resolution), { now: systemClock.now() })
  const facts: StartFacts = {
    ...found,
    ...(certificate !== undefined && { found: findCertificate(certificate) }),
    publicKey: publicKey ?? found.publicKey,
  }
  const { mismatches, isActivated } = await judgeSharedStart(facts, sharedActivations(resolution))
  if (json === true) terminal.out(toPrintableJson({ matches: mismatches.length === 0, mismatches }))
  else if (mismatches.length === 0 && 'certificate' in facts.found)
    showMatch(facts.found.certificate, isActivated, terminal)
  else showMismatches(mismatches, terminal)
  terminal.exitWith(mismatches.length === 0 ? 0 : mismatched)
}

function showMatch(certificate: Certificate, isActivated: boolean, terminal: Terminal): void {
  const { profile, commit, activateBy, waivers, environment } = certificate
  terminal.out(`matches: GO of ${profile} for commit ${commit.slice(0, 12)}, ${environment.variables.length} variables`)
  terminal.out(isActivated ? 'activated: restarts need no other' : `not activated yet: start by ${activateBy}`)
  for (const { id, check, expires } of waivers) terminal.out(`rests on ${id} for ${check}, until ${expires}`)
}

function showMismatches(mismatches: readonly Mismatch[], terminal: Terminal): void {
  for (const { code, found, fix } of mismatches) {
    terminal.out(`${code}: ${found}`)
    terminal.out(`    fix   ${fix}`)
  }
}
