// What a test runner's machine report says (the JSON of vitest and jest): how many ran, failed and were skipped.
import { readFileSync } from 'node:fs'
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import { listIn, textIn } from '../json-fields.ts'

export interface SuiteCounts {
  /** The files that it tells of. */
  readonly files: readonly string[]
  /** That ran: passed or failed. */
  readonly tests: number
  /** With files that broke outside a test, each as one. */
  readonly failed: number
  /** Full names. */
  readonly skipped: readonly string[]
  /** The first test that failed, with file and line where the report tells. */
  readonly firstFailure?: string
}

/** Undefined where there is no such file, or it is no report. Counts the test files that are `wanted`. */
export function readSuiteReport(path: string, wanted: (file: string) => boolean = () => true): SuiteCounts | undefined {
  let report: unknown
  try {
    report = JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
  if (!isJsonObject(report) || !Array.isArray(report['testResults'])) return undefined
  const all = report['testResults'].filter(isJsonObject)
  // What says itself how many passed and lists others has lost some on the way.
  if (report['numPassedTests'] !== casesOf(all).filter(({ status }) => status === 'passed').length) return undefined
  const files = all.filter((file) => wanted(textIn(file, 'name')))
  const cases = casesOf(files)
  const failures = cases.filter(({ status }) => status === 'failed')
  const broken = files.filter(
    (file) => textIn(file, 'status') === 'failed' && !failures.some((failure) => failure.file === file),
  )
  const [first] = [
    ...failures.map(({ file, one }) => describe(file, one)),
    ...broken.map((file) => `${textIn(file, 'name')}: ${oneLine(textIn(file, 'message'))}`),
  ]
  return {
    files: files.map((file) => textIn(file, 'name')),
    tests: cases.filter(({ status }) => status === 'passed' || status === 'failed').length,
    failed: failures.length + broken.length,
    skipped: cases.filter(({ status }) => status !== 'passed' && status !== 'failed').map(({ one }) => nameOf(one)),
    ...(first !== undefined && { firstFailure: first }),
  }
}

const casesOf = (files: readonly JsonObject[]) =>
  files.flatMap((file) =>
    listIn(file, 'assertionResults')
      .filter(isJsonObject)
      .map((one) => ({ file, one, status: textIn(one, 'status') })),
  )

const nameOf = (one: JsonObject): string => textIn(one, 'fullName').trim() || textIn(one, 'title')

const oneLine = (text: string): string => text.split('\n')[0] ?? ''

function describe(file: JsonObject, one: JsonObject): string {
  const [message] = listIn(one, 'failureMessages').filter((text) => typeof text === 'string')
  const path = textIn(file, 'name')
  const base = path.slice(path.lastIndexOf('/') + 1)
  const at = (message ?? '').indexOf(`${base}:`)
  const line = at < 0 ? undefined : /^\d+/.exec((message ?? '').slice(at + base.length + 1))?.[0]
  return `${nameOf(one)} (${path}${line === undefined ? '' : `:${line}`})`
}

/** Counts of several reports as one; undefined where one of them cannot be read. */
export function readSuiteReports(paths: readonly string[], wanted: (file: string) => boolean): SuiteCounts | undefined {
  const all = paths.map((path) => readSuiteReport(path, wanted))
  const read = all.filter((one) => one !== undefined)
  if (read.length < all.length) return undefined
  const sum = (pick: (one: SuiteCounts) => number): number => read.reduce((total, one) => total + pick(one), 0)
  const firstFailure = read.find((one) => one.firstFailure !== undefined)?.firstFailure
  return {
    files: read.flatMap(({ files }) => files),
    tests: sum(({ tests }) => tests),
    failed: sum(({ failed }) => failed),
    skipped: read.flatMap(({ skipped }) => skipped),
    ...(firstFailure !== undefined && { firstFailure }),
  }
}
