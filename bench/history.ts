// Reading history over the length of a stream: a page of 100 by time, newest first, and one by sequence at places all
// along it. What a page costs may grow with the depth of an index, not with the stream.
import type { AppendRequest, HistoryStore } from '../src/storage/store.ts'
import { quantile, type Spread, spreadOf } from './statistics.ts'
import { storesOf, withServer, withStore } from './stores.ts'
import { type SuiteOptions, writePlot } from './suite.ts'

export interface HistoryRow {
  readonly store: string
  readonly length: number
  readonly newestMs: Spread
  readonly sequenceMs: Spread
}

const key = { tenant: 'bench', room: 'room', channel: 'channel' }
const page = { limit: 100, maxBytes: 2 ** 20 }
const readsPerRound = 100
const frame = crypto.getRandomValues(new Uint8Array(350)) // as large as that of a 128-byte payload (design 5)
const hash = crypto.getRandomValues(new Uint8Array(16))
const keepAll = { ARQONBUS_MAX_HISTORY_SIZE: '100000000', ARQONBUS_LIMIT_MAX_BYTES_PER_STREAM: '2147483647' }

export async function history(options: SuiteOptions): Promise<HistoryRow[]> {
  const rows: HistoryRow[] = []
  console.log('\nhistory, a page of 100 records over the length of the stream: ms (median of rounds of 100 reads)')
  for (const setup of storesOf(options)) {
    // How often a server flushes says nothing about reading.
    if (setup.name === 'valkey-always' && options.stores.length === 0) continue
    await withServer(setup, (env) =>
      withStore(env, keepAll, async (store) => void rows.push(...(await measureStore(setup.name, store, options)))),
    )
  }
  const stores = [...new Set(rows.map(({ store }) => store))]
  const lines = stores.flatMap((store) => {
    const own = rows.filter((row) => row.store === store)
    return [
      { name: `${store}, newest`, points: own.map((row) => [row.length, row.newestMs.median] as const) },
      { name: `${store}, sequence`, points: own.map((row) => [row.length, row.sequenceMs.median] as const) },
    ]
  })
  if (lines.length > 0)
    writePlot(options, 'history.svg', { title: 'A page of 100 records: ms', x: 'records in the stream', lines })
  return rows
}

async function measureStore(name: string, store: HistoryStore, options: SuiteOptions): Promise<HistoryRow[]> {
  const rows: HistoryRow[] = []
  let filled = 0
  for (const length of options.lengths) {
    await fill(store, filled, length)
    filled = length
    const newest: number[] = []
    const bySequence: number[] = []
    for (let round = -1; round < options.rounds; round++) {
      const newestMs = await median(() => store.readByTime({ ...key, order: 'newest', ...page }))
      const sequenceMs = await median((i) => {
        const after = Math.floor((((i * 7_919) % readsPerRound) / readsPerRound) * (length - page.limit))
        return store.readBySequence({ key, after, ...page })
      })
      if (round < 0) continue // the first warms up
      newest.push(newestMs)
      bySequence.push(sequenceMs)
    }
    const row = { store: name, length, newestMs: spreadOf(newest), sequenceMs: spreadOf(bySequence) }
    rows.push(row)
    console.log(
      `  ${name.padEnd(18)} ${String(length).padStart(8)}  newest ${show(row.newestMs)}  by sequence ${show(row.sequenceMs)}`,
    )
  }
  const [first, last] = [rows[0], rows.at(-1)]
  if (first === undefined || last === undefined) return rows
  const growth = (of: (row: HistoryRow) => Spread) => (of(last).median / of(first).median).toFixed(2)
  const times = last.length / first.length
  console.log(
    `         ${name}: ${times} times the records, newest ${growth((row) => row.newestMs)} times, by sequence ${growth((row) => row.sequenceMs)} times the cost`,
  )
  return rows
}

async function median(read: (i: number) => Promise<readonly unknown[]>): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < readsPerRound; i++) {
    const begun = performance.now()
    if ((await read(i)).length !== page.limit) throw new Error('a short page')
    times.push(performance.now() - begun)
  }
  return quantile(times, 0.5)
}

async function fill(store: HistoryStore, from: number, to: number): Promise<void> {
  const { maxBatch } = store.capabilities
  for (let n = from; n < to; n += maxBatch) {
    const count = Math.min(maxBatch, to - n)
    const results = await store.append(Array.from({ length: count }, (_, i) => request(n + i)))
    if (results.some(({ kind }) => kind !== 'stored')) throw new Error('not stored')
  }
}

function request(n: number): AppendRequest {
  const id = `arq_1795466362345000000_${n}_a1b2c3`
  return { key, id, hash, sender: 'arq_client_0123456789abcdef0123456789abcdef', frame, atMs: Date.now() }
}

const show = ({ median: middle, min, max }: Spread): string =>
  `${middle.toFixed(3)} [${min.toFixed(3)} … ${max.toFixed(3)}]`
