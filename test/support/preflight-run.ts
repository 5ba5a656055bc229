// Runs some checks of the preflight as an operator would, and says what became of one in a word.
import type { Environment } from '../../src/config/resolution.ts'
import type { Report, Result } from '../../src/preflight/report.ts'
import { runPreflight } from '../../src/preflight/run.ts'
import { defaultPreflightPolicy, type PreflightPolicy } from '../../src/waivers/preflight-policy.ts'
import { proberFor } from './probe-here.ts'

export async function runChecks(
  env: Environment,
  only: readonly string[],
  policy: Partial<PreflightPolicy> = {},
): Promise<Report> {
  return await runPreflight({ env, only, policy: { ...defaultPreflightPolicy, ...policy } }, proberFor(env))
}

export function resultOf({ canonical }: Report, id: string): Result {
  const result = canonical.results.find((one) => one.id === id)
  if (result === undefined) throw new Error(`${id} has no result`)
  return result
}

/** `pass`, `fail CODE,CODE config`, `error CODE dependency`, `blocked-by id`, or why it was skipped. */
export function wordOf(report: Report, id: string): string {
  const result = resultOf(report, id)
  switch (result.status) {
    case 'fail':
      return `fail ${result.findings.map(({ code }) => code).join(',')} ${result.class}`
    case 'error':
      return `error ${result.code} ${result.class}`
    case 'skip':
      return result.reason.kind === 'blocked-by' ? `blocked-by ${result.reason.id}` : result.reason.kind
    case 'pass':
    case 'waived':
      return result.status
  }
}

/** Ids that did not pass although they ran, with their words. */
export function troubles(report: Report): Record<string, string> {
  const ran = report.canonical.results.filter(({ status }) => status === 'fail' || status === 'error')
  return Object.fromEntries(ran.map(({ id }) => [id, wordOf(report, id)]))
}

export const fixesOf = (report: Report, id: string): string[] => {
  const result = resultOf(report, id)
  return result.status === 'fail' ? result.findings.map(({ fix }) => fix) : []
}
