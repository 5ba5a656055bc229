// Whether an attestation stands in for a run, and how a gate is judged whose facts came from one.
import type { JsonObject } from '../../base/json.ts'
import type { Finding } from '../../rules/rule.ts'
import { type CheckResult, failed, judgeAll } from '../check.ts'
import { listIn, textIn } from '../json-fields.ts'
import { word } from '../runtime/host.ts'

const maxAgeMs = 24 * 60 * 60 * 1000
/** Clocks of two machines may differ by so much. */
const skewMs = 60_000

/** What is wrong with it, in words that depend on names only; empty for one that stands in for a run. Pure. */
export function attestationFaults(facts: JsonObject, now: number): Finding[] {
  const again = 'run the gates again for this commit and attest them: arqonbus preflight attest'
  const findings: Finding[] = []
  const add = (code: string, found: string, fix = again): void => {
    findings.push({ code: `ATTESTATION_${code}`, variable: '--attestation', found, fix })
  }
  if (facts['isReadable'] !== true) {
    add('UNREADABLE', 'no attestation', 'name the file that `arqonbus preflight attest` wrote')
    return findings
  }
  if (facts['isSigned'] !== true) {
    add(
      'UNSIGNED',
      `not signed by ${textIn(facts, 'by') || 'anybody'} as the policy knows them`,
      'have it signed by one of the `attesters` of the policy',
    )
  }
  if (facts['isReportThere'] !== true) {
    add('REPORT', 'the report is missing, or is another', 'put the report that was attested into the same folder')
  }
  const notGreen = listIn(facts, 'notGreen')
  if (facts['isReportThere'] === true && notGreen.length > 0) add('NOT_GREEN', notGreen.map(word).join(', '))
  const differs = listIn(facts, 'differs')
  if (differs.length > 0) add('OTHER', `of another ${differs.map(word).join(', ')}`)
  const atMs = Date.parse(textIn(facts, 'at'))
  if (!(atMs <= now + skewMs)) add('FUTURE', textIn(facts, 'at') || 'no time')
  else if (now - atMs > maxAgeMs) add('EXPIRED', `${textIn(facts, 'at')}, more than a day ago`)
  return findings
}

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
