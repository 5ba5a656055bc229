// How fast the stores are: appends a second with 1,000 in flight, and whether a page of history costs more in a long
// stream. Run: node bench/store.ts [memory|embedded|valkey|'valkey everysec']
// For valkey servers of its own are started, which fsync each second or each write.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/base/clock.ts'
import { silentLogger } from '../src/base/logger.ts'
import { openStore } from '../src/storage/open-store.ts'
import type { AppendRequest, HistoryStore } from '../src/storage/store.ts'
import { startValkeyServer } from '../test/support/servers/valkey-server.ts'

const frameBytes = 350 // a frame of 128 bytes of payload (design 5)
const inFlight = 1_000
const channels = 10
const day = 86_400_000

type Subject = 'memory' | 'embedded' | 'valkey everysec' | 'valkey always'
const subjects: readonly Subject[] = ['memory', 'embedded', 'valkey everysec', 'valkey always']

async function withStore<T>(
  subject: Subject,
  maxRecords: number,
  use: (store: HistoryStore) => Promise<T>,
): Promise<T> {
  const dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-bench-'))
  const retention = { maxRecords, maxBytes: 2 ** 40, maxAgeMs: day }
  const dedup = { maxAgeMs: 600_000, maxIds: 10_000_000 }
  const ports = { clock: systemClock, logger: silentLogger }
  const [backend, appendfsync = ''] = subject.split(' ') as [HistoryStore['capabilities']['backend'], string?]
  const server = backend === 'valkey' ? await startValkeyServer({ settings: { appendfsync } }) : undefined
  const valkeyUrl = server === undefined ? {} : { valkeyUrl: server.url }
  const store = await openStore({ backend, dataDir, ...valkeyUrl, retention, dedup }, ports)
  try {
    return await use(store)
  } finally {
    await store.close()
    await server?.close()
    await rm(dataDir, { recursive: true })
  }
}

const frame = crypto.getRandomValues(new Uint8Array(frameBytes))
const hash = crypto.getRandomValues(new Uint8Array(16))

function request(n: number, streams: number): AppendRequest {
  const key = { tenant: 'bench', room: 'room', channel: `channel-${n % streams}` }
  const id = `arq_1795466362345000000_${n}_a1b2c3`
  return { key, id, hash, sender: 'arq_client_0123456789abcdef0123456789abcdef', frame, atMs: Date.now() }
}

function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
}

/** `perCall` 1 is the worst case; the bus sends the appends of one turn together. */
async function appendRate(store: HistoryStore, total: number, perCall: number) {
  const waits: number[] = []
  let next = 0
  async function publisher(): Promise<void> {
    while (next < total) {
      const first = next
      next += perCall
      const startedAt = performance.now()
      const batch = Array.from({ length: perCall }, (_, i) => request(first + i, channels))
      const results = await store.append(batch)
      if (results.some((result) => result.kind !== 'stored')) throw new Error('not stored')
      waits.push(performance.now() - startedAt)
    }
  }
  const startedAt = performance.now()
  await Promise.all(Array.from({ length: inFlight / perCall }, publisher))
  const seconds = (performance.now() - startedAt) / 1_000
  waits.sort((a, b) => a - b)
  return { perSecond: Math.round(next / seconds), p50: percentile(waits, 0.5), p99: percentile(waits, 0.99) }
}

/** The same while another caller reads one page of 1 MiB after the other. */
async function appendRateBesideReads(store: HistoryStore, total: number, perCall: number) {
  let isDone = false
  let pages = 0
  async function read(): Promise<void> {
    const { key } = request(0, channels)
    for (let after = 0; !isDone; pages++) {
      const page = await store.readBySequence({ key, after, limit: 10_000, maxBytes: 2 ** 20 })
      after = page.at(-1)?.position.sequence ?? 0
    }
  }
  const reading = read()
  const rate = await appendRate(store, total, perCall)
  isDone = true
  await reading
  return { ...rate, pages }
}

const ms = (value: number) => value.toFixed(2).padStart(8)
const wanted = process.argv[2]

for (const backend of subjects) {
  if (wanted !== undefined && !backend.startsWith(wanted)) continue
  const isRemote = backend.startsWith('valkey')
  for (const [keep, maxRecords] of [
    ['all kept', 10_000_000],
    ['10,000 kept', 10_000],
  ] as const) {
    for (const perCall of isRemote ? [1, 100, 1_000] : [1, 50]) {
      const total = backend === 'memory' ? 500_000 : 300_000
      const runs = []
      for (let run = 0; run < 3; run++)
        runs.push(await withStore(backend, maxRecords, (s) => appendRate(s, total, perCall)))
      runs.sort((a, b) => a.perSecond - b.perSecond)
      const { perSecond, p50, p99 } = runs[1]!
      const range = `(${runs[0]!.perSecond} to ${runs.at(-1)!.perSecond})`
      console.log(
        `${backend} append, ${keep}, ${perCall} a call: ${perSecond}/s ${range}, p50 ${ms(p50)} ms, p99 ${ms(p99)} ms`,
      )
    }
  }
  const beside = await withStore(backend, 10_000_000, (store) => appendRateBesideReads(store, 300_000, 50))
  console.log(
    `${backend} append beside ${beside.pages} pages of 1 MiB, 50 a call: ${beside.perSecond}/s, ` +
      `p50 ${ms(beside.p50)} ms, p99 ${ms(beside.p99)} ms`,
  )
}
