import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { openEmbeddedStore } from '../../../src/storage/embedded/embedded-store.ts'

const retention = { maxRecords: 10_000_000, maxBytes: 2 ** 40, maxAgeMs: 86_400_000 }
const dedup = { maxAgeMs: 600_000, maxIds: 10_000_000 }
const childFile = fileURLToPath(new URL('appending-child.ts', import.meta.url))

let dataDir: string
let child: ChildProcess | undefined
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-store-'))
})
afterEach(async () => {
  if (child?.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
  await rm(dataDir, { recursive: true })
})

const open = () => openEmbeddedStore({ dataDir, clock: systemClock, logger: silentLogger, retention, dedup })

/** Runs a child until it has printed `lines` answers, kills it, and gives every answer it printed. */
async function runAndKill(run: string, lines: number): Promise<string[]> {
  const started = spawn(process.execPath, [childFile, dataDir, run], { stdio: ['ignore', 'pipe', 'inherit'] })
  child = started
  const exited = once(started, 'exit')
  const answers: string[] = []
  for await (const line of createInterface({ input: started.stdout })) {
    // The last line of a killed process may be cut; a whole one names an id with four parts.
    if (/ \S+-\d+-\d+-\d+$/.test(line)) answers.push(line)
    if (answers.length === lines) started.kill('SIGKILL')
  }
  const [, signal] = await exited
  expect(signal).toBe('SIGKILL')
  return answers
}

it('loses nothing acknowledged, leaves no hole and stores no id twice over 10 kills', async () => {
  const acked: string[] = []
  for (let run = 0; run < 10; run++) acked.push(...(await runAndKill(`run${run}`, 500 + 137 * run)))
  expect(acked.length).toBeGreaterThan(10_000)

  const store = await open()
  const stored = new Set<string>()
  const ids = new Set<string>()
  for (const channel of ['channel-0', 'channel-1']) {
    const key = { tenant: 'acme', room: 'lobby', channel }
    const records = await store.readBySequence({ key, after: 0, limit: 10_000_000, maxBytes: 2 ** 40 })
    expect(records.map((record) => record.position.sequence)).toEqual(records.map((_, i) => i + 1))
    expect(await store.head(key)).toMatchObject({ first: 1, last: records.length })
    for (const { position, id } of records) {
      stored.add(`${channel} ${position.epoch} ${position.sequence} ${id}`)
      ids.add(id)
    }
  }
  expect(acked.filter((line) => !stored.has(line))).toEqual([])
  expect(ids.size).toBe(stored.size)

  const [channel = '', , sequence, id = ''] = acked.at(-1)!.split(' ')
  const again = { key: { tenant: 'acme', room: 'lobby', channel }, id, sender: 's', frame: new Uint8Array(1), atMs: 0 }
  const hash = new Uint8Array(16).fill(Number(id.split('-').at(-1)))
  const [answer] = await store.append([{ ...again, hash }])
  expect(answer).toMatchObject({ kind: 'duplicate', position: { sequence: Number(sequence) } })
  await store.close()
}, 60_000)

it('refuses a second process while the first lives, and admits it after kill -9', async () => {
  const started = spawn(process.execPath, [childFile, dataDir, 'run'], { stdio: ['ignore', 'pipe', 'inherit'] })
  child = started
  await once(started.stdout, 'data')
  await expect(open()).rejects.toMatchObject({ code: 'STORE_OPEN_FAILED', details: { reason: 'LOCKED' } })
  const exited = once(started, 'exit')
  started.kill('SIGKILL')
  await exited
  const store = await open()
  expect((await store.stats()).records).toBeGreaterThan(0)
  await store.close()
})
