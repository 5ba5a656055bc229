// Publishing frames of the common shape without an object for each of their parts: where nothing is stored, from the
// received bytes straight into the array the members are written; with a store, into the one frame that is appended.
// Whatever is unusual about the frame, the client or the channel goes the general way.
import type { Clock } from '../base/clock.ts'
import type { Rooms } from '../rooms/rooms.ts'
import type { Stream } from '../rooms/stream.ts'
import type { Client } from '../session/client.ts'
import type { Telemetry } from '../telemetry/events.ts'
import { FastScan, frameMiddle } from '../wire/fast-scan.ts'
import type { WireLimits } from '../wire/limits.ts'
import { hashOfPayload } from '../wire/message-frame.ts'
import type { Publication } from './publisher.ts'

export interface FastPublishPorts {
  readonly rooms: Rooms
  readonly clock: Clock
  readonly telemetry: Telemetry
  readonly limits: WireLimits
  readonly counts: { published: number; duplicates: number }
  /** Answers a publish that asked for it. */
  readonly acknowledge: (client: Client, id: string, isDuplicate: boolean) => void
  /** Where there is a store: takes what is to be stored, and answers it. */
  readonly append: ((publication: Publication) => void) | undefined
  readonly maxInflight: number
}

/** Where a client published last, and the part of its frames that never changes. */
interface Route {
  readonly middle: Uint8Array
  room: Uint8Array
  channel: Uint8Array
  stream: Stream
}

export interface FastPublish {
  /** True when the frame at `[start, end)` was published and answered; false when it is for the general way. */
  take(client: Client, bytes: Uint8Array, start: number, end: number): boolean
  forget(client: Client): void
}

export function createFastPublish(ports: FastPublishPorts): FastPublish {
  const { rooms, clock, telemetry, counts } = ports
  const scan = new FastScan(ports.limits)
  const routes = new Map<Client, Route>()

  function routeOf(client: Client): Route {
    const known = routes.get(client)
    if (
      known !== undefined &&
      scan.equals(scan.channelStart, scan.channelEnd, known.channel) &&
      scan.equals(scan.roomStart, scan.roomEnd, known.room)
    ) {
      return known
    }
    const key = {
      tenant: client.identity.tenant,
      room: scan.text(scan.roomStart, scan.roomEnd),
      channel: scan.text(scan.channelStart, scan.channelEnd),
    }
    const route: Route = {
      middle: known?.middle ?? frameMiddle(client.id),
      room: scan.slice(scan.roomStart, scan.roomEnd),
      channel: scan.slice(scan.channelStart, scan.channelEnd),
      stream: rooms.open(key),
    }
    routes.set(client, route)
    return route
  }

  function store(client: Client, bytes: Uint8Array, append: (publication: Publication) => void): boolean {
    if (client.inflight >= ports.maxInflight) return false
    const { stream, middle } = routeOf(client)
    if (stream.isHidden) return false
    const frame = Buffer.allocUnsafe(scan.frameLength(middle))
    scan.writeFrame(frame, 0, middle)
    append({
      client,
      key: stream.key,
      id: scan.text(scan.idStart, scan.idEnd),
      frame,
      hash: hashOfPayload(bytes.subarray(scan.payloadStart, scan.payloadEnd)),
      ack: scan.ack,
      done: undefined,
    })
    return true
  }

  return {
    take(client, bytes, start, end) {
      if (client.identity.role === 'operator') return false
      if (ports.append !== undefined) return scan.scan(bytes, start, end) && store(client, bytes, ports.append)
      if (telemetry.wants?.('message_published') !== false) return false
      if (!scan.scan(bytes, start, end) || scan.ack === 'stored') return false
      const { stream, middle } = routeOf(client)
      if (stream.isHidden || stream.remote.size > 0) return false
      const seen = stream.recentIds.noteParts(bytes, scan.idStart, scan.idEnd, scan.payloadStart, scan.payloadEnd)
      if (seen === 'conflict') return false // the general way finds the same, and answers
      if (seen === 'new') {
        stream.lastActivityMs = clock.now()
        const batch = rooms.fanOut.reserve(stream, client.id, scan.frameLength(middle))
        scan.writeFrame(batch.bytes, batch.payload, middle)
        counts.published++
      } else counts.duplicates++
      if (scan.ack !== 'none') ports.acknowledge(client, scan.text(scan.idStart, scan.idEnd), seen === 'duplicate')
      return true
    },
    forget: (client) => void routes.delete(client),
  }
}
