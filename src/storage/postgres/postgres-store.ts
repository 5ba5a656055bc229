// History in a Postgres database: one call for each group of appends on a connection of its own, reads beside it, a
// level that the server itself vouches for. Settles within 2 s whatever the server does.
import type { Clock } from '../../base/clock.ts'
import { BusError } from '../../base/errors.ts'
import { randomHex } from '../../base/ids.ts'
import { describeError, type Logger } from '../../base/logger.ts'
import type { Position, StreamKey } from '../../envelope/envelope.ts'
import { parsePostgresAddress } from '../../postgres/address.ts'
import {
  type ConnectionLimits,
  hotLimits,
  keepConnection,
  type KeptConnection,
  type PostgresConnection,
} from '../../postgres/connection.ts'
import { compare, requireKnown } from '../../postgres/migrations.ts'
import { createAppendQueue } from '../append-queue.ts'
import { requireBatch } from '../append-rules.ts'
import { newEpoch } from '../epoch.ts'
import {
  type AppendRequest,
  type AppendResult,
  type DedupWindow,
  fullBatchOfServers,
  type HistoryStore,
  type Retention,
  type StoreCapabilities,
  type StoreReport,
  type StreamHead,
} from '../store.ts'
import { streamName } from '../stream-name.ts'
import { createAppendCall } from './append-call.ts'
import { createPostgresMirror, type FrameToJson } from './mirror.ts'
import { createReader, prepareReader } from './reader.ts'
import { readReport, requireSchema, settleLife } from './server-state.ts'
import { createTrimmer, prepareTrimmer } from './trimmer.ts'

const maxBatch = 1024
/** An append has settled after this. */
const appendTimeoutMs = 2_000
const reportEveryMs = 60_000
const readers = 2
const readLimits: ConnectionLimits = { connectMs: 950, answerMs: 1_900, statementMs: 1_800 }
const trimLimits: ConnectionLimits = { connectMs: 950, answerMs: 10_000, statementMs: 9_000 }

export interface PostgresStoreOptions {
  /** postgresql://user:password@host:port/database */
  readonly url: string
  readonly clock: Clock
  readonly retention: Retention
  readonly dedup: DedupWindow
  readonly logger: Logger
  /** Given: records are copied to `arqonbus_message_history` as well. */
  readonly mirrorAs?: FrameToJson
}

/**
 * Rejects with STORE_OPEN_FAILED (reasons DENIED, NO_DATABASE, SCHEMA_MISSING, EDITED_MIGRATION, NEWER_SCHEMA) where
 * somebody has to change something, with STORE_UNAVAILABLE where waiting may help.
 */
