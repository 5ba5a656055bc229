// Runs that were made here, in the data folder: reports with times and answers, but without texts. What was green last,
// how often something failed, and how long it took until it passed again is read from them.
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { openFolder, writeArchive } from '../incident/archive.ts'
import type { Phase } from '../check.ts'
import { type Observation, type Report, reportSchema, type Result } from '../report.ts'

export const keptRuns = 200
export const historyFolder = (dataDir: string): string => join(dataDir, 'preflight-history')

const form = /^\d{8}T\d{9}Z-[0-9a-f]{8}-[0-9a-z]+\.json\.gz$/

/** Files in there, oldest first. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => form.test(name))
      .sort()
  } catch {
    return [] // no run was made here yet
  }
}

/** `report` is redacted. Throws where the folder cannot be written. The newest `keep` stay. */
export async function keepRun(dataDir: string, report: Report, runId: string, keep = keptRuns): Promise<void> {
  const folder = historyFolder(dataDir)
  openFolder(folder)
  const at = report.observations.startedAt.replaceAll(/[-:.]/g, '')
  const path = join(folder, `${at}-${report.digest.slice('sha256:'.length, 'sha256:'.length + 8)}-${runId}.json.gz`)
  await writeArchive(path, gzipSync(JSON.stringify(compact(report))), () => Promise.resolve())
  for (const name of namesIn(folder).slice(0, -keep)) rmSync(join(folder, name), { force: true })
}

function compact({ schema, canonical, digest, observations }: Report): Report {
  const { startedAt, ms, inputs, results } = observations
  const kept = Object.entries(results).map(([id, seen]): [string, Observation] => [
    id,
    { ms: seen.ms, ...(seen.answer !== undefined && { answer: seen.answer }) },
  ])
  return {
    schema,
    canonical,
    digest,
    observations: { startedAt, ms, ...(inputs !== undefined && { inputs }), results: Object.fromEntries(kept) },
  }
}

/** Oldest first. A file that cannot be read is no run. */
export function readHistory(dataDir: string): Report[] {
  const folder = historyFolder(dataDir)
  return namesIn(folder).flatMap((name) => readKept(folder, name) ?? [])
}

/** The run of that id, or the newest one where it is `last`. */
export function readKeptRun(dataDir: string, id: string): Report | undefined {
  const folder = historyFolder(dataDir)
  const name = namesIn(folder).findLast((one) => id === 'last' || one.endsWith(`-${id}.json.gz`))
  return name === undefined ? undefined : readKept(folder, name)
}

function readKept(folder: string, name: string): Report | undefined {
  try {
    const report = JSON.parse(gunzipSync(readFileSync(join(folder, name))).toString('utf8')) as Report // our own file
    return report.schema === reportSchema ? report : undefined
  } catch {
    return undefined
  }
}

/** The newest GO of that profile, or else its newest run in which nothing failed and something was proved. */
export function lastGreen(runs: readonly Report[], profile: string): Report | undefined {
  const ofProfile = runs.filter(({ canonical }) => canonical.profile === profile && canonical.fault === undefined)
  return ofProfile.findLast(isGo) ?? ofProfile.findLast(isClean)
}

const isGo = ({ canonical }: Report): boolean => canonical.verdict === 'GO'
const isClean = ({ canonical }: Report): boolean => canonical.rootCauses.length === 0 && canonical.counts.pass > 0

/** Phases in which it proved something. */
export function provedPhases({ canonical: { results } }: Report): Phase[] {
  return [...new Set(results.filter(({ status }) => status === 'pass').map(({ phase }) => phase))]
}

export interface Memory {
  /** How often it failed here and was failing for one run or more, this time not counted. */
  readonly cases: number
  /** From the first failing run to the next in which it passed; the middle one of those that ended. */
  readonly medianMinutes?: number
}

/** What failed, and then passed: its last failing run, and the run in which it passed again. */
export interface EndedCase {
  readonly failed: Report
  readonly passed: Report
  readonly minutes: number
}

const hasFailed = ({ status }: Result): boolean => status === 'fail' || status === 'error'

/** What the runs say about a check; runs in which it did not run say nothing. The one that lasts still is no earlier case. */
export function endedCases(runs: readonly Report[], id: string): EndedCase[] {
  const cases: EndedCase[] = []
  let since: number | undefined
  let failed: Report | undefined
  for (const run of runs) {
    const result = run.canonical.results.find((one) => one.id === id)
    if (result === undefined) continue
    const at = Date.parse(run.observations.startedAt)
    if (hasFailed(result)) {
      since ??= at
      failed = run
    } else if (result.status === 'pass' && since !== undefined && failed !== undefined) {
      cases.push({ failed, passed: run, minutes: (at - since) / 60_000 })
      since = undefined
    }
  }
  return cases
}

export function memoryOf(runs: readonly Report[], id: string): Memory {
  const cases = endedCases(runs, id)
  const middle = median(cases.map(({ minutes }) => minutes))
  return { cases: cases.length, ...(middle !== undefined && { medianMinutes: middle }) }
}

/** Whole minutes, at least one. */
function median(minutes: readonly number[]): number | undefined {
  if (minutes.length === 0) return undefined
  const sorted = [...minutes].sort((a, b) => a - b)
  const half = sorted.length >> 1
  const middle = sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2
  return Math.max(1, Math.round(middle))
}
