// Reads the JSON report of a test run: how many passed, failed and were skipped, and whether that counts as success.
import { readFileSync } from 'node:fs'

export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** Files that broke outside a test (did not load, a hook threw); each is in `failed` as one. */
  readonly brokenFiles: readonly string[]
}

interface Report {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly numTodoTests: number
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly assertionResults: readonly { readonly status: string }[]
  }[]
}

/** Throws when the file is missing or is no report. */
export function readCounts(path: string): Counts {
  // The reporter's own format; what is used of it is checked below.
  const report = JSON.parse(readFileSync(path, 'utf8')) as Report
  const numbers = [report.numPassedTests, report.numFailedTests, report.numPendingTests, report.numTodoTests]
  if (!numbers.every(Number.isInteger) || typeof report.testResults !== 'object') {
    throw new Error(`${path} is no test report`)
  }
  const brokenFiles = report.testResults
    .filter((file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'))
    .map((file) => file.name)
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + brokenFiles.length,
    skipped: report.numPendingTests + report.numTodoTests,
    brokenFiles,
  }
}

/** The line people and CI read: `12 passed, 0 failed`, with `, 1 skipped` when there are any. */
export function countsLine(counts: Counts): string {
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
  return `${counts.passed} passed, ${counts.failed} failed${skipped}`
}

/** Why the run is a failure, or undefined. `exitCode` is the runner's: it alone knows of errors outside all tests. */
export function failureOf(counts: Counts, exitCode: number): string | undefined {
  if (counts.brokenFiles.length > 0) return `broken outside a test: ${counts.brokenFiles.join(', ')}`
  if (counts.failed > 0) return `${counts.failed} failed`
  if (counts.passed === 0) return 'no test passed: nothing was proved'
  if (exitCode !== 0) return `the test runner exited with ${exitCode}: an error outside the tests, see above`
  return undefined
}
