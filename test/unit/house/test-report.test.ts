// The counts that `npm test` ends with: wrong ones would make a broken run look like a good one.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { countsLine, failureOf, readCounts } from '../../../scripts/test-report.ts'

const folder = mkdtempSync(join(tmpdir(), 'arqonbus-report-'))
afterAll(() => rmSync(folder, { recursive: true }))

function reportOf(changes: object): string {
  const path = join(folder, 'report.json')
  const base = { numPassedTests: 3, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0, testResults: [] }
  writeFileSync(path, JSON.stringify({ ...base, ...changes }))
  return path
}

describe('the counts of a run', () => {
  it('reads as passed and failed, and names skipped tests only when there are any', () => {
    expect(countsLine(readCounts(reportOf({})))).toBe('3 passed, 0 failed')
    expect(countsLine(readCounts(reportOf({ numFailedTests: 2, numPendingTests: 1, numTodoTests: 1 })))).toBe(
      '3 passed, 2 failed, 2 skipped',
    )
  })

  it('counts a file that broke outside its tests as a failure', () => {
    const broken = { name: 'a.test.ts', status: 'failed', assertionResults: [{ status: 'passed' }] }
    const counts = readCounts(reportOf({ testResults: [broken] }))
    expect(countsLine(counts)).toBe('3 passed, 1 failed')
    expect(failureOf(counts, 0)).toMatch('a.test.ts')
  })

  it('does not count a failed test twice', () => {
    const failed = { name: 'a.test.ts', status: 'failed', assertionResults: [{ status: 'failed' }] }
    expect(readCounts(reportOf({ numFailedTests: 1, testResults: [failed] })).failed).toBe(1)
  })

  it('is a success only with passed tests, none failed, and a runner that exits with 0', () => {
    const good = readCounts(reportOf({}))
    expect(failureOf(good, 0)).toBeUndefined()
    expect(failureOf(good, 1)).toBeDefined()
    expect(failureOf({ ...good, failed: 1 }, 0)).toBeDefined()
    expect(failureOf({ ...good, passed: 0 }, 0)).toBeDefined()
  })

  it('refuses a missing file and a file that is no report', () => {
    expect(() => readCounts(join(folder, 'missing.json'))).toThrow()
    writeFileSync(join(folder, 'other.json'), '{"numPassedTests":3}')
    expect(() => readCounts(join(folder, 'other.json'))).toThrow('no test report')
  })
})
