// Reads pages of the log: each from where it begins, never from the old end.
import type { StreamKey } from '../../envelope/envelope.ts'
import { asBytes, asList, asNumber, asText, type ValkeyReply } from '../../valkey/replies.ts'
import type { ValkeyClient } from '../../valkey/valkey-client.ts'
import type { ReadBySequence, ReadByTime, StoredRecord, StoreStats } from '../store.ts'
import { compareKeys, mergeByTime, type TimeCursor, type TimeEntry } from '../time-merge.ts'
import { type KeyNames, streamOfMember } from './keys.ts'
import { type Place, unpackPlaces, unpackRecords } from './packing.ts'
import { pageScript, spanScript } from './scripts.ts'
import { runScript, type Seen } from './session.ts'

/** Streams asked at a time: bounds what waits in the connection. */
const streamsAtOnce = 256
const highest = Number.MAX_SAFE_INTEGER

export interface Reader {
  bySequence(query: ReadBySequence): Promise<readonly StoredRecord[]>
  byTime(query: ReadByTime): Promise<readonly StoredRecord[]>
  streams(tenant: string, room?: string): Promise<readonly StreamKey[]>
  stats(tenant?: string): Promise<StoreStats>
  /** Of one tenant or of all, those without records too. */
  allStreams(tenant?: string): Promise<readonly StreamKey[]>
}

interface Range {
  readonly low: number
  readonly high: number
  readonly order: ReadByTime['order']
  readonly limit: number
  readonly maxBytes: number
}

interface Page {
  readonly epoch: number
  readonly start: number
  readonly step: 1 | -1
  readonly block: Buffer
  readonly isLast: boolean
}

/** Which sequences of a stream lie between two times; undefined where its times are not in order. */
interface Span {
  readonly first: number
  readonly last: number
  readonly range: { readonly low: number; readonly high: number } | undefined
}

interface Extent {
  readonly key: StreamKey
  readonly records: number
  readonly bytes: number
}