export async function openPostgresStore(options: PostgresStoreOptions): Promise<HistoryStore> {
  const { url, clock, retention, dedup, logger, mirrorAs } = options
  const address = parsePostgresAddress(url)
  const openEpoch = newEpoch(clock)
  const opened: KeptConnection[] = []
  /** The newest position acknowledged in each stream: what the server may never be behind. */
  const known = new Map<string, Position>()
  let report: StoreReport | undefined
  let capabilities: StoreCapabilities | undefined

  function take(read: StoreReport): void {
    report = read
    capabilities = { backend: 'postgres', level: read.level, maxBatch, fullBatch: fullBatchOfServers }
  }

  async function prepareAppender(connection: PostgresConnection): Promise<void> {
    requireKnown(await compare(connection))
    await requireSchema(connection)
    const read = await readReport(connection)
    take(read)
    const isReadOnly = read.faults.some(({ code }) => code === 'READ_ONLY')
    if (!isReadOnly) await settleLife(connection, read.level, newEpoch(clock))
  }

  async function keep(
    name: string,
    limits: ConnectionLimits,
    prepare: (connection: PostgresConnection) => Promise<void>,
  ): Promise<KeptConnection> {
    const connection = await keepConnection({ address, limits, logger, name, prepare })
    opened.push(connection)
    return connection
  }

  const closeAll = (): Promise<unknown> => Promise.all(opened.map((connection) => connection.close()))
  let appender: KeptConnection
  const reading: KeptConnection[] = []
  let trimming: KeptConnection
  let mirroring: KeptConnection | undefined
  try {
    appender = await keep('append', hotLimits, prepareAppender)
    trimming = await keep('trim', trimLimits, prepareTrimmer)
    if (mirrorAs !== undefined) mirroring = await keep('mirror', trimLimits, prepareTrimmer)
    // One after the other: none may come up after the failure of another has closed them all.
    while (reading.length < readers) reading.push(await keep('read', readLimits, prepareReader))
  } catch (error) {
    await closeAll()
    throw error
  }

  const reader = createReader(reading)
  const trimmer = createTrimmer({ connection: trimming, retention, dedup, clock, logger })
  const mirror =
    mirrorAs === undefined || mirroring === undefined
      ? undefined
      : createPostgresMirror({ connection: mirroring, toJson: mirrorAs, clock, logger })
  const queue = createAppendQueue({ timeoutMs: appendTimeoutMs, send })
  const probeName = `probe-${randomHex(8)}`
  const reporting = setInterval(() => {
    readReport(appender).then(take, (error: unknown) => logger.warn('store.report_failed', describeError(error)))
  }, reportEveryMs).unref()
  let closing: Promise<void> | undefined

  async function call(
    group: readonly AppendRequest[],
    keys: readonly StreamKey[] = [],
  ): Promise<readonly AppendResult[]> {
    const made = createAppendCall(
      group,
      { dedup, nowMs: clock.now(), newEpoch: openEpoch, known: (name) => known.get(name) },
      keys,
    )
    const [row] = await appender.query(made.statement)
    const { results, streams } = made.read(row ?? {})
    for (const { name, newest } of streams) if (newest !== undefined) known.set(name, newest)
    const grown = streams.filter(({ newest }) => newest !== undefined).map(({ row: streamRow }) => streamRow)
    trimmer.noteGrown(grown)
    mirror?.noteGrown(grown)
    return results
  }

  async function send(group: readonly AppendRequest[]): Promise<readonly AppendResult[]> {
    return await call(group)
  }

  function requireOpen(): void {
    if (closing !== undefined)
      throw new BusError('STORE_UNAVAILABLE', 'History storage is closed', { reason: 'CLOSED' })
  }

  async function head(key: StreamKey): Promise<StreamHead> {
    const found = await reader.head(key, openEpoch)
    const position = known.get(streamName(key))
    const isBehind =
      position !== undefined &&
      (found.epoch < position.epoch || (found.epoch === position.epoch && found.last < position.sequence))
    if (!isBehind) return found
    // The append function looks again under the lock: what was read may only have been older than the answer known.
    await call([], [key])
    return await reader.head(key, openEpoch)
  }

  /** A stream that is behind what is known of it has its epoch raised. */
  async function raiseEpoch(key: StreamKey): Promise<StreamHead> {
    const name = streamName(key)
    const { epoch } = await reader.head(key, openEpoch)
    known.set(name, { epoch, sequence: Number.MAX_SAFE_INTEGER })
    try {
      await call([], [key])
    } finally {
      known.delete(name)
    }
    return await reader.head(key, openEpoch)
  }

  async function probe(): Promise<void> {
    const values = [probeName, Math.floor(clock.now())]
    await appender.query({
      text: 'INSERT INTO arqonbus_probe VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET at_ms = excluded.at_ms',
      values,
    })
    const [row] = await appender.query({
      text: 'SELECT at_ms FROM arqonbus_probe WHERE name = $1',
      values: [probeName],
    })
    if (row?.['at_ms'] !== values[1]) {
      throw new BusError('STORE_UNAVAILABLE', 'History storage does not read what it wrote', { reason: 'PROBE_LOST' })
    }
    await appender.query({ text: 'DELETE FROM arqonbus_probe WHERE name = $1', values: [probeName] })
  }

  async function finish(): Promise<void> {
    clearInterval(reporting)
    await queue.drain()
    // A step under way ends with its connection: one on a server that stands still would be long in coming.
    await Promise.all([trimmer.stop(), mirror?.stop(), closeAll()])
  }

  return {
    get capabilities() {
      return capabilities! // read before the first connection is handed out
    },
    async append(requests) {
      requireOpen()
      requireBatch(requests, maxBatch)
      return requests.length === 0 ? [] : await queue.append(requests)
    },
    async head(key) {
      requireOpen()
      return await head(key)
    },
    async raiseEpoch(key) {
      requireOpen()
      return await raiseEpoch(key)
    },
    async readBySequence(query) {
      requireOpen()
      return await reader.readBySequence(query)
    },
    async readByTime(query) {
      requireOpen()
      return await reader.readByTime(query)
    },
    async streams(tenant, room) {
      requireOpen()
      return await reader.streams(tenant, room)
    },
    async stats(tenant) {
      requireOpen()
      return await reader.stats(tenant)
    },
    report: () => report!,
    get mirror() {
      return mirror?.state
    },
    async probe() {
      requireOpen()
      await probe()
    },
    close() {
      closing ??= finish()
      return closing
    },
  }
}
