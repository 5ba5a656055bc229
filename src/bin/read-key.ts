// Reads what a command signs with.
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { ExitError, exitCodes } from './exit-codes.ts'
import { toPrintable } from './terminal.ts'

/** The text of a file that an option names. */
export function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new ExitError(exitCodes.usage, `${toPrintable(path)} cannot be read (${callCodeOf(error)})`)
  }
}

/** What a system call failed with: `ENOENT`. */
export const callCodeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'unknown error'

/** A private Ed25519 key, in PEM. */
export function signingKeyOf(path: string): KeyObject {
  const help = 'Make one as `arqonbus preflight waivers keygen` shows.'
  const text = textOf(path)
  let key: KeyObject
  try {
    key = createPrivateKey(text)
  } catch {
    throw new ExitError(exitCodes.usage, `${toPrintable(path)} holds no private key that can be read`, help)
  }
  if (key.asymmetricKeyType === 'ed25519') return key
  throw new ExitError(exitCodes.usage, `${toPrintable(path)} is no Ed25519 key`, help)
}
