// Judges of the suites, of what they may touch, and of what they have lost.
import type { JsonObject } from '../../base/json.ts'
import type { Finding } from '../../rules/rule.ts'
import { type CheckResult, failed, type JudgePorts, judgeAll } from '../check.ts'
import { numberIn, textIn } from '../json-fields.ts'
import { listed } from '../runtime/host.ts'
import { attestationFaults, judgeAttested } from './attestation-judges.ts'
import { isHollow } from './hollow-judges.ts'
import type { HollowFacts } from './hollow-probes.ts'
import type { IsolationFacts } from './isolation-probes.ts'
import { suiteFileName } from './suite-file.ts'
import type { SuiteFacts } from './suite-probes.ts'

const disposableFix = 'give the suites servers of their own in ARQONBUS_TEST_*_URL, or none: they start some then'

export function judgeIsolation(seen: IsolationFacts, { now }: Pick<JudgePorts, 'now'>): CheckResult {
  const { by, attestation, subject, production, disposable, leaks, named } = seen
  if (by === 'attestation') {
    const facts = attestation ?? {}
    const found = `attested by ${textIn(facts, 'by')} at ${textIn(facts, 'at')}, ${textIn(facts, 'digest')}`
    return judgeAll(attestationFaults(facts, now), found, { by, subject })
  }
  const findings: Finding[] = []
  const add = (code: string, variable: string, found: string, fix: string): void => {
    findings.push({ code, variable, found, fix })
  }
  if (leaks.length > 0) {
    add('PRODUCTION_IN_ENVIRONMENT', leaks.join(' '), 'names a server of the judged environment', disposableFix)
  }
  if (named.length > 0) {
    const fix = 'take the address out of the suites, their settings and .env files'
    add('PRODUCTION_IN_SOURCES', 'sources', listed(named), fix)
  }
  for (const one of disposable) {
    const same = production.find(({ identity }) => identity !== undefined && identity === one['identity'])
    const name = `ARQONBUS_TEST_${textIn(one, 'service').toUpperCase()}_URL`
    if (same !== undefined) add('SAME_SERVER', name, `is the server of ${textIn(same, 'server')}`, disposableFix)
    if (one['identity'] === undefined) add('DISPOSABLE_UNREADABLE', name, unreadText(one), disposableFix)
  }
  const unread = production.filter(({ identity }) => identity === undefined)
  if (findings.length === 0 && unread.length > 0) {
    // Whether a suite would reach it cannot be known.
    const observed = unread.map((one) => `${textIn(one, 'server')}: ${unreadText(one)}`).join('; ')
    return { status: 'error', code: 'PRODUCTION_UNREADABLE', observed, class: 'dependency' }
  }
  const words = `${production.length} servers of the judged environment, ${disposable.length} offered to suites`
  return judgeAll(findings, words, { by, subject })
}

const unreadText = (one: JsonObject): string => `${textIn(one, 'code')} ${textIn(one, 'observed')}`.trim()

export function judgeSuite(facts: SuiteFacts, { now }: Pick<JudgePorts, 'now'>): CheckResult {
  const attested = judgeAttested(facts, now)
  if (attested !== undefined) return attested
  const { by, suite, missing, only, exit, trouble, hasReport, tests, failed: failures, skipped, after } = facts
  if (by === 'absent') {
    const fix = `run the gates in a checkout whose ${suiteFileName} has this suite, or bring their result: --attestation`
    return failed('SUITE_ABSENT', suiteFileName, `nothing of ${suite} is here`, fix)
  }
  const findings: Finding[] = []
  const add = (code: string, variable: string, found: string, fix: string): void => {
    findings.push({ code, variable, found, fix })
  }
  if (missing.length > 0) {
    add('FILE_MISSING', suiteFileName, listed(missing), 'bring the files back, or change the list in a review')
    return judgeAll(findings)
  }
  if (only.length > 0) add('ONLY', suite, listed(only), 'take the .only away: it hides the tests beside it')
  const look = 'read its output in the incident bundle: commands/'
  if (!hasReport) add('NO_REPORT', suite, trouble ?? `exit ${exit}`, `no report was written: ${look}`)
  else if (failures > 0) {
    add('TESTS_FAILED', suite, `${failures} failed; first ${facts.firstFailure ?? 'unknown'}`, look)
  } else if (tests === 0) add('NO_TESTS', suite, 'no test ran', 'the suite proves nothing: look at its patterns')
  if (skipped.length > 0) {
    const fix = `let them run, or list each with its reason (\`skips\` in ${suiteFileName})`
    add('SKIPPED', suite, listed(skipped), fix)
  }
  if (hasReport && failures === 0 && exit !== 0) {
    add('RUNNER_FAILED', suite, trouble ?? `exit ${exit}`, `an error outside the tests: ${look}`)
  }
  if (after === 'changed') {
    const fix = 'find out whether the suite did it, before anything else: its output is in the incident bundle'
    add('PRODUCTION_CHANGED', suite, 'a judged server was restarted or replaced meanwhile', fix)
  } else if (after !== 'same') {
    const fix = 'bring the judged servers back, find out whether the suite ended them, and run again'
    add('PRODUCTION_LOST', suite, 'a judged server can no longer be read', fix)
  }
  return judgeAll(findings, `${tests} tests`, { by })
}

export function judgeHollow(facts: HollowFacts, { now }: Pick<JudgePorts, 'now'>): CheckResult {
  const attested = judgeAttested(facts, now)
  if (attested !== undefined) return attested
  const fix =
    'bring the tests back; when they went on purpose, take the suite out of preflight-gates.json in ARQONBUS_DATA_DIR'
  const findings = facts.suites.filter(isHollow).map((one): Finding => {
    const found = `${numberIn(one, 'tests')} tests, ${numberIn(one, 'base')} before`
    return { code: 'HOLLOW', variable: textIn(one, 'suite'), found, fix }
  })
  const words = facts.suites.map((one) => `${textIn(one, 'suite')} ${numberIn(one, 'tests')}`).join(', ')
  return judgeAll(findings, words, { by: facts.by })
}
