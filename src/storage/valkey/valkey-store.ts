// History on a Valkey or Redis server (7.0 or newer): a stream for each channel, every append one atomic script.
// The level of an acknowledgement is what the server says of its append-only file.
import type { Clock } from '../../base/clock.ts'
import { BusError } from '../../base/errors.ts'
import { randomHex } from '../../base/ids.ts'
import { describeError, type Logger } from '../../base/logger.ts'
import type { StreamKey } from '../../envelope/envelope.ts'
import type { ValkeyConnection } from '../../valkey/connection.ts'
import { asBytes, asList, asNumber, asText } from '../../valkey/replies.ts'
import { openValkey, type ValkeyClient } from '../../valkey/valkey-client.ts'
import { createAppendQueue } from '../append-queue.ts'
import { requireBatch } from '../append-rules.ts'
import { newEpoch } from '../epoch.ts'
import { type DedupWindow, fullBatchOfServers, type HistoryStore, type Retention, type StoreReport } from '../store.ts'
import { createTidier } from './tidier.ts'
import { createAppender, toReadFailure } from './appender.ts'
import { createKeyNames, type KeyNames } from './keys.ts'
import { createValkeyMirror, type ValkeyMirrorOptions } from './mirror.ts'
import { createReader } from './reader.ts'
import { isFsyncedFirst, levelOf, reportOf } from './report.ts'
import { appendScript, countIdsScript, headScript, pageScript, spanScript, tidyScript } from './scripts.ts'
import { createSeen, runScript } from './session.ts'

const maxBatch = 1024
/** A command unanswered for so long ends the connection; less than an append may take. */
const commandTimeoutMs = 1_500
const appendTimeoutMs = 2_000
const defaultTidyEveryMs = 10_000
/** A probe that was cut short leaves its key for so long. */
const probeKeptMs = 10_000

export interface ValkeyStoreOptions {
  /** redis, rediss, valkey, valkeys or unix. */
  readonly url: string
  readonly clock: Clock
  readonly retention: Retention
  readonly dedup: DedupWindow
  readonly logger: Logger
  /** Given: records are copied to the streams of earlier systems as well. */
  readonly mirror?: Pick<ValkeyMirrorOptions, 'toEnvelope' | 'maxEntries'>
  /** Parts histories that share a server. Default: `history`. */
  readonly family?: string
  /** How often idle streams are looked at for records past their age. Default: 10 s. */
  readonly tidyEveryMs?: number
  /** How often the server is asked again what it promises. Default: 60 s. */
  readonly refreshEveryMs?: number
}

