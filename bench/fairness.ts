// What one hard case costs everybody else: a fan-out to thousands (how late the event loop is), readers that stop
// reading (memory, and the latency of the others), and one flooder (a bystander's latency).
import type { RawSocket } from './load/raw-socket.ts'
import { createMarkerCounter } from './load/marker-counter.ts'
import { busPeer, ports, startBus } from './peers.ts'
import { quantile } from './statistics.ts'

export interface FairnessRow {
  readonly what: string
  readonly value: string
}

const peer = busPeer('protobuf')

/** One round: each row is already a quantile over thousands of messages. */
export async function fairness(): Promise<FairnessRow[]> {
  console.log('\nfairness')
  const rows = [await loopDelay(5_000), ...(await stalledReaders(1_000, 10)), ...(await flooder())]
  for (const { what, value } of rows) console.log(`  ${what.padEnd(60)} ${value}`)
  return rows
}

/** The longest the event loop was late while messages went to `subscribers`. */
async function loopDelay(subscribers: number): Promise<FairnessRow> {
  const server = await startBus()
  try {
    const members = await openMany(subscribers)
    const publisher = await peer.openPublisher()
    await latencies(publisher, members.slice(0, 1), 300, 100, 0) // warm
    await scrapeLoopDelay()
    await latencies(publisher, members.slice(0, 1), 300, 100, 10_000)
    const seconds = await scrapeLoopDelay()
    for (const member of members) member.close()
    return { what: `event loop late at most, S=${subscribers}, 100 msg/s`, value: `${(seconds * 1_000).toFixed(1)} ms` }
  } finally {
    await server.stop()
  }
}

async function stalledReaders(subscribers: number, stalled: number): Promise<FairnessRow[]> {
  const server = await startBus({ ARQONBUS_LIMIT_MAX_QUEUED_BYTES_PER_CLIENT: '1048576' })
  try {
    const members = await openMany(subscribers)
    const publisher = await peer.openPublisher()
    const watched = members.slice(stalled, stalled + 10)
    // The same load while everybody reads: what it costs by itself is no cost of those who stall.
    const quiet = await latencies(publisher, watched, 20_000, 2_000, 0)
    const before = server.residentBytes()
    for (const member of members.slice(0, stalled)) member.socket.pause()
    let highest = before
    const watching = setInterval(() => {
      highest = Math.max(highest, server.residentBytes())
    }, 100)
    const busy = await latencies(publisher, watched, 20_000, 2_000, 100_000)
    clearInterval(watching)
    for (const member of members) member.close()
    return [
      {
        what: `memory of ${stalled} stalled readers among ${subscribers}, at most`,
        value: `${((highest - before) / 2 ** 20).toFixed(1)} MiB`,
      },
      { what: 'p99 of the others, none stalled', value: `${quantile(quiet, 0.99).toFixed(2)} ms` },
      { what: `p99 of the others, ${stalled} stalled`, value: `${quantile(busy, 0.99).toFixed(2)} ms` },
    ]
  } finally {
    await server.stop()
  }
}

/** Default rate limits: the flooder is refused and cut, comes back, and floods again. */
async function flooder(): Promise<FairnessRow[]> {
  const server = await startBus({ ARQONBUS_LIMIT_MESSAGES_PER_SECOND: '500', ARQONBUS_LIMIT_MESSAGES_BURST: '1000' })
  try {
    const members = await openMany(10)
    const publisher = await peer.openPublisher()
    const quiet = await latencies(publisher, members, 1_000, 200, 0)
    let isOver = false
    const flood = (async () => {
      const noise = Buffer.concat(
        Array.from({ length: 5_000 }, (_, n) => peer.publishBytes('n'.repeat(128), 1_000_000 + n)),
      )
      while (!isOver) {
        const attacker = await peer.openPublisher()
        await new Promise<void>((resolve) => {
          attacker.socket.once('close', () => resolve())
          attacker.socket.on('error', () => resolve())
          attacker.socket.write(noise)
        })
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    })()
    const busy = await latencies(publisher, members, 2_000, 200, 500_000)
    isOver = true
    await flood
    for (const member of members) member.close()
    return [
      { what: 'p99 of a bystander, quiet', value: `${quantile(quiet, 0.99).toFixed(2)} ms` },
      { what: 'p99 of a bystander, one flooder', value: `${quantile(busy, 0.99).toFixed(2)} ms` },
    ]
  } finally {
    await server.stop()
  }
}

async function openMany(count: number): Promise<RawSocket[]> {
  const members: RawSocket[] = []
  while (members.length < count) {
    members.push(
      ...(await Promise.all(Array.from({ length: Math.min(50, count - members.length) }, () => peer.openSubscriber()))),
    )
  }
  return members
}

/** Publishes `total` messages at an even rate; milliseconds from each write to each receipt. */
async function latencies(
  publisher: RawSocket,
  members: readonly RawSocket[],
  total: number,
  perSecond: number,
  firstId: number,
): Promise<number[]> {
  const mark = `MARK${firstId}_`
  const sentAt: number[] = []
  const found: number[] = []
  const received = Promise.all(
    members.map((member) => {
      const count = createMarkerCounter(Buffer.from(mark))
      let seen = 0
      return new Promise<void>((resolve) => {
        member.onChunk = (chunk) => {
          const now = performance.now()
          for (let i = count(chunk); i > 0; i--) found.push(now - sentAt[seen++]!)
          if (seen === total) resolve()
        }
      })
    }),
  )
  const begun = performance.now()
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const due = Math.min(total, Math.floor(((performance.now() - begun) * perSecond) / 1_000))
      while (sentAt.length < due) {
        sentAt.push(performance.now())
        publisher.socket.write(peer.publishBytes(mark.padEnd(128, 'x'), firstId + sentAt.length))
      }
      if (sentAt.length < total) return
      clearInterval(timer)
      resolve()
    }, 1)
  })
  await received
  return found
}

async function scrapeLoopDelay(): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${ports.http}/metrics`)).text()
  return Number(/^arqonbus_event_loop_delay_max_seconds (\S+)/m.exec(text)?.[1])
}
