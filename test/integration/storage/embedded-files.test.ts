import { mkdir, mkdtemp, open as openFile, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { backup, DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { silentLogger } from '../../../src/base/logger.ts'
import { type EmbeddedStoreOptions, openEmbeddedStore } from '../../../src/storage/embedded/embedded-store.ts'
import type { AppendRequest, HistoryStore } from '../../../src/storage/store.ts'
import { createStandingClock } from '../../support/contracts/history-store.ts'

const key = { tenant: 'acme', room: 'lobby', channel: 'general' }
const everything = { key, after: 0, limit: 1_000_000, maxBytes: 2 ** 40 }

let dataDir: string
let file: string
let clock: ReturnType<typeof createStandingClock>
const opened: HistoryStore[] = []
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-store-'))
  file = join(dataDir, 'history', 'history.db')
  clock = createStandingClock()
})
afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()))
  await rm(dataDir, { recursive: true })
})

async function open(more: Partial<EmbeddedStoreOptions> = {}): Promise<HistoryStore> {
  const retention = { maxRecords: 1_000_000, maxBytes: 2 ** 40, maxAgeMs: 86_400_000 }
  const dedup = { maxAgeMs: 600_000, maxIds: 1_000_000 }
  const store = await openEmbeddedStore({ dataDir, clock, logger: silentLogger, retention, dedup, ...more })
  opened.push(store)
  return store
}

function request(id: string, frame = new Uint8Array(100)): AppendRequest {
  return { key, id, hash: new Uint8Array(16), sender: 'sender', frame, atMs: clock.now() }
}

