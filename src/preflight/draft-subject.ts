// The failure of a recorded report, for which somebody asks an exception.
import { digestOf } from '../base/canonical-json.ts'
import { BusError } from '../base/errors.ts'
import { isJsonObject } from '../base/json.ts'
import type { Profile } from '../config/shapes.ts'
import type { Subject } from '../waivers/judge-waivers.ts'
import { subjectOf } from './exceptions.ts'
import { type Report, reportSchema } from './report.ts'

export interface RecordedFailure {
  readonly profile: Profile
  readonly subject: Subject
}

/** Throws USAGE where the text is no whole report, or the check did not fail in it. */
export function failureOf(text: string, check: string): RecordedFailure {
  const { canonical } = parseReport(text)
  const result = canonical.results.find(({ id }) => id === check)
  if (result === undefined) throw refused(`the report has no check ${check}`)
  const subject = subjectOf(result)
  if (subject === undefined) {
    const why = result.status === 'skip' ? 'did not run' : 'passed'
    throw refused(`${check} ${why} in the report; an exception is bound to a failure`)
  }
  return { profile: canonical.profile, subject }
}

/** Its digest tells a report that somebody has changed. Throws USAGE (REPORT_UNUSABLE). */
export function parseReport(text: string): Report {
  let report: unknown
  try {
    report = JSON.parse(text)
  } catch {
    throw refused('the report is no JSON (write it with `preflight run --json`)')
  }
  if (!isJsonObject(report) || report['schema'] !== reportSchema || !isJsonObject(report['canonical'])) {
    throw refused(`that is no report of schema ${reportSchema}`)
  }
  if (digestOf(report['canonical']) !== report['digest']) throw refused('the report was changed: its digest is another')
  return report as unknown as Report
}

const refused = (why: string): BusError => new BusError('USAGE', why, { reason: 'REPORT_UNUSABLE' })
