// `arqonbus preflight attest`: signs the report of a green run of the gates, so that it can be taken in place of another
// run of the same commit for a day.
import { readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { Command } from 'commander'
import { systemClock, toIsoTime } from '../../base/clock.ts'
import { ExitError, exitCodes } from '../exit-codes.ts'
import { type Terminal, toPrintable } from '../terminal.ts'
import { signingKeyOf } from '../read-key.ts'

interface Options {
  readonly from: string
  readonly by: string
  readonly key: string
}

export function attestCommand(terminal: Terminal): Command {
  return new Command('attest')
    .description('Sign a green run of the gates, to be taken in place of another run for a day (--attestation)')
    .requiredOption('--from <report>', 'file with the output of `preflight run --gates --json`')
    .requiredOption('--key <file>', 'private key of an attester: Ed25519, PEM (PKCS #8)')
    .requiredOption('--by <name>', 'the name of that attester in the policy')
    .action((options: Options) => attestRun(options, terminal))
}

async function attestRun({ from, by, key: keyPath }: Options, terminal: Terminal): Promise<void> {
  const { attest } = await import('../../preflight/gates/attestation.ts')
  const key = signingKeyOf(keyPath)
  let bytes: Uint8Array
  try {
    bytes = readFileSync(from)
  } catch {
    throw new ExitError(exitCodes.usage, `${toPrintable(from)} cannot be read`)
  }
  const path = join(dirname(from), `${basename(from).replace(/\.json$/, '')}.attestation.json`)
  let text: string
  try {
    const at = toIsoTime(systemClock.now())
    text = `${JSON.stringify(attest({ bytes, file: basename(from) }, { by, at, key }), null, 2)}\n`
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw new ExitError(exitCodes.input, `${toPrintable(from)} cannot be attested: ${toPrintable(error.message)}`)
  }
  writeFileSync(path, text)
  terminal.out(path)
}
