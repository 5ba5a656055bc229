// `arqonbus preflight incident verify`: is a bundle as it was made, and who says so?
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import type { Standing } from '../../preflight/incident/verify-bundle.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { type Terminal, toPrintable, toPrintableJson } from '../terminal.ts'

interface Options {
  readonly publicKey?: string
  readonly json?: boolean
}

/** Preflight 3.4, as of a certificate: it proves nothing. */
const unproven = 40

const advice: Readonly<Record<Standing['code'], string>> = {
  VERIFIED: '',
  UNSIGNED: 'sign bundles: arqonbus preflight run --sign <file>',
  NO_KEY: 'name the key that has to have signed it: --public-key, or ARQONBUS_PREFLIGHT_PUBLIC_KEY',
  OTHER_KEY: 'ask whose key that is; this one does not vouch for the bundle',
  NOT_WHOLE: 'do not rely on it: take the copy that the run left',
}

export function incidentCommand(terminal: Terminal): Command {
  const verifyCommand = new Command('verify')
    .description('Tell whether an incident bundle is whole, and signed with the key that it should be')
    .argument('<bundle>', 'preflight-incident-….tar.gz')
    .option('--public-key <key>', 'ed25519:… that has to have signed it; default: ARQONBUS_PREFLIGHT_PUBLIC_KEY')
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nExit codes: 0 whole and signed with that key; 40 not; 65 no file that can be read')
    .action((path: string, options: Options) => verify(path, options, terminal))
  return new Command('incident')
    .description('Incident bundles: what a run leaves that failed')
    .addCommand(verifyCommand)
}

async function verify(path: string, options: Options, terminal: Terminal): Promise<void> {
  const { judgeArchive } = await import('../../preflight/incident/verify-bundle.ts')
  const { harmless } = await import('../../preflight/report.ts')
  const { isKeyText } = await import('../../waivers/sign.ts')
  const { publicKey = terminal.env['ARQONBUS_PREFLIGHT_PUBLIC_KEY'] } = options
  if (publicKey !== undefined && !isKeyText(publicKey)) {
    throw new ExitError(exitCodes.usage, 'the public key is not of the form ed25519: and base64 of 32 bytes')
  }
  const { code, found, manifest } = await judgeArchive(bytesOf(path), publicKey)
  const { verdict, label, commit, runId, digest } = manifest ?? {}
  if (options.json === true) terminal.out(toPrintableJson({ code, found, verdict, label, commit, runId, digest }))
  else {
    terminal.out(harmless(`${code}: ${found}`))
    if (advice[code] !== '') terminal.out(`    fix   ${advice[code]}`)
    if (manifest !== undefined) {
      const route = `${verdict}, label ${label ?? 'none'}, commit ${commit ?? 'unknown'}`
      terminal.out(harmless(`${route}, run ${runId}, ${digest}`))
    }
  }
  terminal.exitWith(code === 'VERIFIED' ? 0 : unproven)
}

function bytesOf(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch {
    throw new ExitError(exitCodes.input, `${toPrintable(path)} cannot be read`)
  }
}
