// Sends groups of appends: one script call for each stream and part, all of a group pipelined on one connection.
// Groups reach the server in the order in which they came.
import { BusError, isBusError } from '../../base/errors.ts'
import type { Clock } from '../../base/clock.ts'
import type { StreamKey } from '../../envelope/envelope.ts'
import type { ValkeyConnection } from '../../valkey/connection.ts'
import { isOnDisk } from '../../valkey/facts.ts'
import { asBytes, asList, asNumber, asText } from '../../valkey/replies.ts'
import type { ValkeyClient } from '../../valkey/valkey-client.ts'
import type { AppendRequest, AppendResult, DedupWindow, Retention } from '../store.ts'
import { streamName } from '../stream-name.ts'
import { IdCounts } from './id-counts.ts'
import { type KeyNames, memberOf, streamOfMember } from './keys.ts'
import { packAppends, unpackIdCounts, unpackResults } from './packing.ts'
import { isFsyncedFirst, needsProof } from './report.ts'
import { appendScript, countIdsScript } from './scripts.ts'
import { runScript, type Seen } from './session.ts'

// Bounds how long one script holds the server up.
const maxPartRequests = 1_024
const maxPartBytes = 1024 * 1024

export interface AppenderOptions {
  readonly client: ValkeyClient
  readonly names: KeyNames
  readonly clock: Clock
  readonly retention: Retention
  readonly dedup: DedupWindow
  readonly seen: Seen
  /** The epoch of streams that begin now. */
  readonly baseEpoch: number
}

export interface Appender {
  /** Results in the order of the requests. Rejects with STORE_UNAVAILABLE or STORE_TIMEOUT. */
  send(group: readonly AppendRequest[]): Promise<readonly AppendResult[]>
}

/** Requests for one stream, and where in the group they stand. */
interface Part {
  readonly key: StreamKey
  readonly name: string
  readonly requests: AppendRequest[]
  readonly places: number[]
  bytes: number
}

interface Tenant {
  /** Undefined until read from the server, and again when an outcome is unknown. */
  counts: IdCounts | undefined
  /** Ids on their way. */
  reserved: number
}

