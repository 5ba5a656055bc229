// The two files of exceptions, as the environment names them: read once, capped, before anything is judged.
import { closeSync, openSync, readSync } from 'node:fs'
import { BusError } from '../base/errors.ts'
import { defaultPreflightPolicy, type PreflightPolicy } from './preflight-policy.ts'
import { parsePreflightPolicy } from './policy-file.ts'
import { maxFileBytes } from './strict-yaml.ts'
import { noWaivers, type WaiverFile } from './waiver.ts'
import { parseWaivers } from './waiver-file.ts'

/** At most `maxBytes` and one more; undefined where the file cannot be read. */
export type ReadBytes = (path: string, maxBytes: number) => Uint8Array | undefined

function bytesOf(path: string, read: ReadBytes, reason: string): Uint8Array {
  const bytes = read(path, maxFileBytes)
  if (bytes === undefined) throw new BusError('CONFIG_INVALID', `${path} cannot be read`, { reason })
  return bytes
}

/** No file is no waiver. Throws CONFIG_INVALID (WAIVER_INVALID). */
export function readWaivers(path: string | undefined, read: ReadBytes): WaiverFile {
  return path === undefined ? noWaivers : parseWaivers(bytesOf(path, read, 'WAIVER_INVALID'), path)
}

/** No file is the default, in which nobody may approve. Throws CONFIG_INVALID (PREFLIGHT_POLICY_INVALID). */
export function readPreflightPolicy(path: string | undefined, read: ReadBytes): PreflightPolicy {
  return path === undefined
    ? defaultPreflightPolicy
    : parsePreflightPolicy(bytesOf(path, read, 'PREFLIGHT_POLICY_INVALID'), path)
}

/** Reads from the disk. Never throws. */
export const fromDisk: ReadBytes = (path, maxBytes) => {
  let file: number | undefined
  try {
    file = openSync(path, 'r')
    const bytes = Buffer.alloc(maxBytes + 1)
    return bytes.subarray(0, readSync(file, bytes))
  } catch {
    return undefined
  } finally {
    if (file !== undefined) closeSync(file)
  }
}
