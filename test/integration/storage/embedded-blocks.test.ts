// What is particular to keeping records in blocks: pages that cross them, time that goes back, ids of blocks already
// trimmed, and files from before there were blocks.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { silentLogger } from '../../../src/base/logger.ts'
import { type EmbeddedStoreOptions, openEmbeddedStore } from '../../../src/storage/embedded/embedded-store.ts'
import type { AppendRequest, HistoryStore } from '../../../src/storage/store.ts'
import { createStandingClock } from '../../support/contracts/history-store.ts'
import { type OldStream, writeOldHistory } from './old-schema.ts'

const key = { tenant: 'acme', room: 'lobby', channel: 'general' }
const everything = { limit: 1_000_000, maxBytes: 2 ** 40 }
const windowMs = 600_000

let dataDir: string
let clock: ReturnType<typeof createStandingClock>
const opened: HistoryStore[] = []
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-store-'))
  clock = createStandingClock()
})
afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()))
  await rm(dataDir, { recursive: true })
})

async function open(more: Partial<EmbeddedStoreOptions> = {}): Promise<HistoryStore> {
  const retention = { maxRecords: 1_000_000, maxBytes: 2 ** 40, maxAgeMs: 86_400_000 }
  const dedup = { maxAgeMs: windowMs, maxIds: 1_000_000 }
  const store = await openEmbeddedStore({ dataDir, clock, logger: silentLogger, retention, dedup, ...more })
  opened.push(store)
  return store
}

function request(id: string, more: Partial<AppendRequest> = {}): AppendRequest {
  const frame = Buffer.from(`frame of ${id}`)
  return { key, id, hash: new Uint8Array(16).fill(7), sender: `sender of ${id}`, frame, atMs: clock.now(), ...more }
}

const many = (from: number, to: number, more: Partial<AppendRequest> = {}) =>
  Array.from({ length: to - from }, (_, i) => request(`id-${from + i}`, more))

