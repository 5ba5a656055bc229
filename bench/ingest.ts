// Acknowledged durable publishes: 1,000 in flight, 128-byte payloads (performance.md). Acks come in the order of the
// publishes, so the nth ack ends the nth latency.
import { createMarkerCounter } from './load/marker-counter.ts'
import type { MeasuredProcess } from './load/processes.ts'
import type { RawSocket } from './load/raw-socket.ts'
import { busIngest, jetStreamIngest, redisIngest } from './ingest-peers.ts'
import { quantile, type Spread, spreadOf } from './statistics.ts'
import { storesOf, withServer } from './stores.ts'
import { type SuiteOptions, thousands } from './suite.ts'

export interface IngestPeer {
  readonly name: string
  readonly isAvailable: boolean
  start(): Promise<MeasuredProcess>
  openPublisher(): Promise<RawSocket>
  publishBytes(payload: string, n: number): Buffer
  /** Stands exactly once in each answer. */
  readonly answerMarker: string
}

export interface IngestRow {
  readonly server: string
  /** Acknowledgements a second. */
  readonly rate: Spread
  readonly p99Ms: Spread
  /** CPU of the measured server for one acknowledgement, microseconds; of a store beside it nothing. */
  readonly cpuUs: Spread
}

const window = 1_000
const messages = 40_000
const giveUpMs = 60_000

export async function ingest(options: SuiteOptions): Promise<IngestRow[]> {
  const rows: IngestRow[] = []
  console.log('\nacknowledged publishes, 1,000 in flight: acks/s, p99 ms, server CPU µs')
  for (const setup of storesOf(options)) {
    await withServer(setup, async (env) => void rows.push(await measure(busIngest(setup, env), options.rounds)))
  }
  for (const peer of [jetStreamIngest(), redisIngest()]) {
    if (peer.isAvailable) rows.push(await measure(peer, options.rounds))
  }
  const jetStream = rows.find(({ server }) => server.startsWith('nats'))
  for (const row of rows) {
    if (jetStream === undefined || row === jetStream) continue
    console.log(
      `         ${row.server} = ${(row.rate.median / jetStream.rate.median).toFixed(2)} × ${jetStream.server}`,
    )
  }
  return rows
}

async function measure(peer: IngestPeer, rounds: number): Promise<IngestRow> {
  const row = await measureIngest(peer, rounds)
  const { median, min, max } = row.rate
  const range = `[${thousands(min)} … ${thousands(max)}]`
  console.log(
    `  ${row.server.padEnd(34)} ${thousands(median)} k/s  ${range}  p99 ${row.p99Ms.median.toFixed(1)}  ${row.cpuUs.median.toFixed(1)} µs`,
  )
  return row
}

export async function measureIngest(peer: IngestPeer, rounds: number): Promise<IngestRow> {
  const server = await peer.start()
  try {
    const publisher = await peer.openPublisher()
    const rates: number[] = []
    const p99s: number[] = []
    const cpus: number[] = []
    let n = 0
    for (let round = -1; round < rounds; round++) {
      const frames = Array.from({ length: messages }, () => peer.publishBytes('x'.repeat(128), n++))
      const cpuBefore = server.cpuSeconds()
      const { seconds, latencies } = await run(publisher, frames, peer.answerMarker)
      if (round < 0) continue // the first warms up
      rates.push(messages / seconds)
      p99s.push(quantile(latencies, 0.99))
      cpus.push(((server.cpuSeconds() - cpuBefore) / messages) * 1e6)
    }
    publisher.close()
    return { server: peer.name, rate: spreadOf(rates), p99Ms: spreadOf(p99s), cpuUs: spreadOf(cpus) }
  } finally {
    await server.stop()
  }
}

function run(
  publisher: RawSocket,
  frames: readonly Buffer[],
  marker: string,
): Promise<{ seconds: number; latencies: number[] }> {
  const count = createMarkerCounter(Buffer.from(marker))
  const sentAt: number[] = []
  const latencies: number[] = []
  let sent = 0
  const begun = performance.now()

  function send(upTo: number): void {
    if (sent >= upTo) return
    const batch = frames.slice(sent, upTo)
    const now = performance.now()
    for (let i = 0; i < batch.length; i++) sentAt.push(now)
    sent = upTo
    publisher.socket.write(Buffer.concat(batch))
  }

  return new Promise((resolve, reject) => {
    // Refused publishes are not acknowledged: without an end to waiting nobody would learn of them.
    const timer = setTimeout(() => {
      reject(new Error(`${latencies.length} of ${frames.length} publishes were acknowledged in ${giveUpMs} ms`))
    }, giveUpMs)
    publisher.onChunk = (chunk) => {
      const now = performance.now()
      for (let i = count(chunk); i > 0; i--) latencies.push(now - sentAt[latencies.length]!)
      if (latencies.length === frames.length) {
        publisher.onChunk = undefined
        clearTimeout(timer)
        resolve({ seconds: (now - begun) / 1_000, latencies })
      } else send(Math.min(frames.length, latencies.length + window))
    }
    send(Math.min(frames.length, window))
  })
}
