// The bytes of a plug-in, and whether they are the ones that the policy lists.
import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { describeFault } from '../build-report.ts'
import { invalid } from './form.ts'

/** A program with all it needs in one file can be large. */
const maxBytes = 256 * 1024 * 1024

export const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** Throws CONFIG_INVALID (PLUGIN_INVALID): no such file, no file, too large. */
export function readContent(path: string): Buffer {
  try {
    const stat = statSync(path)
    if (!stat.isFile()) throw new Error('not a file')
    if (stat.size > maxBytes) throw new Error(`larger than ${maxBytes} bytes`)
    return readFileSync(path)
  } catch (error) {
    throw invalid(path, [describeFault(error)])
  }
}

/** As `readContent`, and for another digest than the one that is listed. */
export function contentOf(path: string, sha256: string): Buffer {
  const bytes = readContent(path)
  const actual = sha256Of(bytes)
  if (actual !== sha256) throw invalid(path, [`its digest is ${actual}, and the policy lists ${sha256}`])
  return bytes
}
