// What leaves the bus for members behind gateways: each message once per stream, the heads of those streams, and the
// end of memberships nobody asked to end.
import { describeError, type Logger } from '../base/logger.ts'
import { edgeHeaders, edgeSubjects, encodeControl, type Head, liveHeader } from '../envelope/edge-protocol.ts'
import { outRoomSubject } from '../envelope/subjects.ts'
import type { Link } from '../link/link.ts'
import type { Delivery } from '../rooms/delivery.ts'
import type { Rooms } from '../rooms/rooms.ts'
import type { Stream } from '../rooms/stream.ts'

export interface EdgeOutlet {
  publish(stream: Stream, deliveries: readonly Delivery[]): void
  /**
   * Tells where every stream with remote members stands, so that a lost tail is found; and which streams were deleted
   * since the last time, so that gateways end their memberships too.
   */
  announceHeads(): void
  /** Deliveries that could not be sent; gateways find them by the heads. */
  readonly lost: number
}

/** Messages of a turn that leave as one message of the link: together no larger than this, or one alone. */
const maxBatchBytes = 64 * 1_024
const maxBatchMessages = 256

/** Streams named in one message of heads: some 100 KiB at most. */
const headsPerMessage = 200

export function createEdgeOutlet(ports: {
  readonly link: Link
  readonly rooms: Rooms
  readonly isPositioned: boolean
  /** Tells the lives of a stream apart at gateways. */
  readonly epochOf: (stream: Stream) => number
  readonly logger: Logger
}): EdgeOutlet {
  const { link, rooms, isPositioned } = ports
  const subjects = new WeakMap<Stream, string>()
  /** Deleted streams whose end gateways have been told. */
  const ended = new WeakSet<Stream>()
  let lost = 0

  function subjectOf(stream: Stream): string {
    let subject = subjects.get(stream)
    if (subject === undefined) {
      const { tenant, room, channel } = stream.key
      subject = outRoomSubject(tenant, room, channel)
      subjects.set(stream, subject)
    }
    return subject
  }

  function control(subject: string, body: object): void {
    if (link.state === 'connected') link.publish(subject, encodeControl(body))
  }

  return {
    publish(stream, deliveries) {
      if (link.state !== 'connected') {
        lost += deliveries.length
        return
      }
      const subject = subjectOf(stream)
      for (const batch of batchesOf(deliveries)) {
        const [{ sequence, position }] = batch
        try {
          link.publish(subject, batch.length === 1 ? batch[0].frame : Buffer.concat(batch.map(({ frame }) => frame)), {
            [edgeHeaders.sequence]: String(sequence),
            [edgeHeaders.epoch]: String(ports.epochOf(stream)),
            [edgeHeaders.live]: liveHeader(batch),
            [edgeHeaders.positioned]: isPositioned && position !== undefined ? '1' : '0',
          })
        } catch (error) {
          // What the link refuses must not keep the rest, or local members, from theirs.
          lost += batch.length
          ports.logger.warn('relay.delivery_lost', describeError(error))
        }
      }
    },
    announceHeads() {
      let heads: Head[] = []
      const flush = (): void => {
        if (heads.length > 0) control(edgeSubjects.heads, { heads })
        heads = []
      }
      for (const stream of rooms.allStreams()) {
        if (!stream.isHidden) ended.delete(stream)
        else if (!ended.has(stream)) {
          ended.add(stream)
          control(edgeSubjects.removed, stream.key)
        }
        if (stream.remote.size === 0 || !stream.isLoaded) continue
        const isPlaced = isPositioned && stream.unplaced === undefined
        const [epoch, last] = [ports.epochOf(stream), stream.flushedHead]
        heads.push({ ...stream.key, epoch, last, isPositioned: isPlaced })
        if (heads.length === headsPerMessage) flush()
      }
      flush()
    },
    get lost() {
      return lost
    },
  }
}

type Batch = [Delivery, ...Delivery[]]

/** In their order; each without holes, and all with a position or all without. */
function batchesOf(deliveries: readonly Delivery[]): Batch[] {
  const batches: Batch[] = []
  let batch: Batch | undefined
  let bytes = 0
  for (const delivery of deliveries) {
    const before = batch?.at(-1)
    const fits =
      before !== undefined &&
      before.sequence + 1 === delivery.sequence &&
      (before.position === undefined) === (delivery.position === undefined) &&
      batch!.length < maxBatchMessages &&
      bytes + delivery.frame.length <= maxBatchBytes
    if (fits) batch!.push(delivery)
    else {
      batch = [delivery]
      batches.push(batch)
      bytes = 0
    }
    bytes += delivery.frame.length
  }
  return batches
}