describe('records in blocks', () => {
  it('are read in pages that begin and end within blocks, each with its own fields', async () => {
    const store = await open()
    // Frames of 10 KB: six to a block.
    const requests = many(1, 41).map((one, i) => ({ ...one, frame: new Uint8Array(10_000).fill(i) }))
    await store.append(requests)
    await store.append(many(41, 43))
    const page = await store.readBySequence({ key, after: 4, limit: 9, maxBytes: 2 ** 40 })
    expect(page.map(({ position, id, sender }) => [position.sequence, id, sender])).toEqual(
      Array.from({ length: 9 }, (_, i) => [5 + i, `id-${5 + i}`, `sender of id-${5 + i}`]),
    )
    expect(page.map(({ frame }) => frame[9_999])).toEqual(Array.from({ length: 9 }, (_, i) => 4 + i))
    const bytes = await store.readBySequence({ key, after: 4, limit: 100, maxBytes: 80_000 })
    expect(bytes).toHaveLength(8)
    const end = await store.readBySequence({ key, after: 38, ...everything })
    expect(end.map(({ id }) => id)).toEqual(['id-39', 'id-40', 'id-41', 'id-42'])
  })

  it('are trimmed to the exact record, and never read below it', async () => {
    const retention = { maxRecords: 1_000, maxBytes: 2 ** 40, maxAgeMs: 86_400_000 }
    const store = await open({ retention })
    for (let n = 0; n < 2_500; n += 500) await store.append(many(n, n + 500))
    await expect.poll(async () => (await store.head(key)).first).toBe(1_501)
    const bytes = (await store.readBySequence({ key, after: 0, ...everything })).reduce((n, r) => n + r.frame.length, 0)
    expect(await store.stats()).toMatchObject({ records: 1_000, bytes })
    const oldest = await store.readByTime({ ...key, order: 'oldest', limit: 2, maxBytes: 2 ** 40 })
    const newest = await store.readByTime({ ...key, order: 'newest', ...everything })
    expect(oldest.map(({ position }) => position.sequence)).toEqual([1_501, 1_502])
    expect(newest.map(({ position }) => position.sequence)).toEqual(Array.from({ length: 1_000 }, (_, i) => 2_500 - i))
  })

  it('are sorted by time over any appends of any times, between any bounds', async () => {
    const times = fc.array(fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 5 }), { maxLength: 6 })
    const bound = fc.integer({ min: -1, max: 7 })
    const store = await open()
    const startMs = clock.now()
    let run = 0
    await fc.assert(
      fc.asyncProperty(times, bound, bound, async (groups, sinceMs, untilMs) => {
        const channel = `run-${run++}`
        for (const [g, group] of groups.entries()) {
          await store.append(
            group.map((atMs, i) =>
              request(`${g}-${i}`, { key: { ...key, channel }, atMs: startMs + atMs, frame: new Uint8Array(8) }),
            ),
          )
        }
        const expected = groups
          .flat()
          .map((atMs, i) => ({ atMs, sequence: i + 1 }))
          .filter(({ atMs }) => atMs >= sinceMs && atMs <= untilMs)
          .sort((a, b) => a.atMs - b.atMs || a.sequence - b.sequence)
          .map(({ sequence }) => sequence)
        const read = async (order: 'oldest' | 'newest') => {
          const bounds = { sinceMs: startMs + sinceMs, untilMs: startMs + untilMs }
          const records = await store.readByTime({ ...key, channel, ...bounds, order, ...everything })
          return records.map(({ position }) => position.sequence)
        }
        expect(await read('oldest')).toEqual(expected)
        expect(await read('newest')).toEqual(expected.toReversed())
      }),
      { numRuns: 60 },
    )
  })

  it('leave their ids behind when they are trimmed, over a restart too, until the window has passed', async () => {
    const retention = { maxRecords: 5, maxBytes: 2 ** 40, maxAgeMs: 86_400_000 }
    const first = await open({ retention })
    await first.append(many(0, 700))
    await expect.poll(async () => (await first.head(key)).first).toBe(696)
    await first.close()
    clock.advance(windowMs - 1)
    const second = await open({ retention })
    const [a, b, c] = await second.append([
      request('id-3'),
      request('id-650'),
      request('id-4', { hash: new Uint8Array(16) }),
    ])
    expect([a, b, c]).toMatchObject([
      { kind: 'duplicate', position: { sequence: 4 } },
      { kind: 'duplicate', position: { sequence: 651 } },
      { kind: 'conflict' },
    ])
    clock.advance(1)
    expect(await second.append([request('id-3')])).toMatchObject([{ kind: 'stored', position: { sequence: 701 } }])
    // Only the blocks of what is kept are left: that of the last five of the 700, and that of the new one.
    const db = new DatabaseSync(join(dataDir, 'history', 'history.db'), { readOnly: true })
    await expect.poll(() => db.prepare('SELECT count(*) AS blocks FROM blocks').get()).toEqual({ blocks: 2 })
    db.close()
    await second.close()
    const third = await open({ retention })
    expect(await third.append([request('id-3')])).toMatchObject([{ kind: 'duplicate', position: { sequence: 701 } }])
  })

  it('are not remembered when they were not stored', async () => {
    const store = await open({ maxFileBytes: 512 * 1024, dedup: { maxAgeMs: windowMs, maxIds: 21 } })
    const large = many(0, 20, { frame: new Uint8Array(100_000) })
    await expect(store.append(large)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(await store.append([request('id-0')])).toMatchObject([{ kind: 'stored', position: { sequence: 1 } }])
    expect(await store.append([request('id-1'), request('id-0')])).toMatchObject([
      { kind: 'stored', position: { sequence: 2 } },
      { kind: 'duplicate', position: { sequence: 1 } },
    ])
  })
})

