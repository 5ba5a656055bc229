// The projector: events a second into a durable Postgres, the lag of a steady stream over JetStream, and rebuilds of
// logs of several lengths with the memory that they take.
import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { startLane } from '../src/projector/lane.ts'
import { systemClock } from '../src/base/clock.ts'
import { createClosers } from '../src/base/closers.ts'
import { silentLogger } from '../src/base/logger.ts'
import { openEventQueue } from '../src/link/event-queue.ts'
import { parsePostgresAddress } from '../src/postgres/address.ts'
import { migrateUp } from '../src/postgres/migrations.ts'
import { openProjector } from '../src/projector/open-projector.ts'
import type { Outcome } from '../src/projector/projector.ts'
import { fromMicros } from '../src/projector/source-time.ts'
import { startEventServer } from '../test/support/launch/projector-lab.ts'
import { makeEvent, toBytes } from '../test/support/projector-model.ts'
import { programOf } from '../test/support/servers/neighbours.ts'
import { type PostgresServerProcess, startPostgresServer } from '../test/support/servers/postgres-server.ts'
import { quantile, type Spread, spreadOf } from './statistics.ts'
import { type SuiteOptions, thousands, writePlot } from './suite.ts'

const perRound = 50_000
const episodes = 5_000
const steadyRate = 2_000
const steadySeconds = 15

export interface ProjectorRows {
  readonly throughput: readonly { readonly workers: number; readonly batch: number; readonly rate: Spread }[]
  readonly lag?: { readonly rate: number; readonly p50Ms: number; readonly p95Ms: number; readonly p99Ms: number }
  readonly backfills: readonly { readonly events: number; readonly seconds: number; readonly peakMiB: number }[]
}

export async function projector(options: SuiteOptions): Promise<ProjectorRows> {
  const empty = { throughput: [], backfills: [] }
  if (programOf('postgres') === undefined) {
    console.log('\nprojector: left out, there is no postgres on this machine')
    return empty
  }
  const postgres = await startPostgresServer()
  try {
    await migrateUp({ address: parsePostgresAddress(postgres.url) })
    console.log('\nprojector into Postgres with fsync, events of 400 bytes over 5,000 episodes: events/s')
    const throughput = []
    for (const [workers, batch] of [
      [1, 100],
      [2, 100],
      [2, 500],
    ] as const) {
      const rates: number[] = []
      for (let round = 0; round < options.rounds; round++) rates.push(await measureRate(postgres, workers, batch))
      const rate = spreadOf(rates)
      throughput.push({ workers, batch, rate })
      const range = `[${thousands(rate.min)} … ${thousands(rate.max)}]`
      console.log(`  ${workers} workers, batches of ${batch}: ${thousands(rate.median)} k/s ${range}`)
    }
    const lag = programOf('nats') === undefined ? undefined : await measureLag(postgres)
    const backfills = await measureBackfills(postgres, options)
    return { throughput, ...(lag !== undefined && { lag }), backfills }
  } finally {
    await postgres.close()
  }
}

async function open(postgres: PostgresServerProcess, workers: number) {
  const url = await postgres.createDatabase('arqonbus')
  const closers = createClosers()
  const opened = await openProjector({
    address: parsePostgresAddress(url),
    workers,
    maxDeadLetters: 1_000,
    clock: systemClock,
    logger: silentLogger,
    closers,
  })
  return { url, closers, ...opened }
}

const bytesOf = (n: number): Uint8Array =>
  toBytes({
    ...makeEvent(n),
    agent_id: 'agent',
    episode_id: `episode-${(n * 7_919) % episodes}`,
    source_ts: fromMicros(1_771_580_000_000_000 + n).text,
  })

async function measureRate(postgres: PostgresServerProcess, workers: number, batch: number): Promise<number> {
  const { workers: opened, closers } = await open(postgres, workers)
  const messages = Array.from({ length: perRound }, (_, n) => bytesOf(n))
  let next = 0
  const begun = performance.now()
  await Promise.all(
    opened.map(async (worker) => {
      while (next < messages.length) {
        const part = messages.slice(next, next + batch)
        next += batch
        await worker.projector.project(part.map((raw) => ({ raw, source: 'nats' })))
      }
    }),
  )
  const seconds = (performance.now() - begun) / 1_000
  await closers.close()
  return perRound / seconds
}

