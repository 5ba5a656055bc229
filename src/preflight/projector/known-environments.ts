// Which Postgres a preflight has said GO for: a file in ARQONBUS_DATA_DIR, read by projector.new-environment and written
// by whoever had the GO. It holds hashes only.
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isJsonObject } from '../../base/json.ts'
import type { Report } from '../report.ts'

const fileIn = (dataDir: string): string => join(dataDir, 'preflight-known.json')
const maxKnown = 64

/** Identities; none where the file is absent or is none of ours. */
export async function readKnown(dataDir: string): Promise<readonly string[]> {
  try {
    const value: unknown = JSON.parse(await readFile(fileIn(dataDir), 'utf8'))
    if (!isJsonObject(value) || value['format'] !== 1 || !Array.isArray(value['environments'])) return []
    return value['environments'].filter((one): one is string => typeof one === 'string')
  } catch {
    return []
  }
}

/**
 * After a run that said GO: the environment it looked at is no new one the next time. Anything else changes nothing.
 * Rejects where the file cannot be written.
 */
export async function rememberGreen({ canonical, observations }: Report, dataDir: string): Promise<void> {
  const answer = observations.results['projector.new-environment']?.answer
  if (canonical.verdict !== 'GO' || answer === undefined || !('facts' in answer)) return
  const { identity } = answer.facts
  const known = await readKnown(dataDir)
  if (typeof identity !== 'string' || known.includes(identity)) return
  const environments = [...known, identity].slice(-maxKnown)
  await mkdir(dataDir, { recursive: true })
  const part = `${fileIn(dataDir)}.part`
  await writeFile(part, `${JSON.stringify({ format: 1, environments }, null, 2)}\n`, { mode: 0o600 })
  await rename(part, fileIn(dataDir))
}
