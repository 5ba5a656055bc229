// Proves that the checker can fail: valid histories pass, and each of eight ways to spoil one is caught by its rule.
import { describe, expect, it } from 'vitest'
import { checkHistory, type HistoryEvent, type HistoryRule } from '../../support/history-checker.ts'

type Deliver = Extract<HistoryEvent, { op: 'deliver' }>
type Ack = Extract<HistoryEvent, { op: 'ack' }>

/** Numbers from a seed, the same each time (mulberry32). */
function createRandom(seed: number) {
  let state = seed
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit: number) => Math.floor(next() * limit)
  return { below, pick: <T>(items: readonly T[]): T => items[below(items.length)]! }
}

interface Sent {
  readonly id: string
  readonly publisher: string
  readonly hash: string
}

/** What a right system may do: two streams, three publishers of whom one also reads, three readers, one lost store. */
function makeHistory(seed: number): HistoryEvent[] {
  const { below, pick } = createRandom(seed)
  const events: HistoryEvent[] = []
  const publishers = ['p1', 'p2', 'p3']
  const readers = ['archive', 'r1', 'p3'] // the archive is never told of a gap, so everything is read by someone
  const streams = ['s1', 's2'].map((stream) => ({
    stream,
    log: [] as Sent[],
    waiting: new Map(publishers.map((publisher) => [publisher, [] as Sent[]])),
    cursors: new Map(readers.map((reader) => [reader, 0])),
  }))
  type Stream = (typeof streams)[number]
  let epoch = 1
  let lastId = 0

  function publish({ stream, waiting }: Stream, publisher: string, again?: Sent): void {
    const sent = again ?? { id: `m${++lastId}`, publisher, hash: `hash of m${lastId}` }
    events.push({ op: 'publish', stream, ...sent })
    waiting.get(publisher)!.push(sent)
  }
  function store({ log }: Stream, sent: Sent): number {
    const known = log.findIndex(({ id }) => id === sent.id)
    return known >= 0 ? known + 1 : log.push(sent)
  }
  function answer(given: Stream, publisher: string, dice = below(100)): void {
    const { stream } = given
    const sent = given.waiting.get(publisher)!.shift()
    if (sent === undefined) return
    const { id } = sent
    if (dice < 80) events.push({ op: 'ack', stream, id, epoch, sequence: store(given, sent) })
    else if (dice < 88) events.push({ op: 'nack', stream, id })
    else {
      if (dice < 94) store(given, sent)
      events.push({ op: 'timeout', stream, id })
      if (below(2) === 0) publish(given, publisher, sent)
    }
  }
  function deliver({ stream, log, cursors }: Stream, reader: string): boolean {
    const sequence = cursors.get(reader)! + 1
    const sent = log[sequence - 1]
    if (sent === undefined) return false
    cursors.set(reader, sequence)
    if (sent.publisher !== reader) {
      events.push({ op: 'deliver', stream, reader, id: sent.id, hash: sent.hash, epoch, sequence })
    }
    return true
  }
  function skip(given: Stream, reader: string, count: number): void {
    const { stream, log, cursors } = given
    const sequence = Math.min(cursors.get(reader)! + count, log.length - 1)
    if (sequence <= cursors.get(reader)!) return
    cursors.set(reader, sequence)
    events.push({ op: 'gap', stream, reader, epoch, sequence })
    deliver(given, reader)
  }
  function resume({ stream, cursors }: Stream, reader: string, recovered: boolean): void {
    const sequence = recovered ? Math.max(0, cursors.get(reader)! - below(3)) : 0
    cursors.set(reader, sequence)
    events.push({ op: 'resume', stream, reader, epoch, sequence, recovered })
  }
  function settle(given: Stream): void {
    for (const publisher of publishers) while (given.waiting.get(publisher)!.length > 0) answer(given, publisher)
    for (const reader of readers) while (deliver(given, reader));
  }
  function live(): void {
    for (let step = 0; step < 150; step++) {
      const given = pick(streams)
      const dice = below(20)
      if (dice < 7) publish(given, pick(publishers))
      else if (dice < 13) answer(given, pick(publishers))
      else if (dice < 18) deliver(given, pick(readers))
      else if (dice < 19) skip(given, 'r1', 1 + below(3))
      else resume(given, pick(readers), true)
    }
    // What each way to spoil a history needs, whatever chance has brought.
    for (const given of streams) {
      settle(given)
      publish(given, 'p1')
      answer(given, 'p1', 85) // refused
      for (const publisher of ['p1', 'p2', 'p1', 'p2']) {
        publish(given, publisher)
        answer(given, publisher, 0)
      }
      skip(given, 'r1', 2)
      settle(given)
    }
  }

  for (const given of streams) for (const reader of readers) resume(given, reader, false)
  live()
  events.push({ op: 'fault', kind: 'store-lost' })
  epoch++
  for (const given of streams) {
    given.log.length = 0
    for (const reader of readers) resume(given, reader, false)
  }
  live()
  return events
}

