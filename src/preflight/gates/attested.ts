// How a gate is judged whose facts came from an attestation: the same for all.
import type { JsonObject } from '../../base/json.ts'
import { type CheckResult, failed, judgeAll } from '../check.ts'
import { textIn } from '../json-fields.ts'
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
  const found = `attested by ${textIn(attestation, 'by')} at ${textIn(attestation, 'at')}`
  return judgeAll(attestationFaults(attestation, now), found, { by: 'attestation' })
}
