// What `--report` asks for. Apart from the reporters, so that a command line is read without loading them.
import { BusError } from '../../base/errors.ts'

export const reportFormats = [
  'json',
  'ndjson',
  'markdown',
  'junit',
  'sarif',
  'tap',
  'openmetrics',
  'html',
  'github',
] as const
export type ReportFormat = (typeof reportFormats)[number]

export interface ReportRequest {
  readonly format: ReportFormat
  /** Absent for `github` alone: annotations, and no summary. */
  readonly path?: string
}

const usage = (message: string): BusError => new BusError('USAGE', message, { reason: 'BAD_REPORT' })

/** `junit=PATH`, or `github`. Throws USAGE. */
export function parseReportRequest(text: string): ReportRequest {
  const equals = text.indexOf('=')
  const name = equals < 0 ? text : text.slice(0, equals)
  const format = reportFormats.find((known) => known === name)
  if (format === undefined) throw usage(`a report is FORMAT=PATH, with a format of ${reportFormats.join(', ')}`)
  if (equals < 0 && format === 'github') return { format }
  const path = equals < 0 ? '' : text.slice(equals + 1)
  // Standard output holds one document, whatever is asked for beside it.
  if (path === '' || path === '-') throw usage(`the report ${format} needs the path of a file: ${format}=PATH`)
  return { format, path }
}