const isDeliver = (event: HistoryEvent): event is Deliver => event.op === 'deliver'
const isAck = (event: HistoryEvent): event is Ack => event.op === 'ack'
const isSamePlace = (a: Ack | Deliver, b: Ack | Deliver) =>
  a.stream === b.stream && a.epoch === b.epoch && a.sequence === b.sequence

/** Facts about a history from which a way to spoil it picks its victim. */
function survey(events: readonly HistoryEvent[]) {
  const firstPublish = new Map<string, number>()
  const attempts = new Map<string, number>()
  const publisherOf = new Map<string, string>()
  for (const [i, event] of events.entries()) {
    if (event.op !== 'publish') continue
    if (!firstPublish.has(event.id)) firstPublish.set(event.id, i)
    attempts.set(event.id, (attempts.get(event.id) ?? 0) + 1)
    publisherOf.set(event.id, event.publisher)
  }
  /** Once published and acknowledged, with where that stands in the events. */
  const plain = events.flatMap((event, i) =>
    isAck(event) && attempts.get(event.id) === 1
      ? [{ ack: event, ackedAt: i, publishedAt: firstPublish.get(event.id)!, publisher: publisherOf.get(event.id)! }]
      : [],
  )
  const pairs = plain.flatMap((a) =>
    plain
      .filter((b) => b.ack.stream === a.ack.stream && b.ack.epoch === a.ack.epoch && b.publishedAt > a.publishedAt)
      .map((b) => [a, b] as const),
  )
  return { plain, pairs }
}

/** As if the store had placed two messages the other way round, for everyone. */
function exchange(events: readonly HistoryEvent[], a: Ack, b: Ack): HistoryEvent[] {
  const { hash: hashA = '' } = events.find((event) => event.op === 'publish' && event.id === a.id) as { hash?: string }
  const { hash: hashB = '' } = events.find((event) => event.op === 'publish' && event.id === b.id) as { hash?: string }
  return events.map((event) => {
    if (isAck(event) && event.id === a.id) return { ...event, sequence: b.sequence }
    if (isAck(event) && event.id === b.id) return { ...event, sequence: a.sequence }
    if (isDeliver(event) && isSamePlace(event, a)) return { ...event, id: b.id, hash: hashB }
    if (isDeliver(event) && isSamePlace(event, b)) return { ...event, id: a.id, hash: hashA }
    return event
  })
}

type Random = ReturnType<typeof createRandom>

/** Ways to spoil a valid history, each with the rule that has to notice. */
const mutations: Record<
  string,
  { rule: HistoryRule; spoil: (events: HistoryEvent[], random: Random) => HistoryEvent[] }