export function createReader(client: ValkeyClient, names: KeyNames, seen: Seen): Reader {
  async function page(key: StreamKey, range: Range, withFrames: boolean): Promise<Page> {
    const { low, high, order, limit, maxBytes } = range
    const { meta, log } = names.of(key)
    const args = [String(low), String(high), order, String(limit), String(maxBytes), withFrames ? '1' : '0']
    const reply = asList(await runScript(client.connection(), pageScript, [meta, log], args))
    return {
      epoch: asNumber(reply[0]),
      start: asNumber(reply[1]),
      step: order === 'oldest' ? 1 : -1,
      block: asBytes(reply[2]),
      isLast: asNumber(reply[3]) === 1,
    }
  }

  /** Page after page, until the range, the limit or the bytes end. */
  async function pages<T extends { readonly bytes: number; readonly sequence: number }>(
    key: StreamKey,
    range: Range,
    withFrames: boolean,
    unpack: (page: Page) => readonly T[],
  ): Promise<T[]> {
    const found: T[] = []
    let bytes = 0
    let epoch: number | undefined
    let { low, high } = range
    while (found.length < range.limit && low <= high) {
      const left = { ...range, low, high, limit: range.limit - found.length, maxBytes: range.maxBytes - bytes }
      const got = await page(key, left, withFrames)
      epoch ??= got.epoch
      // The stream began another life meanwhile: what follows does not belong behind what was read.
      if (got.epoch !== epoch) break
      const items = unpack(got)
      for (const item of items) {
        bytes += item.bytes
        if (found.length > 0 && bytes > range.maxBytes) return found
        found.push(item)
      }
      const reached = items.at(-1)?.sequence
      if (got.isLast || reached === undefined) break
      if (range.order === 'oldest') low = reached + 1
      else high = reached - 1
    }
    return found
  }

  async function records(key: StreamKey, range: Range): Promise<StoredRecord[]> {
    const found = await pages(key, range, true, (got) =>
      unpackRecords(got.block, key, got).map((record) => ({
        record,
        sequence: record.position.sequence,
        bytes: record.frame.length,
      })),
    )
    // Handed on to readers, these positions are given out, whether their append was ever acknowledged or not.
    const newest = (range.order === 'oldest' ? found.at(-1) : found[0])?.record.position
    if (newest !== undefined) seen.note(key, newest.epoch, newest.sequence)
    return found.map(({ record }) => record)
  }

  async function places(key: StreamKey, range: Range): Promise<Place[]> {
    return await pages(key, range, false, ({ block, start, step }) => unpackPlaces(block, start, step))
  }

  async function span(key: StreamKey, { sinceMs, untilMs }: ReadByTime): Promise<Span> {
    const { meta, log } = names.of(key)
    const bounds = [sinceMs, untilMs].map((ms) => (ms === undefined ? '' : String(ms)))
    const reply = asList(await runScript(client.connection(), spanScript, [meta, log], bounds)).map(asNumber)
    const [first = 1, last = 0, low, high] = reply
    return { first, last, range: low === undefined || high === undefined ? undefined : { low, high } }
  }

  /** Where the records of one stream stand, in the order of the query. */
  async function cursor(key: StreamKey, query: ReadByTime): Promise<TimeCursor<TimeEntry>> {
    const { sinceMs = Number.NEGATIVE_INFINITY, untilMs = Number.POSITIVE_INFINITY, order, limit, maxBytes } = query
    const { first, last, range } = await span(key, query)
    let found: Place[]
    if (range !== undefined) found = await places(key, { ...range, order, limit, maxBytes })
    else {
      const all = { low: first, high: last, order: 'oldest', limit: highest, maxBytes: highest } as const
      const inside = (await places(key, all)).filter(({ atMs }) => atMs >= sinceMs && atMs <= untilMs)
      found = inside.sort((a, b) => a.atMs - b.atMs || a.sequence - b.sequence)
      if (order === 'newest') found.reverse()
    }
    let i = 0
    return () => {
      const place = found[i++]
      return place === undefined ? undefined : { key, ...place }
    }
  }

  /** The records at these places of one stream, by sequence. What was trimmed meanwhile is absent. */
  async function recordsAt(key: StreamKey, sequences: readonly number[]): Promise<Map<number, StoredRecord>> {
    const sorted = sequences.toSorted((a, b) => a - b)
    const found = new Map<number, StoredRecord>()
    for (let i = 0; i < sorted.length; ) {
      let end = i + 1
      while (sorted[end] === sorted[end - 1]! + 1) end++
      const range = { low: sorted[i]!, high: sorted[end - 1]!, limit: end - i, maxBytes: highest }
      for (const record of await records(key, { ...range, order: 'oldest' })) {
        found.set(record.position.sequence, record)
      }
      i = end
    }
    return found
  }

  async function byTime(query: ReadByTime): Promise<readonly StoredRecord[]> {
    const { tenant, room, channel, order, limit, maxBytes } = query
    if (limit <= 0) return []
    const isOne = room !== undefined && channel !== undefined
    const keys = isOne ? [{ tenant, room, channel }] : await listed(tenant, room, channel)
    if (isOne) {
      const { range } = await span(keys[0]!, query)
      if (range !== undefined) return await records(keys[0]!, { ...range, order, limit, maxBytes })
    }
    const cursors = await inSlices(keys, (key) => cursor(key, query))
    const chosen = mergeByTime(cursors, query)
    const byStream = Map.groupBy(chosen, (entry) => entry.key)
    const parts = await inSlices([...byStream], async ([key, entries]) => {
      return [
        key,
        await recordsAt(
          key,
          entries.map(({ sequence }) => sequence),
        ),
      ] as const
    })
    const found = new Map(parts)
    return chosen.map(({ key, sequence }) => found.get(key)?.get(sequence)).filter((record) => record !== undefined)
  }

  async function listed(tenant: string, room?: string, channel?: string): Promise<StreamKey[]> {
    const members = asList(await client.send(['SMEMBERS', names.streamsOf(tenant)])).map(asText)
    return members
      .map((member) => streamOfMember(tenant, member))
      .filter((key) => key !== undefined)
      .filter((key) => (room === undefined || key.room === room) && (channel === undefined || key.channel === channel))
  }

  async function allStreams(tenant?: string): Promise<readonly StreamKey[]> {
    if (tenant !== undefined) return await listed(tenant)
    const all = asList(await client.send(['SMEMBERS', names.tenants])).map(asText)
    return (await inSlices(all, (name) => listed(name))).flat()
  }

  async function extents(keys: readonly StreamKey[]): Promise<Extent[]> {
    const found = await inSlices(keys, async (key) => {
      const reply = await client.send(['HMGET', names.of(key).meta, 'first', 'last', 'bytes'])
      const [first = 1, last = 0, bytes = 0] = asList(reply).map(numberOrNothing)
      return { key, records: last - first + 1, bytes }
    })
    return found.filter(({ records: count }) => count > 0)
  }

  return {
    bySequence: async ({ key, after, limit, maxBytes }) =>
      await records(key, { low: Math.max(0, after + 1), high: highest, order: 'oldest', limit, maxBytes }),
    byTime,
    allStreams,
    async streams(tenant, room) {
      const found = await extents(await listed(tenant, room))
      return found.map(({ key }) => key).sort(compareKeys)
    },
    async stats(tenant) {
      const found = await extents(await allStreams(tenant))
      return {
        backend: 'valkey',
        streams: found.length,
        records: found.reduce((sum, extent) => sum + extent.records, 0),
        bytes: found.reduce((sum, extent) => sum + extent.bytes, 0),
      }
    },
  }
}

/** Of a field that may be absent. */
export function numberOrNothing(reply: ValkeyReply): number | undefined {
  return reply === null ? undefined : asNumber(reply)
}

/** Some at a time, results in the order of the items. */
export async function inSlices<A, B>(items: readonly A[], work: (item: A) => Promise<B>): Promise<B[]> {
  const results: B[] = []
  for (let i = 0; i < items.length; i += streamsAtOnce) {
    results.push(...(await Promise.all(items.slice(i, i + streamsAtOnce).map(work))))
  }
  return results
}
