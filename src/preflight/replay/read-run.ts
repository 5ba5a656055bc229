// A run, from wherever it was kept: a report as JSON, an incident bundle, a recording, a file of the history.
import { gunzipSync } from 'node:zlib'
import { isJsonObject } from '../../base/json.ts'
import { toIsoTime } from '../../base/clock.ts'
import { type Report, reportSchema } from '../report.ts'
import { bundleFiles, changedSince, readOrRefuse } from './keep-record.ts'
import { badRecord, parseRecord, recordSchema } from './record.ts'

/** Throws CONFIG_INVALID (BAD_RECORD) for anything else. */
export async function readRun(path: string): Promise<Report> {
  const bytes = readOrRefuse(path)
  const isZipped = bytes[0] === 0x1f && bytes[1] === 0x8b
  const text = isZipped ? await unzipped(bytes) : bytes.toString('utf8')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw badRecord(`${path} is no JSON`)
  }
  if (!isJsonObject(value)) throw badRecord(`${path} holds no run`)
  if (value['schema'] === recordSchema) return reportOfRecord(text)
  const isReport =
    value['schema'] === reportSchema && isJsonObject(value['canonical']) && isJsonObject(value['observations'])
  if (!isReport) throw badRecord(`${path} holds no run`)
  return value as unknown as Report // of our schema
}

async function unzipped(bytes: Buffer): Promise<string> {
  try {
    const plain = gunzipSync(bytes)
    if (plain[0] === 0x7b) return plain.toString('utf8')
  } catch {
    throw badRecord('it is broken')
  }
  const files = await bundleFiles(bytes)
  const report = files.get('report/report.json')
  if (report === undefined) throw badRecord('the bundle has no report/report.json')
  changedSince(files, ['report/report.json'])
  return report.toString('utf8')
}

function reportOfRecord(text: string): Report {
  const { canonical, digest, checks, now } = parseRecord(text)
  const results = checks.map(
    ({ head, answer }) => [head.id, { ms: 0, ...(answer !== undefined && { answer }) }] as const,
  )
  return {
    schema: reportSchema,
    canonical,
    digest,
    observations: { startedAt: toIsoTime(now), ms: 0, results: Object.fromEntries(results) },
  }
}
