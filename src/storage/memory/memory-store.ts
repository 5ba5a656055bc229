// History in the memory of this process: a ring for each stream, level `memory`. A restart loses all and has a new epoch.
import type { Clock } from '../../base/clock.ts'
import { BusError } from '../../base/errors.ts'
import type { StreamKey } from '../../envelope/envelope.ts'
import { requireBatch } from '../append-rules.ts'
import { newEpoch } from '../epoch.ts'
import type { AppendRequest, AppendResult, DedupWindow, HistoryStore, Retention, StoreStats } from '../store.ts'
import { streamName } from '../stream-name.ts'
import { compareKeys, mergeByTime } from '../time-merge.ts'
import { IdWindow } from './id-window.ts'
import { MemoryStream } from './memory-stream.ts'

const maxBatch = 1024
// Streams looked at for records past their age with each append, so that idle ones are trimmed too.
const sweptPerAppend = 4

interface Tenant {
  readonly streams: Map<string, MemoryStream>
  readonly window: IdWindow
}

export interface MemoryStoreOptions {
  readonly clock: Clock
  readonly retention: Retention
  readonly dedup: DedupWindow
  /** Default: from the clock, rising by one every millisecond. */
  readonly epoch?: number
}

export function createMemoryStore(options: MemoryStoreOptions): HistoryStore {
  const { clock, retention, dedup, epoch = newEpoch(options.clock) } = options
  const tenants = new Map<string, Tenant>()
  let sweep: Iterator<MemoryStream> = allStreams()
  let isClosed = false

  function* allStreams(): Generator<MemoryStream, undefined> {
    for (const tenant of tenants.values()) yield* tenant.streams.values()
  }

  function requireOpen(): void {
    if (isClosed) throw new BusError('STORE_UNAVAILABLE', 'History storage is closed', { reason: 'CLOSED' })
  }

  function streamOf(key: StreamKey): MemoryStream | undefined {
    const stream = tenants.get(key.tenant)?.streams.get(streamName(key))
    stream?.trim(retention, clock.now())
    return stream
  }

  /** Of one tenant, and one room and channel where given; in order of name. */
  function select(tenant: string | undefined, room?: string, channel?: string): MemoryStream[] {
    if (tenant !== undefined && room !== undefined && channel !== undefined) {
      const stream = streamOf({ tenant, room, channel })
      return stream === undefined ? [] : [stream]
    }
    const all = tenant === undefined ? allStreams() : (tenants.get(tenant)?.streams.values() ?? [])
    const found: MemoryStream[] = []
    for (const stream of all) {
      if (room !== undefined && stream.key.room !== room) continue
      if (channel !== undefined && stream.key.channel !== channel) continue
      stream.trim(retention, clock.now())
      if (stream.length > 0) found.push(stream)
    }
    return found
  }

  function appendOne(request: AppendRequest, nowMs: number): AppendResult {
    let tenant = tenants.get(request.key.tenant)
    if (tenant === undefined) {
      tenant = { streams: new Map(), window: new IdWindow(dedup) }
      tenants.set(request.key.tenant, tenant)
    }
    const name = streamName(request.key)
    // An id has no NUL (base/ids), so the last NUL parts the two whatever the names hold.
    const idName = `${name}\0${request.id}`
    const hash = String.fromCharCode(...request.hash)
    const earlier = tenant.window.find(idName, nowMs)
    if (earlier !== undefined) {
      if (earlier.hash !== hash) return { kind: 'conflict' }
      return { kind: 'duplicate', position: { epoch, sequence: earlier.sequence } }
    }
    if (!tenant.window.hasRoom(nowMs)) return { kind: 'dedup-full' }
    let stream = tenant.streams.get(name)
    if (stream === undefined) {
      stream = new MemoryStream(request.key)
      tenant.streams.set(name, stream)
    }
    const { position } = stream.append(request, epoch)
    stream.trim(retention, nowMs)
    tenant.window.remember(idName, { sequence: position.sequence, hash, atMs: nowMs })
    return { kind: 'stored', position }
  }

  function sweepSome(nowMs: number): void {
    for (let i = 0; i < sweptPerAppend; i++) {
      const next = sweep.next()
      if (next.done === true) {
        sweep = allStreams()
        return
      }
      next.value.trim(retention, nowMs)
    }
  }

  return {
    capabilities: { backend: 'memory', level: 'memory', maxBatch },
    async append(requests) {
      requireOpen()
      requireBatch(requests, maxBatch)
      const nowMs = clock.now()
      const results = requests.map((request) => appendOne(request, nowMs))
      sweepSome(nowMs)
      return results
    },
    async head(key) {
      requireOpen()
      const stream = streamOf(key)
      return { epoch, first: stream?.first ?? 1, last: stream?.last ?? 0 }
    },
    async readBySequence(query) {
      requireOpen()
      return streamOf(query.key)?.readBySequence(query) ?? []
    },
    async readByTime(query) {
      requireOpen()
      const cursors = select(query.tenant, query.room, query.channel).map((stream) => stream.cursorByTime(query))
      return mergeByTime(cursors, query).map((entry) => entry.record)
    },
    async streams(tenant, room) {
      requireOpen()
      return select(tenant, room)
        .map((stream) => stream.key)
        .sort(compareKeys)
    },
    async stats(tenant): Promise<StoreStats> {
      requireOpen()
      const found = select(tenant)
      const records = found.reduce((sum, stream) => sum + stream.length, 0)
      const bytes = found.reduce((sum, stream) => sum + stream.bytes, 0)
      return { backend: 'memory', streams: found.length, records, bytes }
    },
    report: () => ({ level: 'memory', identity: `memory:${epoch}`, faults: [] }),
    // Memory that answers at all can be written, read and deleted.
    async probe() {
      requireOpen()
    },
    async close() {
      isClosed = true
      tenants.clear()
    },
  }
}
