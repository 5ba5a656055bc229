// Approved exceptions in a run. A failure is excused as its check ends, so that what waits on it can run; whether the
// checks that have to make up for it passed is only known at the end, and then every exception is judged again. One that
// falls leaves the results of what ran after it: the failure counts, and they stay true.
import { BusError } from '../base/errors.ts'
import {
  applyWaiver,
  type CompensatingFault,
  daysLeftOf,
  paperFault,
  type Refusal,
  type Subject,
} from '../waivers/judge-waivers.ts'
import type { PreflightPolicy } from '../waivers/preflight-policy.ts'
import type { Waiver, WaiverFile } from '../waivers/waiver.ts'
import type { Ended } from './build-report.ts'
import type { Check, CheckPorts } from './check.ts'
import type { Result, WaiverNote } from './report.ts'

export interface Exceptions {
  /** For now: compensating checks are left open. */
  readonly excuse: (ended: Ended) => Ended
  /** For good, with all results of the run. */
  settle(all: readonly Ended[]): readonly Ended[]
  notes(all: readonly Ended[]): readonly WaiverNote[]
}

export function createExceptions(
  { waivers }: WaiverFile,
  ports: Pick<CheckPorts, 'ctx' | 'policy' | 'now'>,
): Exceptions {
  const { policy, now } = ports
  const grounds = { waivers, policy, profile: ports.ctx.profile, now }
  /** As the checks ended, by id. */
  const failures = new Map<string, Ended>()

  const judge = (ended: Ended, subject: Subject, compensating?: CompensatingFault): Ended => {
    const judgement = applyWaiver(subject, grounds, compensating)
    return judgement.status === 'waived'
      ? toWaived(ended, judgement.waiver, now)
      : withRefusals(ended, judgement.refusals)
  }

  return {
    excuse(ended) {
      const subject = subjectOf(ended.result)
      if (subject === undefined) return ended
      failures.set(ended.result.id, ended)
      return judge(ended, subject)
    },
    settle(all) {
      const statuses = new Map(all.map(({ result }) => [result.id, result.status]))
      return all.map((ended) => {
        const failure = failures.get(ended.result.id)
        if (failure === undefined) return ended
        return judge(failure, subjectOf(failure.result)!, (id) => compensatingFault(statuses.get(id)))
      })
    },
    notes: (all) => notesOf(waivers, all, { policy, now }),
  }
}

function compensatingFault(status: Result['status'] | undefined): string | undefined {
  if (status === 'pass') return undefined
  if (status === 'waived') return 'is itself excused'
  return status === undefined || status === 'skip' ? 'did not run' : `ended with ${status}`
}

/** What a waiver of this result is bound to; undefined when there is nothing to excuse. */
export function subjectOf(result: Result): Subject | undefined {
  const { id, severity, class: fault } = result
  const head = { id, severity, class: fault }
  const factsOf = (facts: Subject['facts']): Pick<Subject, 'facts'> => (facts === undefined ? {} : { facts })
  const ofCode = (code: string): Subject => ({ ...head, status: 'error', findings: [{ code, variable: '' }] })
  switch (result.status) {
    case 'fail':
      return { ...head, status: 'fail', findings: result.findings, ...factsOf(result.facts) }
    case 'error':
      return ofCode(result.code)
    case 'waived':
      return result.underlying === 'error'
        ? ofCode(result.code ?? '')
        : { ...head, status: 'fail', findings: result.findings, ...factsOf(result.facts) }
    case 'pass':
    case 'skip':
      return undefined
  }
}

function toWaived({ result, observation }: Ended, waiver: Waiver, now: number): Ended {
  if (result.status !== 'fail' && result.status !== 'error') return { result, observation }
  const { id, runbook, phase, severity, class: fault, blocks } = result
  const { owner, approvals, renewal, expires } = waiver
  return {
    result: {
      id,
      runbook,
      phase,
      severity,
      class: fault,
      blocks,
      status: 'waived',
      underlying: result.status,
      waiver: waiver.id,
      expires,
      findings: result.status === 'fail' ? result.findings : [],
      ...(result.status === 'error' && { code: result.code }),
      ...(result.status === 'fail' && result.facts !== undefined && { facts: result.facts }),
    },
    observation: {
      ...observation,
      exception: {
        owner,
        approvedBy: approvals.map(({ by }) => by),
        days: daysLeftOf(waiver, now),
        renewals: renewal.number,
      },
    },
  }
}

const withRefusals = ({ result, observation }: Ended, refusals: readonly Refusal[]): Ended => ({
  result,
  observation: refusals.length === 0 ? observation : { ...observation, refusals },
})

/** Days before the end at which a waiver is announced, in every run. */
const warnDays = [1, 3, 7] as const

function notesOf(
  waivers: readonly Waiver[],
  all: readonly Ended[],
  { policy, now }: { readonly policy: PreflightPolicy; readonly now: number },
): WaiverNote[] {
  const results = new Map(all.map(({ result }) => [result.id, result]))
  const renewed = new Set(waivers.map(({ renewal }) => renewal.of))
  return waivers.flatMap((waiver): WaiverNote[] => {
    const result = results.get(waiver.check)
    const isInUse = result?.status === 'waived' && result.waiver === waiver.id
    if (result === undefined || (renewed.has(waiver.id) && !isInUse)) return []
    if (result.status === 'pass') {
      const text = `is not used: ${waiver.check} passes without it; take it out of the file`
      return [{ waiver: waiver.id, code: 'UNUSED', text }]
    }
    if (paperFault(waiver, result.severity, policy, now) !== undefined) return []
    const left = daysLeftOf(waiver, now)
    const within = warnDays.find((days) => left < days)
    if (within === undefined) return []
    const text = `expires within ${within === 1 ? '1 day' : `${within} days`}, at ${waiver.expires}: mend ${waiver.check} or renew it`
    return [{ waiver: waiver.id, code: 'EXPIRES_SOON', text }]
  })
}

/** An exception for a check that does not exist excuses nothing, and its author thinks it does. Throws CONFIG_INVALID. */
export function requireKnownChecks(
  { waivers }: WaiverFile,
  policy: Pick<PreflightPolicy, 'waivable'>,
  catalogue: readonly Pick<Check, 'id'>[],
): void {
  const known = new Set(catalogue.map(({ id }) => id))
  const unknown = (ids: readonly string[]): string[] => ids.filter((id) => !known.has(id))
  const lines = waivers.flatMap(({ id, check, compensating }) =>
    unknown([check, ...compensating]).map((name) => `  ${id}: no check is called ${name}`),
  )
  if (lines.length > 0) refuse('WAIVER_INVALID', `the waivers\n${lines.join('\n')}`)
  const listed = unknown(policy.waivable)
  if (listed.length > 0)
    refuse('PREFLIGHT_POLICY_INVALID', `the policy's waivable: no check is called ${listed.join(', ')}`)
}

function refuse(reason: string, message: string): never {
  throw new BusError('CONFIG_INVALID', message, { reason })
}