describe('the files of the embedded store', () => {
  it('are for this user only, and one file when closed', async () => {
    const store = await open()
    await store.append([request('a')])
    const folder = join(dataDir, 'history')
    expect((await stat(folder)).mode & 0o777).toBe(0o700)
    const names = await readdir(folder)
    expect(names).toContain('history.db-wal')
    for (const name of names) expect([name, (await stat(join(folder, name))).mode & 0o777]).toEqual([name, 0o600])
    await store.close()
    expect((await readdir(folder)).sort()).toEqual(['history.db', 'lock.db'])
  })

  it('carry epoch, records and remembered ids over a restart', async () => {
    const first = await open()
    await first.append([request('a'), request('b')])
    const head = await first.head(key)
    await first.close()
    clock.advance(1_000)
    const second = await open()
    expect(await second.head(key)).toEqual(head)
    expect(await second.append([request('a'), request('c')])).toEqual([
      { kind: 'duplicate', position: { epoch: head.epoch, sequence: 1 } },
      { kind: 'stored', position: { epoch: head.epoch, sequence: 3 } },
    ])
  })

  it('begin another epoch when the whole folder was removed', async () => {
    const first = await open()
    const { epoch } = await first.head(key)
    await first.close()
    await rm(join(dataDir, 'history'), { recursive: true })
    clock.advance(1)
    expect((await (await open()).head(key)).epoch).toBeGreaterThan(epoch)
  })

  it('go on counting after every record has been trimmed and the store was restarted', async () => {
    const retention = { maxRecords: 10, maxBytes: 1_000_000, maxAgeMs: 1_000 }
    const first = await open({ retention })
    await first.append([request('a'), request('b')])
    clock.advance(1_001)
    await first.append([{ ...request('x'), key: { ...key, channel: 'other' } }])
    await first.close()
    const second = await open({ retention })
    const [answer] = await second.append([request('c')])
    expect(answer).toMatchObject({ kind: 'stored', position: { sequence: 3 } })
  })

  it('refuse a second opener in the same process, and admit it after close', async () => {
    const first = await open()
    await expect(open()).rejects.toMatchObject({ code: 'STORE_OPEN_FAILED', details: { reason: 'LOCKED' } })
    await expect(open()).rejects.toThrow(/another data folder/)
    expect(await first.append([request('a')])).toHaveLength(1)
    await first.close()
    await open()
  })

  it('can be copied while the store runs, with what was acknowledged before', async () => {
    const store = await open()
    await store.append([request('a'), request('b')])
    const source = new DatabaseSync(file, { readOnly: true })
    const elsewhere = join(dataDir, 'elsewhere')
    await mkdir(join(elsewhere, 'history'), { recursive: true })
    const copy = join(elsewhere, 'history', 'history.db')
    const copying = backup(source, copy)
    await Promise.all([copying, store.append([request('c')])])
    source.close()
    const restored = new DatabaseSync(copy, { readOnly: true })
    expect(restored.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' })
    restored.close()
    const records = await (await open({ dataDir: elsewhere })).readBySequence(everything)
    expect(records.map(({ id }) => id).slice(0, 2)).toEqual(['a', 'b'])
  })
})

describe('a damaged history', () => {
  async function filled(): Promise<void> {
    const store = await open()
    await store.append(Array.from({ length: 1_000 }, (_, i) => request(`id-${i}`, new Uint8Array(500))))
    await store.close()
  }
  const refusal = () => expect(open()).rejects.toMatchObject({ code: 'STORE_CORRUPT', details: { file } })

  it('is refused by name when its head is overwritten', async () => {
    await filled()
    const handle = await openFile(file, 'r+')
    await handle.write(new Uint8Array(100).fill(0x55), 0, 100, 0)
    await handle.close()
    await refusal()
    await expect(open()).rejects.toThrow(/history\.db .*restore it from a backup/)
  })

  it('is refused when it is cut, empty, missing, or another program’s', async () => {
    await filled()
    await truncate(file, Math.floor((await stat(file)).size / 2))
    await refusal()
    await truncate(file, 0)
    await refusal()
    await rm(file)
    await refusal()
    const other = new DatabaseSync(file)
    other.exec('CREATE TABLE something (else_ TEXT)')
    other.close()
    await refusal()
    await writeFile(file, 'not a database at all, but text that is long enough to be read as a header'.repeat(20))
    await refusal()
  })

  it('is refused when a newer program has written it', async () => {
    await filled()
    const db = new DatabaseSync(file)
    db.exec('UPDATE store SET schema_version = 99')
    db.close()
    const details = { reason: 'NEWER_SCHEMA', found: 99, known: 2 }
    await expect(open()).rejects.toMatchObject({ code: 'STORE_OPEN_FAILED', details })
  })

  it('is refused when the folder cannot be made', async () => {
    await writeFile(join(dataDir, 'file'), '')
    const details = { reason: 'NOT_ACCESSIBLE' }
    const opening = open({ dataDir: join(dataDir, 'file') })
    await expect(opening).rejects.toMatchObject({ code: 'STORE_OPEN_FAILED', details })
  })
})

describe('a store that cannot write', () => {
  it('answers a full disk with nothing stored, keeps what it has, and recovers when there is room', async () => {
    const retention = { maxRecords: 1_000_000, maxBytes: 2 ** 40, maxAgeMs: 1_000 }
    const store = await open({ retention, maxFileBytes: 512 * 1024 })
    const refused: string[] = []
    const acked: string[] = []
    for (let batch = 0; batch < 40; batch++) {
      const requests = Array.from({ length: 20 }, (_, i) => request(`${batch}-${i}`, new Uint8Array(2_000)))
      const ids = requests.map(({ id }) => id)
      await store.append(requests).then(
        () => acked.push(...ids),
        (error: unknown) => {
          expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', details: { reason: 'WRITE_FAILED' } })
          refused.push(...ids)
        },
      )
    }
    expect(acked.length).toBeGreaterThan(50)
    expect(refused.length).toBeGreaterThan(50)
    expect((await store.readBySequence(everything)).map(({ id }) => id)).toEqual(acked)
    expect(await store.head(key)).toMatchObject({ first: 1, last: acked.length })
    await store.close()

    const roomier = await open({ retention, maxFileBytes: 1024 * 1024 })
    const [first] = await roomier.append([request(refused[0]!)])
    expect(first).toMatchObject({ kind: 'stored', position: { sequence: acked.length + 1 } })
  })

  it('waits for a tool that holds the file for a moment, and refuses as not stored when it holds on', async () => {
    const store = await open()
    await store.append([request('a')])
    const tool = new DatabaseSync(file, { timeout: 2_000 })
    tool.exec('BEGIN IMMEDIATE')
    const refused = await store.append([request('b')]).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await expect(store.probe()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    const waiting = store.append([request('b')])
    tool.exec('ROLLBACK')
    tool.close()
    expect(await waiting).toMatchObject([{ kind: 'stored', position: { sequence: 2 } }])
    await store.probe()
  })

  it('refuses appends when its tables are damaged while it runs, and goes on reading what can be read', async () => {
    const store = await open()
    await store.append(Array.from({ length: 1_000 }, (_, i) => request(`id-${i}`)))
    const tool = new DatabaseSync(file, { timeout: 2_000 })
    tool.exec('ALTER TABLE blocks DROP COLUMN taken_ms')
    tool.close()
    await expect(store.append([request('x')])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(await store.readBySequence(everything)).toHaveLength(1_000)
  })
})
