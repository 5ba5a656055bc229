// Revocations kept in the data folder where there is no Valkey: one JSON line each, flushed to disk before it counts as
// kept. What has ended is left out when the file is opened. The folder belongs to one process (the embedded store's
// lock).
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { BusError } from '../../base/errors.ts'
import { isJsonObject } from '../../base/json.ts'
import type { KeptRevocation } from '../hot-state.ts'

export interface RevocationFile {
  /** As they were when the file was opened. */
  readonly kept: readonly KeptRevocation[]
  /** Resolves when it is on the disk; rejects with STORE_UNAVAILABLE. */
  add(revocation: KeptRevocation): Promise<void>
  close(): Promise<void>
}

const fileName = 'revocations.jsonl'

/** Rejects with STORE_CORRUPT (reason DAMAGED) when a line but the last cannot be read, else STORE_OPEN_FAILED. */
export async function openRevocationFile(dataDir: string, clock: Clock): Promise<RevocationFile> {
  const path = join(dataDir, fileName)
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 })
    const kept = parse(await readIfThere(path), path).filter(({ untilMs }) => untilMs > clock.now())
    await replace(path, kept.map(lineOf).join(''))
    return await appendTo(path, kept)
  } catch (error) {
    if (error instanceof BusError) throw error
    const message = `The revocations in ${path} cannot be opened; a start without them would honour revoked tokens`
    throw new BusError('STORE_OPEN_FAILED', message, { reason: 'NOT_ACCESSIBLE' }, error)
  }
}

async function appendTo(path: string, kept: readonly KeptRevocation[]): Promise<RevocationFile> {
  const file = await open(path, 'a', 0o600)
  let last: Promise<unknown> = Promise.resolve()
  let isClosed = false

  async function append(line: string): Promise<void> {
    const { size } = await file.stat()
    try {
      await file.appendFile(line)
      await file.datasync()
    } catch (error) {
      await file.truncate(size) // half a line would make the next one unreadable
      throw error
    }
  }

  return {
    kept,
    async add(revocation) {
      if (isClosed) throw new BusError('STORE_UNAVAILABLE', 'Hot state is closed', { reason: 'CLOSED' })
      const adding = last.then(() => append(lineOf(revocation)))
      last = adding.catch(() => undefined)
      try {
        await adding
      } catch (error) {
        throw new BusError('STORE_UNAVAILABLE', 'The revocation could not be written', { reason: 'WRITE' }, error)
      }
    },
    async close() {
      if (isClosed) return
      isClosed = true
      await last
      await file.close()
    },
  }
}

const lineOf = (revocation: KeptRevocation): string => `${JSON.stringify(revocation)}\n`

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}

/** Whole or not at all, also when the power goes. */
async function replace(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`
  const file = await open(temporary, 'w', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
}

function parse(text: string, path: string): KeptRevocation[] {
  const lines = text.split('\n')
  // What follows the last line end was never acknowledged: the process ended while it was written.
  return lines.slice(0, -1).map((line, i) => {
    const revocation = parseLine(line)
    if (revocation !== undefined) return revocation
    const message = `Line ${i + 1} of ${path} is damaged; restore the file, or remove that line and revoke again what it held`
    throw new BusError('STORE_CORRUPT', message, { reason: 'DAMAGED' })
  })
}

function parseLine(line: string): KeptRevocation | undefined {
  try {
    const value: unknown = JSON.parse(line)
    if (!isJsonObject(value)) return undefined
    const { tenant, subject, untilMs } = value
    if (typeof tenant !== 'string' || typeof untilMs !== 'number') return undefined
    if (subject === undefined) return { tenant, untilMs }
    return typeof subject === 'string' ? { tenant, subject, untilMs } : undefined
  } catch {
    return undefined
  }
}
