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
  /** Takes what is to be stored, or to leave for gateways, and answers it. */
  readonly publish: (publication: Publication) => void
  readonly isStored: boolean
  readonly maxInflight: number
}

/** Where a client published last, and the part of its frames that never changes. */
interface Route {
  readonly middle: Uint8Array
  room: Uint8Array
  channel: Uint8Array
  stream: Stream
}

export interface RemoteWork {
  readonly done: () => void
  readonly traceparent: string | undefined
}

export interface FastPublish {
  /**
   * True when the frame at `[start, end)` was published and answered; false when it is for the general way. `work`: what
   * its gateway said of a remote client's frame.
   */
  take(client: Client, bytes: Uint8Array, start: number, end: number, work?: RemoteWork): boolean
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

  function publish(client: Client, bytes: Uint8Array, work: RemoteWork | undefined): boolean {
    if (client.inflight >= ports.maxInflight) return false
    const { stream, middle } = routeOf(client)
    if (stream.isHidden) return false
    const frame = Buffer.allocUnsafe(scan.frameLength(middle))
    scan.writeFrame(frame, 0, middle)
    ports.publish({
      client,
      key: stream.key,
      id: scan.text(scan.idStart, scan.idEnd),
      frame,
      hash: ports.isStored ? hashOfPayload(bytes.subarray(scan.payloadStart, scan.payloadEnd)) : undefined,
      ack: scan.ack,
      done: work?.done,
    })
    return true
  }

  return {
    take(client, bytes, start, end, work) {
      if (client.identity.role === 'operator' || work?.traceparent !== undefined) return false
      if (ports.isStored) return scan.scan(bytes, start, end) && publish(client, bytes, work)
      if (telemetry.wants?.('message_published') !== false) return false
      if (!scan.scan(bytes, start, end) || scan.ack === 'stored') return false
      const { stream, middle } = routeOf(client)
      if (stream.isHidden) return false
      if (client.isRemote || stream.remote.size > 0) return publish(client, bytes, work)
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