> = {
  drop: {
    rule: 'C1',
    spoil(events, { pick }) {
      const archived = events.filter(isDeliver).filter(({ reader }) => reader === 'archive')
      const victims = events
        .filter(isAck)
        .filter((ack) =>
          archived.some((e) => e.stream === ack.stream && e.epoch === ack.epoch && e.sequence > ack.sequence),
        )
      const victim = pick(victims)
      return events.filter((event) => !(isDeliver(event) && isSamePlace(event, victim)))
    },
  },
  duplicate: {
    rule: 'C3',
    spoil(events, { pick }) {
      const last = events.findLast((event) => isDeliver(event) && event.reader === 'archive') as Deliver
      const inEpoch = events.filter(isDeliver).filter((e) => e.stream === last.stream && e.epoch === last.epoch)
      const { id, hash } = pick(inEpoch)
      return [...events, { ...last, id, hash, sequence: last.sequence + 1 }]
    },
  },
  swap: {
    rule: 'C5',
    spoil(events, { pick }) {
      const [a, b] = pick(survey(events).pairs.filter(([a, b]) => a.publisher === b.publisher))
      return exchange(events, a.ack, b.ack)
    },
  },
  'alter payload': {
    rule: 'C4',
    spoil(events, { pick }) {
      const victim = pick(events.filter(isDeliver).filter(({ reader }) => reader === 'r1'))
      return events.map((event) => (event === victim ? { ...victim, hash: 'other' } : event))
    },
  },
  'reuse epoch': {
    rule: 'C7',
    spoil: (events) => events.map((event) => ('epoch' in event && event.epoch === 2 ? { ...event, epoch: 1 } : event)),
  },
  'hide gap': {
    rule: 'C6',
    spoil(events, { pick }) {
      const victim = pick(events.filter((event) => event.op === 'gap'))
      return events.filter((event) => event !== victim)
    },
  },
  'deliver after fail': {
    rule: 'C2',
    spoil(events, { pick }) {
      const refused = events.flatMap((event, i) => (event.op === 'nack' ? [{ ...event, i }] : []))
      const published = events.filter((event) => event.op === 'publish')
      const once = refused.filter(({ id }) => published.filter((event) => event.id === id).length === 1)
      const { id, stream } = pick(once)
      const last = events.findLast((e) => isDeliver(e) && e.reader === 'archive' && e.stream === stream) as Deliver
      const { hash } = published.find((event) => event.id === id)!
      return [...events, { ...last, id, hash, sequence: last.sequence + 1 }]
    },
  },
  'reorder acks': {
    rule: 'C8',
    spoil(events, { pick }) {
      const isAfter = survey(events).pairs.filter(([a, b]) => a.publisher !== b.publisher && b.publishedAt > a.ackedAt)
      const [a, b] = pick(isAfter)
      return exchange(events, a.ack, b.ack)
    },
  },
}

const seeds = Array.from({ length: 1_000 }, (_, seed) => seed)

describe('the history checker', () => {
  it('finds nothing in 1,000 valid histories', () => {
    for (const seed of seeds) {
      const found = checkHistory(makeHistory(seed), { isReadToEnd: true })
      expect({ seed, found }).toEqual({ seed, found: [] })
    }
  })

  for (const [name, { rule, spoil }] of Object.entries(mutations)) {
    it(`catches ${name} in all 1,000 by rule ${rule}`, () => {
      const missed = seeds.filter((seed) => {
        const spoiled = spoil(makeHistory(seed), createRandom(seed + 1_000_000))
        return !checkHistory(spoiled, { isReadToEnd: true }).some((violation) => violation.rule === rule)
      })
      expect(missed).toEqual([])
    }, 30_000)
  }

  it('takes a store that lost its end, once everything was read, for a loss', () => {
    const at = { stream: 's', epoch: 1 }
    const events: HistoryEvent[] = [
      { op: 'publish', stream: 's', publisher: 'p', id: 'm1', hash: 'h' },
      { op: 'ack', ...at, id: 'm1', sequence: 1 },
    ]
    expect(checkHistory(events)).toEqual([])
    expect(checkHistory(events, { isReadToEnd: true })).toMatchObject([{ rule: 'C1', index: 1 }])
  })

  it('does not take a position skipped before another one’s own message for that message', () => {
    const published = (['a', 'b', 'c'] as const).map(
      (id): HistoryEvent => ({ op: 'publish', stream: 's', publisher: id === 'a' ? 'me' : 'other', id, hash: id }),
    )
    const got = (id: string, sequence: number): HistoryEvent => {
      return { op: 'deliver', stream: 's', reader: 'me', id, hash: id, epoch: 1, sequence }
    }
    const joined: HistoryEvent = { op: 'resume', stream: 's', reader: 'me', recovered: false, epoch: 1, sequence: 0 }
    const acked = (id: string, sequence: number): HistoryEvent => ({ op: 'ack', stream: 's', id, epoch: 1, sequence })
    const rules = (events: readonly HistoryEvent[]) => checkHistory(events).map(({ rule }) => rule)
    // Nobody but its sender could have read `a`, and senders are not given their own: it counts as never read.
    expect(rules([...published, joined, got('c', 2), acked('a', 1)])).toEqual(['C1'])
    expect(rules([...published, joined, got('c', 3), acked('a', 1), acked('b', 2)])).toEqual(['C6', 'C1', 'C1'])
  })
})
