// May this failure be excused? Pure: the same failure, waivers, policy and instant give the same answer, in the preflight
// and at the gate of a server that starts.
import { digestOf } from '../base/canonical-json.ts'
import type { JsonObject } from '../base/json.ts'
import type { Profile } from '../config/shapes.ts'
import { personOf } from './person.ts'
import type { PreflightPolicy } from './preflight-policy.ts'
import { isApproved } from './sign.ts'
import { instantOf, type Waiver } from './waiver.ts'

/** A failure, as far as an exception is bound to it. */
export interface Subject {
  readonly id: string
  readonly severity: 'blocker' | 'critical' | 'high' | 'advisory'
  readonly class: string
  readonly status: 'fail' | 'error'
  /** An error has one: its code, and no variable. */
  readonly findings: readonly { readonly code: string; readonly variable: string }[]
  readonly facts?: JsonObject
}

export type RefusalReason =
  | 'BLOCKER'
  | 'NOT_WAIVABLE'
  | 'WRONG_PROFILE'
  | 'WRONG_SITE'
  | 'NOT_YET'
  | 'EXPIRED'
  | 'TOO_LONG'
  | 'TOO_MANY_RENEWALS'
  | 'SELF_APPROVED'
  | 'UNKNOWN_APPROVER'
  | 'BAD_SIGNATURE'
  | 'NOT_ENOUGH_APPROVALS'
  | 'WRONG_BIND'
  | 'COMPENSATING_FAILED'

export interface Refusal {
  /** Id of the waiver. */
  readonly waiver: string
  readonly reason: RefusalReason
  /** `expired 2 d ago`. */
  readonly words: string
}

export type WaiverJudgement =
  | { readonly status: 'waived'; readonly waiver: Waiver }
  /** Empty: nobody asked for an exception. */
  | { readonly status: 'refused'; readonly refusals: readonly Refusal[] }

/** What exceptions are granted on. */
export interface Grounds {
  readonly waivers: readonly Waiver[]
  readonly policy: PreflightPolicy
  readonly profile: Profile
  /** ms since the Unix epoch. */
  readonly now: number
}

/** Why a compensating check does not make up for the failure, in words; undefined when it passed. */
export type CompensatingFault = (id: string) => string | undefined

/** Critical checks for which the runbook itself says "approved exception": L24 and L34. */
export const runbookExceptions: readonly string[] = ['bus.dual-stack-required', 'shield.schema-strict']

export const dayMs = 86_400_000
const rulesOf = {
  critical: { approvers: 2, maxDays: 14 },
  high: { approvers: 1, maxDays: 30 },
} as const
const maxRenewals = 1

/** The most days that a waiver of that severity may hold; 0: it cannot be waived. */
export const lifeOf = (severity: Subject['severity']): number =>
  severity === 'critical' || severity === 'high' ? rulesOf[severity].maxDays : 0

/** Approvers that a waiver of that severity needs. */
export const approversOf = (severity: Subject['severity']): number =>
  severity === 'critical' || severity === 'high' ? rulesOf[severity].approvers : 0

/** What the waiver of a failure is bound to. Order of findings does not count; codes, variables and facts do. */
export function bindOf({ id, status, class: fault, findings, facts }: Subject): string {
  const pairs = findings.map(({ code, variable }) => `${code} ${variable}`).sort()
  return digestOf({ id, status, class: fault, findings: pairs, facts: facts ?? {} })
}

/**
 * The first waiver that excuses the failure, newest renewals first, or why none does. Without `compensating` that last
 * question stays open: the caller asks again when it knows.
 */
export function applyWaiver(
  subject: Subject,
  { waivers, policy, profile, now }: Grounds,
  compensating: CompensatingFault = () => undefined,
): WaiverJudgement {
  const own = waivers
    .filter(({ check }) => check === subject.id)
    .sort((a, b) => b.renewal.number - a.renewal.number || (a.id < b.id ? -1 : 1))
  const renewed = new Set(own.map(({ renewal }) => renewal.of))
  const refusals: Refusal[] = []
  for (const waiver of own) {
    const fault =
      paperFault(waiver, subject.severity, policy, now) ??
      scopeFault(waiver, policy, profile) ??
      bindFault(waiver, subject) ??
      compensatingFault(waiver, compensating)
    if (fault === undefined) return { status: 'waived', waiver }
    // What was renewed is kept for the record; that it ended is no news.
    if (!renewed.has(waiver.id)) refusals.push({ waiver: waiver.id, ...fault })
  }
  return { status: 'refused', refusals }
}

type Fault = Omit<Refusal, 'waiver'>
const fault = (reason: RefusalReason, words: string): Fault => ({ reason, words })

