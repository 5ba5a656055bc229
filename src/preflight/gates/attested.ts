// How a gate is judged whose facts came from an attestation: the same for all.
import type { JsonObject } from '../../base/json.ts'
import { type CheckResult, failed, judgeAll } from '../check.ts'
import { attestationFaults } from './attestation.ts'

/** The result, or undefined for a gate that was run. */
export function judgeAttested(
  { by, attestation }: { readonly by: string; readonly attestation?: JsonObject },
  now: number,
): CheckResult | undefined {
  if (by !== 'attestation') return undefined
  if (attestation === undefined) {
    return failed('ATTESTATION_UNREADABLE', '--attestation', 'none', 'name the file of `arqonbus preflight attest`')
  }
  const found = `attested by ${String(attestation['by'])} at ${String(attestation['at'])}`
  return judgeAll(attestationFaults(attestation, now), found, { by: 'attestation' })
}
