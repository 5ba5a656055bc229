// Judges what a run of the system showed from outside: who published what, what was answered, who received what.
// Finds every breach of the eight rules in time linear in the number of events (reliability 1.1).

/** A place in the log of one stream. */
export interface SeenPosition {
  readonly epoch: number
  readonly sequence: number
}

interface InStream {
  /** Names tenant, room and channel together; equal only for the same stream. */
  readonly stream: string
}

/**
 * What happened, in the order of one clock: an event stands before another if it was over before the other began.
 * Record `publish` before the request leaves and the answers after they came, or real time (C8) means nothing.
 */
export type HistoryEvent =
  /** An attempt begins. A retry is another `publish` with the same id. `hash` names the payload. */
  | ({ readonly op: 'publish'; readonly publisher: string; readonly id: string; readonly hash: string } & InStream)
  /** Stored, or stored before (a duplicate), at this position. */
  | ({ readonly op: 'ack'; readonly id: string } & InStream & SeenPosition)
  /** The attempt certainly stored nothing. */
  | ({ readonly op: 'nack'; readonly id: string } & InStream)
  /** What became of the attempt is unknown. No event at all means the same. */
  | ({ readonly op: 'timeout'; readonly id: string } & InStream)
  /**
   * A reader received a record, live, replayed or by reading the log. A reader named as a publisher is taken for the
   * same client, which is not given its own messages: have another reader, or a read of the log, see them too.
   */
  | ({ readonly op: 'deliver'; readonly reader: string; readonly id: string; readonly hash: string } & InStream &
      SeenPosition)
  /**
   * A reader joins, or comes back. `recovered`: it goes on after the position it named. Otherwise it was told so, and
   * starts anew after the position given here.
   */
  | ({ readonly op: 'resume'; readonly reader: string; readonly recovered: boolean } & InStream & SeenPosition)
  /** A reader was told that it will not get the records up to and including this one. */
  | ({ readonly op: 'gap'; readonly reader: string } & InStream & SeenPosition)
  /** Something was done to the system. After `store-lost` no epoch seen before may be given again. */
  | { readonly op: 'fault'; readonly kind: 'store-lost' | (string & {}) }

export const historyRules = {
  C1: 'lost: acknowledged, at or below the highest position read, but never read',
  C2: 'read what was never sent, or was certainly not stored',
  C3: 'one id at two positions, or one position twice to one reader',
  C4: 'two observers disagree about what stands at a position',
  C5: 'a publisher’s messages are not in the order it sent them',
  C6: 'a reader missed records without being told',
  C7: 'an epoch was used again',
  C8: 'published after another one was acknowledged, but placed before it',
} as const
export type HistoryRule = keyof typeof historyRules

export interface Violation {
  readonly rule: HistoryRule
  readonly stream: string
  /** Index into the events of the one at which it shows. */
  readonly index: number
  readonly message: string
}

interface Message {
  readonly id: string
  readonly publisher: string
  readonly hash: string
  readonly publishedAt: number
  /** The highest position acknowledged in the stream when it was first published. */
  readonly floor: SeenPosition
  /** The lowest epoch it may be stored in: above all that were seen before the store was lost. */
  readonly epochFloor: number
  attempts: number
  nacks: number
  /** Sequence by epoch, as acknowledged or delivered. */
  readonly places: Map<number, number>
}

interface Place {
  id: string
  /** Absent while it is known from an acknowledgement only. */
  hash: string | undefined
  ackedAt: number | undefined
  isRead: boolean
}

interface Cursor {
  epoch: number
  /** The last sequence the reader has, was told to do without, or started after. */
  sequence: number
}

interface Stream {
  readonly name: string
  readonly messages: Map<string, Message>
  /** Epoch, then sequence. */
  readonly places: Map<number, Map<number, Place>>
  readonly highestRead: Map<number, number>
  readonly cursors: Map<string, Cursor>
  highestAcked: SeenPosition
  highestEpoch: number
  epochFloor: number
  storesLost: number
}

/** A reader went from one sequence to another without the ones between. */
interface Skip {
  readonly stream: Stream
  readonly reader: string
  readonly epoch: number
  readonly after: number
  readonly before: number
  readonly index: number
}

export interface CheckOptions {
  /** At the end every stream was read to its end: then a record acknowledged in the last epoch and never read is lost. */
  readonly isReadToEnd?: boolean
}

