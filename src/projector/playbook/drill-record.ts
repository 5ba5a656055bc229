// What came of a drill, kept beside its backup: whoever asks when the last one was finds it there.
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isJsonObject } from '../../base/json.ts'

export interface DrillRecord {
  readonly format: 1
  /** When it ended; UTC. */
  readonly at: string
  /** Host, port and database that was backed up. */
  readonly server: string
  readonly ok: boolean
  readonly seconds: { readonly backup: number; readonly restore: number; readonly verify: number }
}

const ending = '.drill.json'

/** `file` is the dump. */
export async function recordDrill(file: string, record: DrillRecord): Promise<void> {
  await writeFile(`${file}${ending}`, `${JSON.stringify(record, null, 2)}\n`, { mode: 0o600 })
}

/** The newest of that server, or undefined. What is no record is left out; rejects where the folder cannot be read. */
export async function newestDrill(
  folder: string,
  server: string,
): Promise<Pick<DrillRecord, 'at' | 'ok' | 'server'> | undefined> {
  const records = []
  for (const name of await readdir(folder)) {
    if (!name.endsWith(ending)) continue
    const record = parse(await readFile(join(folder, name), 'utf8'))
    if (record?.server === server) records.push(record)
  }
  return records.sort((a, b) => Date.parse(b.at) - Date.parse(a.at))[0]
}

function parse(text: string): Pick<DrillRecord, 'at' | 'ok' | 'server'> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (!isJsonObject(value)) return undefined
    const { format, at, ok, server } = value
    const isRecord = format === 1 && typeof at === 'string' && typeof ok === 'boolean' && typeof server === 'string'
    return isRecord && !Number.isNaN(Date.parse(at)) ? { at, ok, server } : undefined
  } catch {
    return undefined
  }
}
