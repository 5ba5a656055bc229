// `npm run bench [suite …]`: measures the bus beside nats-server and redis-server where they are on PATH, prints
// tables with ratios, writes JSON and SVG plots under .bench/. Servers run on core 0, the load on core 1.
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type FanOutRow, measureFanOut } from './fan-out.ts'
import { type FairnessRow, measureFairness } from './fairness.ts'
import { type IdleRow, measureIdle } from './idle.ts'
import { type IngestRow, measureIngest } from './ingest.ts'
import { type LatencyRow, measureLatency } from './latency.ts'
import {
  busPeer,
  embeddedIngest,
  jetStreamIngest,
  memoryIngest,
  natsPeer,
  raisedLimits,
  redisIngest,
  redisPeer,
} from './peers.ts'
import { plot } from './plot.ts'

const suites = ['fan-out', 'latency', 'ingest', 'fairness', 'idle'] as const
type Suite = (typeof suites)[number]

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    subscribers: { type: 'string', default: '1,10,100,1000,2000' },
    rounds: { type: 'string', default: '5' },
    sessions: { type: 'string', default: '10000' },
    out: { type: 'string', default: '.bench' },
  },
})
const wanted = positionals.length === 0 ? suites : positionals
for (const name of wanted) {
  if (!(suites as readonly string[]).includes(name)) {
    console.error(`no suite is called ${name}; there are ${suites.join(', ')}`)
    process.exit(64)
  }
}
// The load keeps off the core of the server it measures.
if (process.env['ARQONBUS_BENCH_PINNED'] === undefined) {
  const { status } = spawnSync('taskset', ['-c', '1', process.execPath, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, ARQONBUS_BENCH_PINNED: '1' },
  })
  process.exit(status ?? 1)
}

const rounds = Number(values.rounds)
const results: Record<string, unknown> = {
  at: new Date().toISOString(),
  node: process.version,
  cpu: cpus()[0]?.model,
  versions: { nats: versionOf('nats-server', '-v'), redis: versionOf('redis-server', '-v') },
  raisedLimits,
}

for (const suite of wanted as readonly Suite[]) {
  if (suite === 'fan-out') results[suite] = await fanOut()
  else if (suite === 'latency') results[suite] = await latency()
  else if (suite === 'ingest') results[suite] = await ingest()
  else if (suite === 'fairness') results[suite] = await fairness()
  else results[suite] = await idle()
}
mkdirSync(values.out, { recursive: true })
writeFileSync(join(values.out, 'results.json'), `${JSON.stringify(results, null, 2)}\n`)
console.log(
  `\nraised limits: ${Object.entries(raisedLimits)
    .map(([k, v]) => `${k}=${v}`)
    .join(' ')}`,
)
console.log(`written: ${join(values.out, 'results.json')}`)
process.exit(0)

async function fanOut(): Promise<FanOutRow[]> {
  const peers = [busPeer('protobuf'), busPeer('json'), natsPeer(), redisPeer()].filter(({ isAvailable }) => isAvailable)
  const rows: FanOutRow[] = []
  console.log('\nfan-out, 128-byte payloads, ack none, no persistence: deliveries/s (median of rounds)')
  for (const subscribers of values.subscribers.split(',').map(Number)) {
    for (const peer of peers) {
      const row = await measureFanOut(peer, subscribers, rounds)
      rows.push(row)
      const nats = rows.find((one) => one.subscribers === subscribers && one.server.startsWith('nats'))
      console.log(
        `  S=${String(subscribers).padEnd(5)} ${row.server.padEnd(18)} ${millions(row.rate.median)} M/s  [${millions(row.rate.min)} … ${millions(row.rate.max)}]  ${row.cpuMicros.toFixed(3)} µs CPU`,
      )
      if (nats === row) {
        for (const own of rows.filter((one) => one.subscribers === subscribers && one !== nats)) {
          console.log(`         ${own.server} = ${(own.rate.median / nats.rate.median).toFixed(2)} × nats-server`)
        }
      }
    }
  }
  mkdirSync(values.out, { recursive: true })
  const lines = peers.map(({ name }) => ({
    name,
    points: rows.filter((row) => row.server === name).map((row) => [row.subscribers, row.rate.median] as const),
  }))
  writeFileSync(
    join(values.out, 'fan-out.svg'),
    plot({ title: 'Fan-out: deliveries a second', x: 'subscribers', lines }),
  )
  return rows
}

async function latency(): Promise<LatencyRow[]> {
  const rows: LatencyRow[] = []
  console.log('\nlatency at 1,000 messages/s, S=100: publish to receipt, ms')
  for (const peer of [busPeer('protobuf'), busPeer('json'), natsPeer(), redisPeer()]) {
    if (!peer.isAvailable) continue
    const row = await measureLatency(peer, 100, rounds)
    rows.push(row)
    console.log(
      `  ${row.server.padEnd(18)} p50 ${row.p50Ms.median.toFixed(2)}  p99 ${row.p99Ms.median.toFixed(2)}  [${row.p99Ms.min.toFixed(2)} … ${row.p99Ms.max.toFixed(2)}]`,
    )
  }
  return rows
}

async function ingest(): Promise<IngestRow[]> {
  const rows: IngestRow[] = []
  console.log('\nacknowledged publishes, 1,000 in flight: acks/s, p99 ms')
  for (const peer of [embeddedIngest(), memoryIngest(), jetStreamIngest(), redisIngest()]) {
    if (!peer.isAvailable) continue
    const row = await measureIngest(peer, rounds)
    rows.push(row)
    console.log(
      `  ${row.server.padEnd(26)} ${(row.rate.median / 1_000).toFixed(1)} k/s  [${(row.rate.min / 1_000).toFixed(1)} … ${(row.rate.max / 1_000).toFixed(1)}]  p99 ${row.p99Ms.median.toFixed(1)}`,
    )
  }
  const jetStream = rows.find(({ server }) => server.startsWith('nats'))
  for (const row of rows) {
    if (jetStream !== undefined && row !== jetStream)
      console.log(`         ${row.server} = ${(row.rate.median / jetStream.rate.median).toFixed(2)} × jetstream`)
  }
  return rows
}

async function fairness(): Promise<FairnessRow[]> {
  console.log('\nfairness')
  const rows = await measureFairness()
  for (const { what, value } of rows) console.log(`  ${what.padEnd(60)} ${value}`)
  return rows
}

async function idle(): Promise<IdleRow> {
  console.log('\nidle sessions, joined and authenticated')
  const row = await measureIdle(Number(values.sessions))
  console.log(`  ${row.sessions} sessions: ${(row.bytesPerSession / 1024).toFixed(1)} KiB each`)
  return row
}

function millions(value: number): string {
  return (value / 1e6).toFixed(3)
}

function versionOf(command: string, flag: string): string | undefined {
  const { status, stdout } = spawnSync(command, [flag])
  return status === 0 ? stdout.toString().trim().split('\n')[0] : undefined
}