/** What is wrong with the waiver as such, whatever failed and wherever. */
export function paperFault(
  waiver: Waiver,
  severity: Subject['severity'],
  policy: PreflightPolicy,
  now: number,
): Fault | undefined {
  if (severity === 'blocker') return fault('BLOCKER', `${waiver.check} is a blocker; those are never excused`)
  if (severity === 'advisory') return fault('NOT_WAIVABLE', `${waiver.check} is advisory; it stops nothing`)
  const isListed = runbookExceptions.includes(waiver.check) || policy.waivable.includes(waiver.check)
  if (severity === 'critical' && !isListed) {
    return fault(
      'NOT_WAIVABLE',
      `${waiver.check} is critical, and neither the runbook nor the policy allows an exception`,
    )
  }
  const { approvers, maxDays } = rulesOf[severity]
  return timeFault(waiver, maxDays, severity, now) ?? approvalsFault(waiver, approvers, severity, policy, now)
}

function timeFault(waiver: Waiver, maxDays: number, severity: string, now: number): Fault | undefined {
  const { renewal } = waiver
  const requested = instantOf(waiver.requested)
  const expires = instantOf(waiver.expires)
  if (now < requested) return fault('NOT_YET', `requested at ${waiver.requested}, which is still to come`)
  if (now >= expires) return fault('EXPIRED', `expired ${agoOf(now - expires)} ago`)
  if (!(expires - requested <= maxDays * dayMs)) {
    return fault('TOO_LONG', `holds longer than ${maxDays} days, the most for ${severity}`)
  }
  return renewal.number > maxRenewals
    ? fault('TOO_MANY_RENEWALS', `renewed ${renewal.number} times; ${maxRenewals} is the most`)
    : undefined
}

/** Every approval has to stand, not only as many as are needed: one that is wrong is a sign that something was changed. */
function approvalsFault(
  waiver: Waiver,
  needed: number,
  severity: string,
  { approvers }: PreflightPolicy,
  now: number,
): Fault | undefined {
  const persons = new Set<string>()
  for (const approval of waiver.approvals) {
    const { by, at } = approval
    const key = Object.hasOwn(approvers, by) ? approvers[by] : undefined
    if (personOf(by) === personOf(waiver.owner)) return fault('SELF_APPROVED', `${by} is its owner`)
    if (key === undefined) return fault('UNKNOWN_APPROVER', `the policy knows no approver ${by}`)
    if (approval.key !== key) return fault('BAD_SIGNATURE', `the key of ${by} is not the one of the policy`)
    if (!isApproved(waiver, approval, key)) {
      return fault('BAD_SIGNATURE', `the signature of ${by} does not stand: something was changed after it`)
    }
    if (instantOf(at) > now) return fault('NOT_YET', `the approval of ${by} is dated ${at}, which is still to come`)
    if (instantOf(at) >= instantOf(waiver.requested)) persons.add(personOf(by))
  }
  const words = `${persons.size} of ${needed} that ${severity} needs, given after it was requested`
  return persons.size < needed ? fault('NOT_ENOUGH_APPROVALS', words) : undefined
}

function scopeFault({ scope }: Waiver, { site }: PreflightPolicy, profile: Profile): Fault | undefined {
  if (scope.profile !== profile) return fault('WRONG_PROFILE', `for profile ${scope.profile}, this is ${profile}`)
  return scope.site === site
    ? undefined
    : fault('WRONG_SITE', `for ${scope.site ?? 'no site'}, this is ${site ?? 'no site (the policy names none)'}`)
}

function bindFault(waiver: Waiver, subject: Subject): Fault | undefined {
  return waiver.bind === bindOf(subject)
    ? undefined
    : fault('WRONG_BIND', 'approved for another failure than this one; it lapsed when the failure changed')
}

function compensatingFault({ compensating }: Waiver, faultOf: CompensatingFault): Fault | undefined {
  for (const id of compensating) {
    const why = faultOf(id)
    if (why !== undefined) return fault('COMPENSATING_FAILED', `${id}, which has to make up for it, ${why}`)
  }
  return undefined
}

/** `2 d`, `5 h`, `1 min`: whole units, down. */
function agoOf(ms: number): string {
  if (ms >= dayMs) return `${Math.floor(ms / dayMs)} d`
  if (ms >= 3_600_000) return `${Math.floor(ms / 3_600_000)} h`
  return `${Math.max(1, Math.floor(ms / 60_000))} min`
}

/** Whole days that are left, down; negative when it has expired. */
export const daysLeftOf = ({ expires }: Waiver, now: number): number => Math.floor((instantOf(expires) - now) / dayMs)
