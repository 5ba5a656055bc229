// What degraded mode holds in memory for a store that is away: in order, once for each id, bounded. Nothing held is
// dropped; what does not fit is refused.
import type { Clock } from '../../base/clock.ts'
import type { Position, StreamKey } from '../../envelope/envelope.ts'
import { isSameHash } from '../append-rules.ts'
import type { AppendRequest, AppendResult, ReadByTime } from '../store.ts'
import { streamName } from '../stream-name.ts'

/** Reliability 5.3. */
export const holdLimits = { perStream: 10_000, bytes: 64 * 1024 * 1024, ageMs: 600_000 } as const
export type HoldLimits = { readonly [K in keyof typeof holdLimits]: number }

interface Held {
  readonly request: AppendRequest
  readonly heldAtMs: number
}

interface Known {
  readonly hash: Uint8Array
  /** Where it was stored, once it is. */
  position: Position | undefined
}

interface HeldStream {
  readonly key: StreamKey
  /** By id, kept beyond the release: what is sent again before the store is trusted again is known still. */
  readonly ids: Map<string, Known>
  /** All that was held, for reading; empty as soon as anything has been written. */
  requests: AppendRequest[]
  size: number
}

/** A channel, a room or a tenant. */
export type Scope = Pick<ReadByTime, 'tenant' | 'room' | 'channel'>

export interface HeldAppends {
  /**
   * Holds the request, or says why not; one sent again whose first has been stored meanwhile is a `duplicate`.
   * `isForced`: beyond the bounds too.
   */
  hold(request: AppendRequest, isForced?: boolean): AppendResult
  /** The first ones, up to `count` and `maxBytes` of frames but at least one, without letting them go. */
  oldest(count: number, maxBytes: number): readonly AppendRequest[]
  /** The stream is one of `streams` too, though nothing may be held for it. */
  note(key: StreamKey): void
  /** Lets the first ones go, of which this became. */
  release(results: readonly AppendResult[]): void
  readonly size: number
  sizeOf(key: StreamKey): number
  /** Is anything of it held? */
  hasAny(scope: Scope): boolean
  /** By stream, all that was held since the last `forgetStreams`; undefined when some of it has been let go. */
  read(scope: Scope): readonly (readonly AppendRequest[])[] | undefined
  readonly bytes: number
  /** Streams something was held for since the last `forgetStreams`. */
  readonly streams: readonly StreamKey[]
  forgetStreams(): void
}

export function createHeldAppends(clock: Clock, limits: HoldLimits = holdLimits): HeldAppends {
  let held: Held[] = []
  /** Released from the front; cut off now and then instead of shifted one by one. */
  let first = 0
  let bytes = 0
  let hasReleased = false
  const streams = new Map<string, HeldStream>()

  function streamOf(key: StreamKey): HeldStream {
    const name = streamName(key)
    const known = streams.get(name)
    if (known !== undefined) return known
    const stream: HeldStream = { key, ids: new Map(), requests: [], size: 0 }
    streams.set(name, stream)
    return stream
  }

  function* within({ tenant, room, channel }: Scope): Iterable<HeldStream> {
    if (room !== undefined && channel !== undefined) {
      const stream = streams.get(streamName({ tenant, room, channel }))
      if (stream !== undefined) yield stream
      return
    }
    for (const stream of streams.values()) {
      if (stream.key.tenant === tenant && (room === undefined || stream.key.room === room)) yield stream
    }
  }

  function isFull(inStream: number, request: AppendRequest): boolean {
    const oldest = held[first]
    return (
      inStream >= limits.perStream ||
      bytes + request.frame.length > limits.bytes ||
      (oldest !== undefined && clock.monotonic() - oldest.heldAtMs > limits.ageMs)
    )
  }

  return {
    hold(request, isForced = false) {
      const known = streams.get(streamName(request.key))
      const earlier = known?.ids.get(request.id)
      if (earlier !== undefined) {
        const { hash, position } = earlier
        if (!isSameHash(hash, request.hash)) return { kind: 'conflict' }
        return position === undefined ? { kind: 'held', isDuplicate: true } : { kind: 'duplicate', position }
      }
      if (!isForced && isFull(known?.size ?? 0, request)) return { kind: 'hold-full' }
      const stream = streamOf(request.key)
      stream.ids.set(request.id, { hash: request.hash, position: undefined })
      stream.size++
      held.push({ request, heldAtMs: clock.monotonic() })
      if (!hasReleased) stream.requests.push(request)
      bytes += request.frame.length
      return { kind: 'held', isDuplicate: false }
    },
    oldest(count, maxBytes) {
      const requests: AppendRequest[] = []
      let taken = 0
      for (let i = first; i < held.length && requests.length < count; i++) {
        const { request } = held[i]!
        taken += request.frame.length
        if (requests.length > 0 && taken > maxBytes) break
        requests.push(request)
      }
      return requests
    },
    note: (key) => void streamOf(key),
    release(results) {
      if (!hasReleased) for (const stream of streams.values()) stream.requests = []
      hasReleased = true
      for (const result of results) {
        const { request } = held[first++]!
        bytes -= request.frame.length
        const stream = streams.get(streamName(request.key))!
        stream.size--
        if ('position' in result) stream.ids.get(request.id)!.position = result.position
      }
      if (first * 2 < held.length) return
      held = held.slice(first)
      first = 0
    },
    get size() {
      return held.length - first
    },
    sizeOf: (key) => streams.get(streamName(key))?.size ?? 0,
    hasAny(scope) {
      for (const { size } of within(scope)) if (size > 0) return true
      return false
    },
    read: (scope) => (hasReleased ? undefined : Array.from(within(scope), ({ requests }) => requests)),
    get bytes() {
      return bytes
    },
    get streams() {
      return [...streams.values()].map(({ key }) => key)
    },
    forgetStreams() {
      streams.clear()
      hasReleased = false
    },
  }
}
