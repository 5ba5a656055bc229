// What can be said of waivers without running anything: would each hold if its check failed as approved?
import { approversOf, daysLeftOf, paperFault, type Refusal } from '../waivers/judge-waivers.ts'
import type { PreflightPolicy } from '../waivers/preflight-policy.ts'
import type { WaiverFile } from '../waivers/waiver.ts'
import type { Severity } from '../rules/rule.ts'
import { createCatalogue } from './catalogue.ts'
import type { Check } from './check.ts'
import { requireKnownChecks } from './exceptions.ts'

export interface WaiverRow {
  readonly id: string
  readonly check: string
  readonly severity: Severity
  readonly expires: string
  /** Whole days that are left, down; negative once it expired. */
  readonly days: number
  readonly owner: string
  readonly approvals: number
  readonly needed: number
  /** Why it does not hold; absent: it does, for the failure it is bound to. */
  readonly refusal?: Omit<Refusal, 'waiver'>
  /** Id of the waiver that renews it: this one is kept for the record. */
  readonly renewedBy?: string
}

/** In the order of the file. Throws CONFIG_INVALID where a check is named that there is not. */
export function lintWaivers(
  file: WaiverFile,
  policy: PreflightPolicy,
  now: number,
  catalogue: readonly Check[] = createCatalogue(),
): WaiverRow[] {
  requireKnownChecks(file, policy, catalogue)
  const severities = new Map(catalogue.map(({ id, severity }) => [id, severity]))
  return file.waivers.map((waiver): WaiverRow => {
    const severity = severities.get(waiver.check)!
    const refusal = paperFault(waiver, severity, policy, now)
    const renewedBy = file.waivers.find(({ renewal }) => renewal.of === waiver.id)?.id
    return {
      id: waiver.id,
      check: waiver.check,
      severity,
      expires: waiver.expires,
      days: daysLeftOf(waiver, now),
      owner: waiver.owner,
      approvals: waiver.approvals.length,
      needed: approversOf(severity),
      ...(refusal !== undefined && { refusal }),
      ...(renewedBy !== undefined && { renewedBy }),
    }
  })
}
