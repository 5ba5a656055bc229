// The report as one JSON document.
import type { Report } from './report.ts'

/** Exactly one document, with a newline at its end. */
export function formatJson(report: Report): string {
  return `${JSON.stringify(report, undefined, 2)}\n`
}
