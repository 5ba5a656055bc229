// What a start without a fault has to look like. Pure.
import type { JsonObject } from '../../base/json.ts'
import { version } from '../../base/version.ts'
import type { Finding } from '../../rules/rule.ts'
import { type CheckResult, judgeAll } from '../check.ts'
import { listIn } from '../json-fields.ts'
import { listed, word } from '../runtime/host.ts'

const servers = ['bus', 'shield'] as const

export function judgeStarts({ programs }: { readonly programs: readonly JsonObject[] }): CheckResult {
  const findings = servers.flatMap((name) =>
    faultsOf(
      name,
      programs.find(({ program }) => program === name),
    ),
  )
  return judgeAll(findings, 'bus and shield started, answered and ended', { version })
}

function faultsOf(program: string, facts: JsonObject | undefined): Finding[] {
  const findings: Finding[] = []
  const add = (code: string, found: string, fix: string): void =>
    void findings.push({ code, variable: program, found: `${program} ${found}`, fix })
  if (facts === undefined || facts['isUp'] !== true) {
    const reasons = listIn(facts ?? {}, 'reasons')
    const because = reasons.length === 0 ? 'without a reason that is known' : `because of ${listed(reasons.map(word))}`
    add('DID_NOT_START', `did not start, ${because}`, 'read its standard error in the incident bundle')
    return findings
  }
  const { health, version: own, exit, signal, isLate } = facts
  if (health !== 200) add('NOT_HEALTHY', `answered /health with ${word(health)}`, 'see which component is down')
  if (own !== version) {
    add('OTHER_VERSION', `says that it is ${word(own)}`, 'start the preflight of the package that is deployed')
  }
  if (isLate === true || signal !== '' || exit !== 0) {
    const found =
      isLate === true ? 'did not end' : signal === '' ? `ended with ${word(exit)}` : `died of ${word(signal)}`
    add('BAD_END', `was asked to end and ${found}`, 'see what its drain waits for')
  }
  return findings
}