async function measureLag(postgres: PostgresServerProcess): Promise<NonNullable<ProjectorRows['lag']>> {
  const events = await startEventServer()
  const { workers, closers } = await open(postgres, 2)
  const { subject, stream } = { subject: 'continuum.episode.v1', stream: 'CONTINUUM_EPISODES' }
  const server = { host: '127.0.0.1', port: events.server.port, isTls: false }
  const consumer = 'arqonbus-projector'
  const queue = await openEventQueue({
    servers: [server],
    subject,
    stream,
    consumer,
    ackWaitMs: 30_000,
    logger: silentLogger,
  })
  const lags: number[] = []
  function onBatch(outcomes: readonly Outcome[]): void {
    const nowMs = Date.now()
    for (const outcome of outcomes) {
      if (outcome.status !== 'dlq_queued') lags.push(nowMs - outcome.event.sourceTime.micros / 1_000)
    }
  }
  const lanes = workers.map(({ projector: of }) =>
    startLane({ source: queue, name: 'nats', projector: of, batch: 100, logger: silentLogger, onBatch }),
  )
  const begun = performance.now()
  let sent = 0
  const sending: Promise<void>[] = []
  while (sent < steadyRate * steadySeconds) {
    const due = Math.floor(((performance.now() - begun) / 1_000) * steadyRate)
    const part: Uint8Array[] = []
    for (; sent < due; sent++) {
      part.push(toBytes({ ...makeEvent(sent), source_ts: fromMicros(Math.floor(Date.now() * 1_000)).text }))
    }
    if (part.length > 0) sending.push(events.publish(part))
    await new Promise((resolve) => setTimeout(resolve, 5)) // the pace of the producer
  }
  await Promise.all(sending)
  const rate = sent / ((performance.now() - begun) / 1_000)
  while (lags.length < sent) await new Promise((resolve) => setTimeout(resolve, 10))
  await Promise.all(lanes.map((lane) => lane.close()))
  await queue.close()
  await closers.close()
  await events.close()
  const [p50Ms, p95Ms, p99Ms] = [quantile(lags, 0.5), quantile(lags, 0.95), quantile(lags, 0.99)]
  const shown = `p50 ${p50Ms.toFixed(1)}  p95 ${p95Ms.toFixed(1)}  p99 ${p99Ms.toFixed(1)} ms`
  console.log(`  lag at ${Math.round(rate)} events/s over JetStream: ${shown}`)
  return { rate, p50Ms, p95Ms, p99Ms }
}

async function measureBackfills(postgres: PostgresServerProcess, options: SuiteOptions) {
  const { workers, closers, url, sql } = await open(postgres, 2)
  const rows: ProjectorRows['backfills'][number][] = []
  let made = 0
  for (const length of options.lengths.toSorted((a, b) => a - b)) {
    await Promise.all(
      workers.map(async ({ projector: of }) => {
        while (made < length) {
          const from = made
          made = Math.min(length, made + 500)
          const numbers = Array.from({ length: made - from }, (_, i) => from + i)
          await of.project(numbers.map((n) => ({ raw: bytesOf(n), source: 'nats' })))
        }
      }),
    )
    await sql.query({ text: 'ANALYZE arqonbus_continuum_projection_events' })
    // As a program of its own, so that its memory is its own.
    const begun = performance.now()
    const { result, peakMiB } = await runBackfill(url)
    const seconds = (performance.now() - begun) / 1_000
    if (result['events'] !== length || result['updated'] !== 0 || result['inserted'] !== 0) {
      throw new Error(`a rebuild of what is right changed it: ${JSON.stringify(result)}`)
    }
    rows.push({ events: length, seconds, peakMiB })
    const rate = `${thousands(length / seconds)} k/s`
    console.log(`  backfill of ${length} events: ${seconds.toFixed(2)} s, ${rate}, peak RSS ${peakMiB.toFixed(0)} MiB`)
  }
  await closers.close()
  writePlot(options, 'projector-backfill.svg', {
    title: 'Rebuild of the projection, seconds by events in the log',
    x: 'events',
    lines: [{ name: 'backfill', points: rows.map(({ events, seconds }) => [events, seconds] as const) }],
  })
  return rows
}

const command = fileURLToPath(new URL('../bin/arqonbus.mjs', import.meta.url))

async function runBackfill(url: string): Promise<{ result: Record<string, unknown>; peakMiB: number }> {
  const child = spawn(process.execPath, [command, 'projector', 'backfill', '--json'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { PATH: process.env['PATH'], ARQONBUS_POSTGRES_URL: url },
  })
  let text = ''
  let peakKiB = 0
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const timer = setInterval(() => {
    readFile(`/proc/${child.pid}/status`, 'utf8').then(
      (status) => (peakKiB = Math.max(peakKiB, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0))),
      () => undefined,
    )
  }, 20)
  await new Promise((resolve) => child.once('close', resolve))
  clearInterval(timer)
  return { result: JSON.parse(text) as Record<string, unknown>, peakMiB: peakKiB / 1_024 }
}
