// The stores without a bus: appends a second with 1,000 in flight over ten channels, alone and beside a reader.
import type { AppendRequest, HistoryStore } from '../src/storage/store.ts'
import { quantile, type Spread, spreadOf } from './statistics.ts'
import { storesOf, withServer, withStore } from './stores.ts'
import { type SuiteOptions, thousands } from './suite.ts'

export interface StoreRow {
  readonly store: string
  readonly what: string
  /** Appends a second. */
  readonly rate: Spread
  readonly p99Ms: Spread
}

const frameBytes = 350 // a frame of 128 bytes of payload (design 5)
const inFlight = 1_000
const channels = 10
const total = 100_000
const keepAll = '10000000'

/** One a call is the worst case; the bus sends the appends of one turn together. */
const cases = [
  { what: 'one a call, all kept', perCall: 1, keep: keepAll, isRead: false },
  { what: '50 a call, all kept', perCall: 50, keep: keepAll, isRead: false },
  { what: 'one a call, 10,000 kept', perCall: 1, keep: '10000', isRead: false },
  { what: '50 a call, 10,000 kept', perCall: 50, keep: '10000', isRead: false },
  { what: '50 a call, beside pages of 1 MiB', perCall: 50, keep: keepAll, isRead: true },
]

export async function store(options: SuiteOptions): Promise<StoreRow[]> {
  const rows: StoreRow[] = []
  console.log('\nstores without a bus, 1,000 in flight, 10 channels, 350-byte frames: appends/s, p99 ms')
  for (const setup of storesOf(options)) {
    await withServer(setup, async (env) => {
      for (const { what, perCall, keep, isRead } of cases) {
        const rates: number[] = []
        const p99s: number[] = []
        const raised = { ARQONBUS_MAX_HISTORY_SIZE: keep, ARQONBUS_LIMIT_MAX_BYTES_PER_STREAM: '2147483647' }
        for (let round = 0; round < options.rounds; round++) {
          const { rate, p99 } = await withStore(env, raised, (opened) => measure(opened, perCall, isRead))
          rates.push(rate)
          p99s.push(p99)
        }
        const row = { store: setup.name, what, rate: spreadOf(rates), p99Ms: spreadOf(p99s) }
        rows.push(row)
        const range = `[${thousands(row.rate.min)} … ${thousands(row.rate.max)}]`
        const shown = `${thousands(row.rate.median)} k/s  ${range}  p99 ${row.p99Ms.median.toFixed(1)}`
        console.log(`  ${setup.name.padEnd(18)} ${what.padEnd(34)} ${shown}`)
      }
    })
  }
  return rows
}

const frame = crypto.getRandomValues(new Uint8Array(frameBytes))
const hash = crypto.getRandomValues(new Uint8Array(16))
/** A server's data outlives a round: ids and channels must not. */
let run = 0

function request(n: number): AppendRequest {
  const key = { tenant: 'bench', room: `run-${run}`, channel: `channel-${n % channels}` }
  const id = `arq_1795466362345000000_${n}_a1b2c3`
  return { key, id, hash, sender: 'arq_client_0123456789abcdef0123456789abcdef', frame, atMs: Date.now() }
}

async function measure(opened: HistoryStore, perCall: number, isRead: boolean): Promise<{ rate: number; p99: number }> {
  run++
  const waits: number[] = []
  let next = 0
  async function publisher(): Promise<void> {
    while (next < total) {
      const first = next
      next += perCall
      const begun = performance.now()
      const results = await opened.append(Array.from({ length: perCall }, (_, i) => request(first + i)))
      if (results.some(({ kind }) => kind !== 'stored')) throw new Error('not stored')
      waits.push(performance.now() - begun)
    }
  }
  let isDone = false
  async function reader(): Promise<void> {
    const { key } = request(0)
    for (let after = 0; !isDone; ) {
      const page = await opened.readBySequence({ key, after, limit: 10_000, maxBytes: 2 ** 20 })
      after = page.at(-1)?.position.sequence ?? 0
      if (page.length === 0) await new Promise(setImmediate)
    }
  }
  const reading = isRead ? reader() : undefined
  const begun = performance.now()
  await Promise.all(Array.from({ length: inFlight / perCall }, publisher))
  const seconds = (performance.now() - begun) / 1_000
  isDone = true
  await reading
  return { rate: next / seconds, p99: quantile(waits, 0.99) }
}
