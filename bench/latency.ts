// End-to-end latency at 1,000 messages a second with S subscribers: from the write of a publish until each subscriber
// has it. One stamp per message; a subscriber's receipt is the chunk that brings its marker.
import { createMarkerCounter } from './load/marker-counter.ts'
import { busPeer, type FanOutPeer, natsPeer, redisPeer } from './peers.ts'
import { quantile, type Spread, spreadOf } from './statistics.ts'
import type { SuiteOptions } from './suite.ts'

export interface LatencyRow {
  readonly server: string
  readonly subscribers: number
  readonly p50Ms: Spread
  readonly p99Ms: Spread
}

const perSecond = 1_000
const seconds = 3
/** Stands once in every payload. */
const marker = 'LATENCYMARK'

export async function latency({ rounds }: SuiteOptions): Promise<LatencyRow[]> {
  const rows: LatencyRow[] = []
  console.log('\nlatency at 1,000 messages/s, S=100: publish to receipt, ms')
  for (const peer of [busPeer('protobuf'), busPeer('json'), natsPeer(), redisPeer()]) {
    if (!peer.isAvailable) continue
    const row = await measureLatency(peer, 100, rounds)
    rows.push(row)
    const { median, min, max } = row.p99Ms
    const range = `[${min.toFixed(2)} … ${max.toFixed(2)}]`
    console.log(`  ${row.server.padEnd(18)} p50 ${row.p50Ms.median.toFixed(2)}  p99 ${median.toFixed(2)}  ${range}`)
  }
  const nats = rows.find(({ server }) => server.startsWith('nats'))
  for (const row of rows) {
    if (nats === undefined || row === nats) continue
    console.log(`         p99 of ${row.server} = ${(row.p99Ms.median / nats.p99Ms.median).toFixed(2)} × ${nats.server}`)
  }
  return rows
}

async function measureLatency(peer: FanOutPeer, subscribers: number, rounds: number): Promise<LatencyRow> {
  const server = await peer.start()
  try {
    const members = []
    for (let i = 0; i < subscribers; i++) members.push(await peer.openSubscriber())
    const publisher = await peer.openPublisher()
    const p50s: number[] = []
    const p99s: number[] = []
    let n = 0
    for (let round = -1; round < rounds; round++) {
      const total = perSecond * seconds
      const sentAt: number[] = []
      const latencies: number[] = []
      const received = Promise.all(
        members.map((member) => {
          const count = createMarkerCounter(Buffer.from(marker))
          let seen = 0
          return new Promise<void>((resolve) => {
            member.onChunk = (chunk) => {
              const now = performance.now()
              for (let i = count(chunk); i > 0; i--) latencies.push(now - sentAt[seen++]!)
              if (seen === total) resolve()
            }
          })
        }),
      )
      await pace(total, () => {
        sentAt.push(performance.now())
        publisher.socket.write(peer.publishBytes(marker.padEnd(128, 'x'), n++))
      })
      await received
      if (round < 0) continue
      p50s.push(quantile(latencies, 0.5))
      p99s.push(quantile(latencies, 0.99))
    }
    for (const member of members) member.close()
    publisher.close()
    return { server: peer.name, subscribers, p50Ms: spreadOf(p50s), p99Ms: spreadOf(p99s) }
  } finally {
    await server.stop()
  }
}

/** Calls `send` `total` times at an even rate, catching up after a late timer. */
function pace(total: number, send: () => void): Promise<void> {
  const begun = performance.now()
  let sent = 0
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const due = Math.min(total, Math.floor(((performance.now() - begun) * perSecond) / 1_000))
      for (; sent < due; sent++) send()
      if (sent < total) return
      clearInterval(timer)
      resolve()
    }, 1)
  })
}
