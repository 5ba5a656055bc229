// Which bytes may be which policy: pinned by configuration, judged before a module is compiled, at the start and whenever
// a file changes.
import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import { BusError } from '../base/errors.ts'

export interface PolicyPins {
  /** Throws START_REFUSED / POLICY_HASH or POLICY_NOT_PINNED. Without any pin everything may be loaded. */
  check(name: string, bytes: Uint8Array): void
  /** Names that are pinned and are none of these. */
  unknown(names: readonly string[]): readonly string[]
}

/** The name under which pins, metrics, logs and health speak of the policy in a file. */
export const policyName = (path: string): string => basename(path, '.wasm').replaceAll(/[^\w.-]/g, '_')

/** Lower-case hex. */
export const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** `<name>:<SHA-256>` each, as configuration gives them. A name with several may be any of them. */
export function readPins(texts: readonly string[]): PolicyPins {
  const pinned = new Map<string, string[]>()
  for (const text of texts) {
    const colon = text.lastIndexOf(':')
    const name = text.slice(0, colon)
    pinned.set(name, [...(pinned.get(name) ?? []), text.slice(colon + 1)])
  }
  return {
    check(policy, bytes) {
      if (pinned.size === 0) return
      const allowed = pinned.get(policy)
      if (allowed === undefined) {
        throw refused(policy, 'POLICY_NOT_PINNED', 'other policies are pinned, and it is not')
      }
      const found = sha256Of(bytes)
      if (allowed.includes(found)) return
      throw refused(policy, 'POLICY_HASH', `its SHA-256 is ${found}, pinned is ${allowed.join(' or ')}`)
    },
    unknown: (names) => [...pinned.keys()].filter((name) => !names.includes(name)),
  }
}

const refused = (policy: string, reason: string, text: string): BusError =>
  new BusError('START_REFUSED', `Policy ${policy} is refused: ${text}`, { reason, policy })