export function createAppender(options: AppenderOptions): Appender {
  const { client, names, clock, retention, dedup, seen, baseEpoch } = options
  const tenants = new Map<string, Tenant>()
  const registered = new Set<string>()
  const flights = new Set<Promise<unknown>>()
  /** The last group that had to wait; those behind it wait for it. */
  let waiting: Promise<unknown> | undefined
  const bounds = [String(retention.maxRecords), String(retention.maxBytes), String(retention.maxAgeMs)]

  function tenantOf(name: string): Tenant {
    const known = tenants.get(name)
    if (known !== undefined) return known
    const tenant: Tenant = { counts: undefined, reserved: 0 }
    tenants.set(name, tenant)
    return tenant
  }

  /** Undefined where the tenant's ids have to be counted first. */
  function roomOf({ counts, reserved }: Tenant, nowMs: number): number | undefined {
    return counts === undefined ? undefined : dedup.maxIds - counts.count(nowMs, dedup.maxAgeMs) - reserved
  }

  function hasRoomForAll(parts: readonly Part[], nowMs: number): boolean {
    const wanted = new Map<string, number>()
    for (const { key, requests } of parts) wanted.set(key.tenant, (wanted.get(key.tenant) ?? 0) + requests.length)
    for (const [name, count] of wanted) {
      const room = roomOf(tenantOf(name), nowMs)
      if (room === undefined || room < count) return false
    }
    return true
  }

  /** So that the stream is found by its tenant; ahead of its first record. */
  function register(connection: ValkeyConnection, key: StreamKey, name: string): void {
    registered.add(name)
    const adding = Promise.all([
      connection.send(['SADD', names.tenants, key.tenant]),
      connection.send(['SADD', names.streamsOf(key.tenant), memberOf(key)]),
    ])
    adding.catch(() => registered.delete(name)) // tried again with the next append
  }

  async function sendPart(
    connection: ValkeyConnection,
    { key, name, requests }: Part,
    room: number,
  ): Promise<readonly AppendResult[]> {
    const tenant = tenantOf(key.tenant)
    const known = seen.get(key)
    const { facts } = connection
    const nowMs = clock.now()
    const wasRegistered = registered.has(name)
    if (!wasRegistered) register(connection, key, name)
    const { meta, log, ids, order, sums } = names.of(key)
    tenant.reserved += requests.length
    try {
      const packed = packAppends(requests, nowMs)
      const args = [
        String(baseEpoch),
        facts.runId,
        isFsyncedFirst(facts) ? '1' : '0',
        String(known?.epoch ?? 0),
        String(known?.last ?? 0),
        packed.marks,
        String(nowMs),
        String(dedup.maxAgeMs),
        String(room),
        ...bounds,
        packed.isDistinct ? '1' : '0',
        packed.sums,
        ...packed.entries,
        ...packed.ids,
      ]
      const reply = asList(await runScript(connection, appendScript, [meta, log, ids, order, sums], args))
      const [epoch, last, stored] = [asNumber(reply[0]), asNumber(reply[2]), asNumber(reply[3])]
      // A stream that begins anew, though it was listed: the server has lost its data, and with them the lists.
      if (wasRegistered && last === stored && stored > 0) register(connection, key, name)
      seen.note(key, epoch, last)
      tenant.counts?.add(nowMs, stored)
      return unpackResults(epoch, last, requests.length, reply.length > 4 ? asBytes(reply[4]) : undefined)
    } catch (error) {
      const failure = toAppendFailure(error)
      if (failure.code === 'STORE_TIMEOUT') tenant.counts = undefined
      throw failure
    } finally {
      tenant.reserved -= requests.length
    }
  }

  async function fly(group: readonly AppendRequest[], parts: readonly Part[]): Promise<readonly AppendResult[]> {
    const connection = client.connection()
    const sent = parts.map((part) => sendPart(connection, part, part.requests.length))
    // Sent right behind them, not after their answers.
    const proving = Promise.allSettled([prove(connection, parts)])
    const results = gather(group, parts, await Promise.allSettled(sent))
    const [proof] = await proving
    if (proof.status === 'rejected') throw proof.reason
    return results
  }

  /** One call after the other, for each has to know how much room the ones before it left. */
  async function flyOneByOne(group: readonly AppendRequest[]): Promise<readonly AppendResult[]> {
    const connection = client.connection()
    const parts = partsInOrder(group)
    const answers: PromiseSettledResult<readonly AppendResult[]>[] = []
    for (const part of parts) {
      const room = roomOf(tenantOf(part.key.tenant), clock.now()) ?? 0
      const [answer] = await Promise.allSettled([sendPart(connection, part, Math.max(0, room))])
      answers.push(answer)
      if (answer.status === 'rejected') break
    }
    await prove(connection, parts)
    return gather(group, parts, answers)
  }

  /** Behind what was sent: rejects unless that is on disk, where the server does not tell by itself. */
  async function prove(connection: ValkeyConnection, parts: readonly Part[]): Promise<void> {
    if (!needsProof(connection.facts)) return
    const isProven = await isOnDisk((args) => connection.send(args)).catch((error: unknown) => error)
    if (isProven === true) return
    for (const { key } of parts) tenantOf(key.tenant).counts = undefined
    throw new BusError('STORE_TIMEOUT', undefined, { reason: 'NOT_PROVEN_ON_DISK' })
  }

  async function countIds(name: string): Promise<void> {
    const tenant = tenantOf(name)
    if (tenant.counts !== undefined) return
    const connection = client.connection()
    const members = asList(await connection.send(['SMEMBERS', names.streamsOf(name)])).map(asText)
    const keys = members.map((member) => streamOfMember(name, member)).filter((key) => key !== undefined)
    const remembered: { atMs: number; count: number }[] = []
    for (let i = 0; i < keys.length; i += maxPartRequests) {
      const some = keys.slice(i, i + maxPartRequests)
      const blocks = await Promise.all(
        some.map((key) => runScript(connection, countIdsScript, [names.of(key).order], [])),
      )
      for (const block of blocks) remembered.push(...unpackIdCounts(asBytes(block)))
    }
    tenant.counts = new IdCounts(remembered)
  }

  async function sendCarefully(
    group: readonly AppendRequest[],
    parts: readonly Part[],
    before: Promise<unknown> | undefined,
  ): Promise<readonly AppendResult[]> {
    await before?.catch(() => undefined)
    await Promise.allSettled(flights)
    try {
      for (const name of new Set(parts.map((part) => part.key.tenant))) await countIds(name)
    } catch (error) {
      throw toReadFailure(error)
    }
    return hasRoomForAll(parts, clock.now()) ? await fly(group, parts) : await flyOneByOne(group)
  }

  return {
    async send(group) {
      const parts = partsByStream(group)
      if (waiting === undefined && hasRoomForAll(parts, clock.now())) {
        const flight = fly(group, parts)
        flights.add(flight)
        return await flight.finally(() => flights.delete(flight))
      }
      const mine = sendCarefully(group, parts, waiting)
      waiting = mine
      return await mine.finally(() => {
        if (waiting === mine) waiting = undefined
      })
    },
  }
}