/** Every breach found, in the order in which they show; an empty list for a history the system may have. */
export function checkHistory(events: readonly HistoryEvent[], { isReadToEnd = false }: CheckOptions = {}): Violation[] {
  const streams = new Map<string, Stream>()
  const violations: Violation[] = []
  /** Judged at the end: that a skipped message was the reader's own may be known only from a later event. */
  const skips: Skip[] = []
  let storesLost = 0
  let index = 0

  function report(rule: HistoryRule, stream: Stream, message: string, at = index): void {
    violations.push({ rule, stream: stream.name, index: at, message: `${historyRules[rule]}: ${message}` })
  }

  function streamOf(name: string): Stream {
    let stream = streams.get(name)
    if (stream === undefined) {
      stream = {
        name,
        messages: new Map(),
        places: new Map(),
        highestRead: new Map(),
        cursors: new Map(),
        highestAcked: { epoch: 0, sequence: 0 },
        highestEpoch: 0,
        epochFloor: 0,
        storesLost,
      }
      streams.set(name, stream)
    }
    if (stream.storesLost !== storesLost) {
      stream.storesLost = storesLost
      stream.epochFloor = stream.highestEpoch + 1
    }
    return stream
  }

  /** Notes that `id` stands at a position, as an acknowledgement or a reader says; C3, C4, C7, C8. */
  function place(stream: Stream, id: string, { epoch, sequence }: SeenPosition, hash: string | undefined): Place {
    stream.highestEpoch = Math.max(stream.highestEpoch, epoch)
    let inEpoch = stream.places.get(epoch)
    if (inEpoch === undefined) {
      inEpoch = new Map()
      stream.places.set(epoch, inEpoch)
    }
    let known = inEpoch.get(sequence)
    if (known === undefined) {
      known = { id, hash, ackedAt: undefined, isRead: false }
      inEpoch.set(sequence, known)
    } else if (known.id !== id || (known.hash !== undefined && hash !== undefined && known.hash !== hash)) {
      report('C4', stream, `epoch ${epoch}, sequence ${sequence} is ${known.id} and ${id}`)
    }
    known.hash ??= hash

    const message = stream.messages.get(id)
    if (message === undefined) return known
    const placed = message.places.get(epoch)
    if (placed === undefined) {
      message.places.set(epoch, sequence)
      checkTime(stream, message, { epoch, sequence })
    } else if (placed !== sequence) {
      report('C3', stream, `${id} is at ${placed} and ${sequence} of epoch ${epoch}`)
    }
    return known
  }

  function checkTime(stream: Stream, message: Message, { epoch, sequence }: SeenPosition): void {
    const { id, floor, epochFloor } = message
    if (epoch < epochFloor || epoch < floor.epoch) {
      report('C7', stream, `${id} is in epoch ${epoch}, which was over when it was published`)
    } else if (epoch === floor.epoch && sequence <= floor.sequence) {
      report('C8', stream, `${id} is at ${sequence}, but ${floor.sequence} was acknowledged before it was published`)
    }
  }

  function deliver(event: Extract<HistoryEvent, { op: 'deliver' }>): void {
    const stream = streamOf(event.stream)
    const { id, hash, epoch, sequence } = event
    const message = stream.messages.get(id)
    if (message === undefined) report('C2', stream, `${id} was never published`)
    else if (message.hash !== hash) report('C2', stream, `${id} was published with another payload`)
    place(stream, id, event, hash).isRead = true
    stream.highestRead.set(epoch, Math.max(stream.highestRead.get(epoch) ?? 0, sequence))
    move(stream, event)
  }

  /** Moves a reader on by one delivery; what it was not given must be its own or announced as a gap; C3, C6, C7. */
  function move(stream: Stream, { reader, epoch, sequence }: Extract<HistoryEvent, { op: 'deliver' }>): void {
    const cursor = stream.cursors.get(reader)
    if (cursor === undefined) {
      stream.cursors.set(reader, { epoch, sequence })
      return
    }
    if (epoch < cursor.epoch) report('C7', stream, `${reader} was in epoch ${cursor.epoch}, then got ${epoch}`)
    else if (epoch > cursor.epoch) report('C6', stream, `${reader} was not told that epoch ${epoch} has begun`)
    else if (sequence <= cursor.sequence) report('C3', stream, `${reader} got ${sequence} after ${cursor.sequence}`)
    else if (sequence > cursor.sequence + 1) {
      skips.push({ stream, reader, epoch, after: cursor.sequence, before: sequence, index })
    }
    cursor.epoch = epoch
    cursor.sequence = sequence
  }

  function resume(event: Extract<HistoryEvent, { op: 'resume' }>): void {
    const stream = streamOf(event.stream)
    const { reader, epoch, sequence, recovered } = event
    const cursor = stream.cursors.get(reader)
    if (recovered && cursor !== undefined && cursor.epoch !== epoch) {
      report('C6', stream, `${reader} was in epoch ${cursor.epoch} and was recovered in epoch ${epoch}`)
    } else if (recovered && cursor !== undefined && cursor.sequence < sequence) {
      skips.push({ stream, reader, epoch, after: cursor.sequence, before: sequence + 1, index })
    }
    stream.cursors.set(reader, { epoch, sequence })
  }

  function publish(event: Extract<HistoryEvent, { op: 'publish' }>): void {
    const stream = streamOf(event.stream)
    const { id, publisher, hash } = event
    const earlier = stream.messages.get(id)
    if (earlier !== undefined) {
      earlier.attempts++
      return
    }
    const { highestAcked: floor, epochFloor } = stream
    const counts = { attempts: 1, nacks: 0, places: new Map<number, number>() }
    stream.messages.set(id, { id, publisher, hash, publishedAt: index, floor, epochFloor, ...counts })
  }

  function acknowledge(event: Extract<HistoryEvent, { op: 'ack' }>): void {
    const stream = streamOf(event.stream)
    const { id, epoch, sequence } = event
    if (!stream.messages.has(id)) report('C2', stream, `${id} was acknowledged and never published`)
    place(stream, id, event, undefined).ackedAt ??= index
    const highest = stream.highestAcked
    if (epoch > highest.epoch || (epoch === highest.epoch && sequence > highest.sequence)) {
      stream.highestAcked = { epoch, sequence }
    }
  }

  for (const event of events) {
    switch (event.op) {
      case 'publish':
        publish(event)
        break
      case 'ack':
        acknowledge(event)
        break
      case 'nack': {
        const message = streamOf(event.stream).messages.get(event.id)
        if (message !== undefined) message.nacks++
        break
      }
      case 'timeout':
        break
      case 'deliver':
        deliver(event)
        break
      case 'resume':
        resume(event)
        break
      case 'gap': {
        const cursor = streamOf(event.stream).cursors.get(event.reader)
        if (cursor?.epoch === event.epoch) cursor.sequence = Math.max(cursor.sequence, event.sequence)
        break
      }
      case 'fault':
        if (event.kind === 'store-lost') storesLost++
        break
    }
    index++
  }

  for (const skip of skips) checkSkip(skip)
  for (const stream of streams.values()) {
    checkLost(stream)
    checkOutcomes(stream)
  }
  return violations.sort((a, b) => a.index - b.index)

  /** A sender's own messages are not delivered back to it; anything else that was skipped is a hole. */
  function checkSkip({ stream, reader, epoch, after, before, index: at }: Skip): void {
    const inEpoch = stream.places.get(epoch)
    for (let missing = after + 1; missing < before; missing++) {
      const id = inEpoch?.get(missing)?.id
      if (id !== undefined && stream.messages.get(id)?.publisher === reader) continue
      report('C6', stream, `${reader} did not get ${missing} of epoch ${epoch}`, at)
      return
    }
  }

  function checkLost(stream: Stream): void {
    for (const [epoch, inEpoch] of stream.places) {
      const isToEnd = isReadToEnd && epoch === stream.highestEpoch
      const readTo = isToEnd ? Number.POSITIVE_INFINITY : (stream.highestRead.get(epoch) ?? 0)
      for (const [sequence, { id, ackedAt, isRead }] of inEpoch) {
        if (ackedAt === undefined || isRead || sequence > readTo) continue
        report('C1', stream, `${id} at ${sequence} of epoch ${epoch}`, ackedAt)
      }
    }
  }

  /** C2 for attempts that failed, and C5, once it is known what became of each message. */
  function checkOutcomes(stream: Stream): void {
    const highest = new Map<string, SeenPosition & { readonly id: string }>()
    for (const { id, publisher, publishedAt, attempts, nacks, places } of stream.messages.values()) {
      if (nacks >= attempts && places.size > 0) report('C2', stream, `${id} was refused as not stored`, publishedAt)
      if (attempts > 1) continue // a retry may rightly come after what was sent between
      for (const [epoch, sequence] of places) {
        const before = highest.get(publisher)
        if (before !== undefined && before.epoch === epoch && sequence < before.sequence) {
          report('C5', stream, `${publisher} sent ${before.id} before ${id}`, publishedAt)
        } else highest.set(publisher, { epoch, sequence, id })
      }
    }
  }
}
