// The two files of exceptions, as the environment names them: read once, capped, before anything is judged.
import { BusError } from '../base/errors.ts'
import { defaultPreflightPolicy, type PreflightPolicy } from './preflight-policy.ts'
import { parsePreflightPolicy } from './policy-file.ts'
import type { ReadBytes } from './read-bytes.ts'
import { maxFileBytes } from './strict-yaml.ts'
import { noWaivers, type WaiverFile } from './waiver.ts'
import { parseWaivers } from './waiver-file.ts'

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