function newPart(key: StreamKey, name: string): Part {
  return { key, name, requests: [], places: [], bytes: 0 }
}

function isFull({ requests, bytes }: Part): boolean {
  return requests.length >= maxPartRequests || bytes >= maxPartBytes
}

function put(part: Part, request: AppendRequest, place: number): void {
  part.requests.push(request)
  part.places.push(place)
  part.bytes += request.frame.length
}

/** As few parts as can be; the order of a stream's requests is kept. */
function partsByStream(group: readonly AppendRequest[]): Part[] {
  const parts: Part[] = []
  const open = new Map<string, Part>()
  let lastKey: StreamKey | undefined
  let part: Part | undefined
  for (const [place, request] of group.entries()) {
    if (part === undefined || request.key !== lastKey || isFull(part)) {
      const name = streamName(request.key)
      part = open.get(name)
      if (part === undefined || isFull(part)) {
        part = newPart(request.key, name)
        parts.push(part)
        open.set(name, part)
      }
      lastKey = request.key
    }
    put(part, request, place)
  }
  return parts
}

/** In the order of the requests, over all streams. */
function partsInOrder(group: readonly AppendRequest[]): Part[] {
  const parts: Part[] = []
  for (const [place, request] of group.entries()) {
    const name = streamName(request.key)
    let part = parts.at(-1)
    if (part === undefined || part.name !== name || isFull(part)) {
      part = newPart(request.key, name)
      parts.push(part)
    }
    put(part, request, place)
  }
  return parts
}

/** All or the truth: where a part was stored and another was not, nobody may say that nothing was. */
function gather(
  group: readonly AppendRequest[],
  parts: readonly Part[],
  answers: readonly PromiseSettledResult<readonly AppendResult[]>[],
): readonly AppendResult[] {
  const failures = answers.filter((answer) => answer.status === 'rejected').map((answer) => answer.reason as unknown)
  if (failures.length > 0) {
    const unknown = failures.find((error) => isBusError(error, 'STORE_TIMEOUT'))
    if (unknown !== undefined || failures.length === answers.length) throw unknown ?? failures[0]
    const reason = isBusError(failures[0]) ? String(failures[0].details['reason']) : 'FAILED'
    throw new BusError('STORE_TIMEOUT', undefined, { reason: 'PARTLY_STORED', because: reason }, failures[0])
  }
  const results: AppendResult[] = Array.from({ length: group.length })
  for (const [i, answer] of answers.entries()) {
    if (answer.status === 'rejected') continue
    for (const [n, place] of parts[i]!.places.entries()) results[place] = answer.value[n]!
  }
  return results
}

/** What an append may reject with. A refusal that is not a known state of the server may have come half-way. */
function toAppendFailure(error: unknown): BusError {
  if (!isBusError(error)) return new BusError('STORE_TIMEOUT', undefined, { reason: 'FAILED' }, error)
  const { reason } = error.details
  if (error.code === 'STORE_TIMEOUT') return error
  if (error.code === 'STORE_CORRUPT' || reason === 'REFUSED' || reason === 'BAD_REPLY') {
    return new BusError('STORE_TIMEOUT', error.message, error.details)
  }
  return toReadFailure(error)
}

/** What anything else that stores nothing may reject with. */
export function toReadFailure(error: unknown): BusError {
  if (isBusError(error, 'STORE_UNAVAILABLE')) return error
  if (!isBusError(error)) return new BusError('STORE_UNAVAILABLE', undefined, { reason: 'FAILED' }, error)
  return new BusError('STORE_UNAVAILABLE', error.message, error.details)
}