/** Rejects as `openValkey` does. */
export async function openValkeyStore(options: ValkeyStoreOptions): Promise<HistoryStore> {
  const { url, clock, retention, dedup, logger, family = 'history', tidyEveryMs = defaultTidyEveryMs } = options
  const connect = (use: string): Promise<ValkeyClient> =>
    openValkey({
      url,
      name: `arqonbus-${use}`,
      logger,
      timeoutMs: commandTimeoutMs,
      attempts: 1, // whoever opens a store decides how often it is tried
      ...(options.refreshEveryMs !== undefined && { refreshEveryMs: options.refreshEveryMs }),
    })
  const client = await connect('history')
  const names = createKeyNames(family)
  const seen = createSeen()
  const baseEpoch = newEpoch(clock)
  const reader = createReader(client, names, seen)
  const appender = createAppender({ client, names, clock, retention, dedup, seen, baseEpoch })
  const queue = createAppendQueue({ timeoutMs: appendTimeoutMs, send: (group) => appender.send(group) })
  let identity: string
  let mirrorClient: ValkeyClient | undefined
  try {
    identity = await readIdentity(client.connection(), names)
    if (options.mirror !== undefined) mirrorClient = await connect('mirror')
  } catch (error) {
    await client.close()
    throw error
  }
  const mirror =
    options.mirror === undefined || mirrorClient === undefined
      ? undefined
      : createValkeyMirror({
          client: mirrorClient,
          names,
          reader: createReader(mirrorClient, names, seen),
          ...options.mirror,
          clock,
          logger,
        })
  loadScripts(client.connection())

  const stopListening = client.onEvent((event) => {
    if (event.kind === 'disconnected') return
    if (event.kind === 'connected') loadScripts(event.connection)
    void learnIdentity()
  })
  async function learnIdentity(): Promise<void> {
    try {
      identity = await readIdentity(client.connection(), names)
    } catch (error) {
      logger.warn('store.identity_failed', describeError(error)) // asked again with the next reading of the facts
    }
  }

  const tidy = createTidier(client, names, reader, { clock, retention, dedup })
  const tidying = setInterval(() => {
    if (!client.isConnected) return
    tidy().catch((error: unknown) => logger.warn('store.tidy.failed', describeError(error)))
  }, tidyEveryMs).unref()
  let closing: Promise<void> | undefined

  function requireOpen(): void {
    if (closing !== undefined)
      throw new BusError('STORE_UNAVAILABLE', 'History storage is closed', { reason: 'CLOSED' })
  }

  async function read<T>(doing: () => Promise<T>): Promise<T> {
    requireOpen()
    try {
      return await doing()
    } catch (error) {
      throw toReadFailure(error)
    }
  }

  async function head(key: StreamKey, known = seen.get(key)) {
    const connection = client.connection()
    const { meta, log, ids, order, sums } = names.of(key)
    const { facts } = connection
    const isDisk = isFsyncedFirst(facts) ? '1' : '0'
    const args = [String(baseEpoch), facts.runId, isDisk, String(known?.epoch ?? 0), String(known?.last ?? 0)]
    const reply = asList(await runScript(connection, headScript, [meta, log, ids, order, sums], args))
    const [epoch = 1, first = 1, last = 0] = reply.map(asNumber)
    seen.note(key, epoch, last)
    return { epoch, first, last }
  }

  async function finish(): Promise<void> {
    clearInterval(tidying)
    stopListening()
    await queue.drain()
    await Promise.all([client.close(), mirror?.stop(), mirrorClient?.close()])
  }

  const report = (): StoreReport => reportOf(client.facts, identity)
  return {
    capabilities: {
      backend: 'valkey',
      get level() {
        return levelOf(client.facts)
      },
      maxBatch,
      fullBatch: fullBatchOfServers,
    },
    async append(requests) {
      requireOpen()
      requireBatch(requests, maxBatch)
      if (requests.length === 0) return []
      const results = await queue.append(requests)
      mirror?.noteGrown(requests.map(({ key }) => key))
      return results
    },
    head: async (key) => await read(() => head(key)),
    async raiseEpoch(key) {
      // A stream that has less than was seen of it has its epoch raised.
      return await read(async () => head(key, { epoch: (await head(key)).epoch, last: Number.MAX_SAFE_INTEGER }))
    },
    readBySequence: async (query) => await read(() => reader.bySequence(query)),
    readByTime: async (query) => await read(() => reader.byTime(query)),
    streams: async (tenant, room) => await read(() => reader.streams(tenant, room)),
    stats: async (tenant) => await read(() => reader.stats(tenant)),
    report,
    get mirror() {
      return mirror?.state
    },
    async probe() {
      requireOpen()
      await probe(client.connection(), names)
    },
    close() {
      closing ??= finish()
      return closing
    },
  }
}

/** Ahead of their first use; where it is refused, each script is sent in full. */
function loadScripts(connection: ValkeyConnection): void {
  for (const { source } of [appendScript, headScript, pageScript, spanScript, tidyScript, countIdsScript]) {
    connection.send(['SCRIPT', 'LOAD', source]).catch(() => undefined)
  }
}

/** A random name kept with the data: where it is another one, so are the data. */
async function readIdentity(connection: ValkeyConnection, names: KeyNames): Promise<string> {
  if (connection.facts.role === 'master') {
    const setting = connection.send(['SET', names.identity, randomHex(16), 'NX'])
    setting.catch(() => undefined) // a server that cannot be written has its report say so; the name may be there
  }
  const reply = await connection.send(['GET', names.identity])
  return reply === null ? 'unknown' : asText(reply)
}

async function probe(connection: ValkeyConnection, names: KeyNames): Promise<void> {
  const unique = randomHex(16)
  const key = names.probe(unique)
  const [, got] = await Promise.all([
    connection.send(['SET', key, unique, 'PX', String(probeKeptMs)]),
    connection.send(['GET', key]),
    connection.send(['DEL', key]),
  ]).catch((error: unknown) => {
    throw toReadFailure(error)
  })
  if (got !== null && asBytes(got).toString() === unique) return
  throw new BusError('STORE_UNAVAILABLE', 'History storage does not read what it wrote', { reason: 'PROBE_LOST' })
}
