// `--report FORMAT=PATH`: the same report in other formats, each a pure function of it. What cannot be written is said,
// and changes neither the verdict nor the exit code.
import { appendFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, basename } from 'node:path'
import { randomHex } from '../../base/ids.ts'
import { createCatalogue } from '../catalogue.ts'
import { formatJson } from '../format-json.ts'
import type { Report } from '../report.ts'
import { formatGithub } from './github.ts'
import { formatHtml } from './html.ts'
import { formatJunit } from './junit.ts'
import { formatMarkdown } from './markdown.ts'
import { formatNdjson } from './ndjson.ts'
import { formatOpenMetrics } from './openmetrics.ts'
import type { ReportFormat, ReportRequest } from './report-request.ts'
import { formatSarif } from './sarif.ts'
import { formatTap } from './tap.ts'
import { type About, aboutChecks, canonicalOnly } from './view.ts'

export const reporters = {
  json: formatJson,
  ndjson: formatNdjson,
  markdown: formatMarkdown,
  junit: formatJunit,
  sarif: formatSarif,
  tap: formatTap,
  openmetrics: formatOpenMetrics,
  github: formatGithub,
  html: formatHtml,
} as const satisfies Readonly<Record<ReportFormat, (report: Report, about: About) => string>>

export interface WriteOptions {
  /** Only what is the same for the same system: no times, no texts of servers. */
  readonly canonical?: boolean
  /** Takes lines that are meant for the log of a CI job. */
  readonly log: (line: string) => void
}

/** A note for each report that could not be made or written. Never throws. */
export function writeReports(report: Report, requests: readonly ReportRequest[], options: WriteOptions): string[] {
  if (requests.length === 0) return []
  const shown = options.canonical === true ? canonicalOnly(report) : report
  return requests.flatMap((request) => {
    try {
      write(request, shown, aboutChecks(createCatalogue()), options.log)
      return []
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      return [
        `no ${request.format} report${request.path === undefined ? '' : ` at ${request.path}`}: ${code ?? message}`,
      ]
    }
  })
}

function write({ format, path }: ReportRequest, report: Report, about: About, log: (line: string) => void): void {
  const text = reporters[format](report, about)
  if (format !== 'github') {
    replaceFile(path!, text, format === 'openmetrics' ? 0o644 : 0o600) // a path is asked for when it is parsed
    return
  }
  for (const line of text.trimEnd().split('\n')) log(line)
  if (path !== undefined) appendSummary(path, formatMarkdown(report, about))
}

/** By a file beside it that takes its place: who reads it sees the old one or the new one, whole. */
function replaceFile(path: string, text: string, mode: number): void {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() === false) throw new Error('it is no file')
  const draft = join(dirname(path), `.${basename(path)}.${randomHex(6)}`)
  try {
    writeFileSync(draft, text, { mode, flag: 'wx' })
    renameSync(draft, path)
  } catch (error) {
    rmSync(draft, { force: true })
    throw error
  }
}

/** A step's summary takes 1 MiB; one that is larger is dropped whole. */
const mostSummaryBytes = 1_024 * 1_024
const cutNote = '\n\nCut here: the summary of a step has no room for more.\n'

/** Others may have written there before. */
function appendSummary(path: string, text: string): void {
  const room = mostSummaryBytes - (statSync(path, { throwIfNoEntry: false })?.size ?? 0)
  if (Buffer.byteLength(text) <= room) {
    appendFileSync(path, text, { mode: 0o600 })
    return
  }
  const left = room - Buffer.byteLength(cutNote)
  if (left <= 0) throw new Error('the summary is full')
  const kept = Buffer.from(text).subarray(0, left).toString('utf8')
  appendFileSync(path, `${kept.slice(0, kept.lastIndexOf('\n'))}${cutNote}`, { mode: 0o600 })
}
