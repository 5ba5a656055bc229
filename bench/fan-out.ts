// Fan-out: one publisher, S subscribers of one channel; the time from the first publish until the last subscriber has
// the last message (performance.md). The median of five, with the spread.
import { busPeer, type FanOutPeer, natsPeer, redisPeer } from './peers.ts'
import { quantile, type Spread, spreadOf } from './statistics.ts'
import { millions, type SuiteOptions, writePlot } from './suite.ts'

export interface FanOutRow {
  readonly server: string
  readonly subscribers: number
  readonly messages: number
  /** Deliveries a second. */
  readonly rate: Spread
  /** Server CPU, microseconds for each delivery. */
  readonly cpuMicros: number
}

export async function fanOut(options: SuiteOptions): Promise<FanOutRow[]> {
  const peers = [busPeer('protobuf'), busPeer('json'), natsPeer(), redisPeer()].filter(({ isAvailable }) => isAvailable)
  const rows: FanOutRow[] = []
  console.log('\nfan-out, 128-byte payloads, ack none, no persistence: deliveries/s (median of rounds)')
  for (const subscribers of options.subscribers) {
    for (const peer of peers) {
      const row = await measureFanOut(peer, subscribers, options.rounds)
      rows.push(row)
      printFanOut(row)
    }
    const [nats, ...own] = rows.filter((row) => row.subscribers === subscribers).toSorted(natsFirst)
    if (nats === undefined || !nats.server.startsWith('nats')) continue
    for (const row of own) console.log(`         ${row.server} = ${ratio(row, nats)} × ${nats.server}`)
  }
  const lines = peers.map(({ name }) => ({
    name,
    points: rows.filter((row) => row.server === name).map((row) => [row.subscribers, row.rate.median] as const),
  }))
  writePlot(options, 'fan-out.svg', { title: 'Fan-out: deliveries a second', x: 'subscribers', lines })
  return rows
}

export function printFanOut({ server, subscribers, rate, cpuMicros }: FanOutRow): void {
  const range = `[${millions(rate.min)} … ${millions(rate.max)}]`
  const size = `S=${String(subscribers).padEnd(5)}`
  console.log(`  ${size} ${server.padEnd(28)} ${millions(rate.median)} M/s  ${range}  ${cpuMicros.toFixed(3)} µs CPU`)
}

export const ratio = (row: FanOutRow, other: FanOutRow): string => (row.rate.median / other.rate.median).toFixed(2)
const natsFirst = (a: FanOutRow, b: FanOutRow): number =>
  Number(b.server.startsWith('nats')) - Number(a.server.startsWith('nats'))

/** As many messages as keep one run near a second at some millions of deliveries a second. */
function messagesFor(subscribers: number): number {
  return Math.max(500, Math.min(200_000, Math.round(3_000_000 / subscribers)))
}

export async function measureFanOut(peer: FanOutPeer, subscribers: number, rounds = 5): Promise<FanOutRow> {
  const server = await peer.start()
  try {
    const members = []
    for (let i = 0; i < subscribers; i++) members.push(await peer.openSubscriber())
    const publisher = await peer.openPublisher()
    const messages = messagesFor(subscribers)
    let n = 0
    const rates: number[] = []
    const cpu: number[] = []
    for (let round = -1; round < rounds; round++) {
      const end = `END${round}X`.padEnd(24, '!')
      const chunks: Buffer[] = []
      for (let i = 0; i < messages; i++) {
        chunks.push(peer.publishBytes(i === messages - 1 ? end.padEnd(128, 'e') : 'x'.repeat(128), n++))
      }
      const bytes = Buffer.concat(chunks)
      const done = Promise.all(members.map((member) => member.expect(Buffer.from(end))))
      const cpuBefore = server.cpuSeconds()
      const begun = performance.now()
      await write(publisher.socket, bytes)
      await done
      const seconds = (performance.now() - begun) / 1_000
      if (round < 0) continue // the first warms up
      rates.push((messages * subscribers) / seconds)
      cpu.push(((server.cpuSeconds() - cpuBefore) * 1e6) / (messages * subscribers))
    }
    for (const member of members) member.close()
    publisher.close()
    return {
      server: peer.name,
      subscribers,
      messages,
      rate: spreadOf(rates),
      cpuMicros: quantile(cpu, 0.5),
    }
  } finally {
    await server.stop()
  }
}

/** In pieces, waiting for the socket, so that the publisher is limited by the server and not by its own memory. */
async function write(socket: import('node:net').Socket, bytes: Buffer): Promise<void> {
  const piece = 256 * 1024
  for (let offset = 0; offset < bytes.length; offset += piece) {
    if (!socket.write(bytes.subarray(offset, offset + piece)))
      await new Promise((resolve) => socket.once('drain', resolve))
  }
}