describe('a file of schema 1', () => {
  const hash = new Uint8Array(16).fill(7)

  /** Sequences `first` to `last` as records, those from `known` on remembered too. */
  function old(channel: string, [first, last]: [number, number], known: number, takenMs: number): OldStream {
    const item = (sequence: number) => ({
      sequence,
      id: `id-${sequence}`,
      hash,
      atMs: takenMs + Math.floor(sequence / 3),
    })
    const items = (from: number) => Array.from({ length: last - from + 1 }, (_, i) => item(from + i))
    const records = items(first).map((one) => ({ ...one, frame: Buffer.from(`frame ${channel} ${one.sequence}`) }))
    return { channel, records, remembered: items(known) }
  }

  it('is made over in place: records, positions, and ids to the end of their window', async () => {
    const before = clock.now() - 1_000
    await writeOldHistory(dataDir, 77, [
      old('general', [1, 900], 601, before),
      old('trimmed', [51, 60], 20, before),
      old('gone', [31, 30], 1, before),
      old('forgotten', [1, 300], 301, before),
    ])
    const dedup = { maxAgeMs: windowMs, maxIds: 400 }
    const store = await open({ dedup })
    const records = await store.readBySequence({ key, after: 0, ...everything })
    expect(records.map(({ position }) => position)).toEqual(
      Array.from({ length: 900 }, (_, i) => ({ epoch: 77, sequence: i + 1 })),
    )
    expect(records[599]).toMatchObject({ id: 'id-600', sender: 'sender', atMs: before + 200 })
    expect(Buffer.from(records[599]!.frame).toString()).toBe('frame general 600')
    const at = (channel: string) => ({ ...key, channel })
    expect(await store.head(at('trimmed'))).toMatchObject({ first: 51, last: 60 })
    expect(await store.head(at('gone'))).toMatchObject({ first: 31, last: 30 })
    expect(await store.stats()).toMatchObject({ streams: 3, records: 900 + 10 + 300 })
    expect(await store.readByTime({ tenant: 'acme', order: 'newest', ...everything })).toHaveLength(1_210)

    const answers = await store.append([
      request('id-900'),
      request('id-20', { key: at('trimmed') }),
      request('id-1', { key: at('gone') }),
      request('id-700', { hash: new Uint8Array(16) }),
      request('id-600'),
      request('new', { key: at('gone') }),
    ])
    expect(answers).toMatchObject([
      { kind: 'duplicate', position: { sequence: 900 } },
      { kind: 'duplicate', position: { sequence: 20 } },
      { kind: 'duplicate', position: { sequence: 1 } },
      { kind: 'conflict' },
      { kind: 'stored', position: { sequence: 901 } },
      { kind: 'stored', position: { sequence: 31 } },
    ])
    // 300 + 41 + 30 were remembered: 27 more, the last two above among them, and the window is full.
    const more = await store.append(many(2_000, 2_040))
    expect(more.map(({ kind }) => kind)).toEqual([...Array(27).fill('stored'), ...Array(13).fill('dedup-full')])
    await store.close()
    expect(await (await open({ dedup })).head(key)).toMatchObject({ epoch: 77, first: 1, last: 928 })
  })

  it('stays as it was when it cannot be made over', async () => {
    const streams = [old('general', [1, 10], 1, clock.now())]
    await writeOldHistory(dataDir, 77, streams)
    const file = join(dataDir, 'history', 'history.db')
    const tool = new DatabaseSync(file)
    tool.exec('DROP TABLE remembered')
    tool.close()
    await expect(open()).rejects.toMatchObject({ code: 'STORE_OPEN_FAILED' })
    const db = new DatabaseSync(file)
    expect(db.prepare('SELECT schema_version AS version FROM store').get()).toEqual({ version: 1 })
    expect(db.prepare('SELECT count(*) AS records FROM records').get()).toEqual({ records: 10 })
    expect(db.prepare("SELECT count(*) AS blocks FROM sqlite_schema WHERE name = 'blocks'").get()).toEqual({
      blocks: 0,
    })
    db.close()
  })
})
