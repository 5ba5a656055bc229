// The link inside one process, with the rules of core NATS, so that what works here works there.
//
// Each link has an outbox (what its owner called, in order) and an inbox. One hub turn moves all outboxes through the
// routing table, as a server would, then empties the inboxes. So a subscription counts only once it was flushed,
// delivery is always on a later event-loop turn, and order holds per link and receiver.
import { BusError, invalid } from '../base/errors.ts'
import { randomHex } from '../base/ids.ts'
import { parsePattern, parseSubject } from '../base/subject-pattern.ts'
import { deliver, type Faults } from './faults.ts'
import type { Link, LinkHeaders, LinkMessage, LinkState, LinkSubscription } from './link.ts'
import { checkPayload } from './payload.ts'
import { SubjectTree } from './subjects.ts'

export interface MemoryHub {
  /** A new link; `name` is how faults and `disconnect` know it. */
  connect(name: string): Link
  /** Cuts the links of that name off: what is on its way to or from them is lost, their subscriptions are kept. */
  disconnect(name: string): void
  reconnect(name: string): void
}

interface Subscription {
  readonly owner: Port
  readonly pattern: readonly string[]
  readonly queue: string | undefined
  readonly onMessage: (message: LinkMessage) => void
  isClosed: boolean
}

interface Publication {
  readonly subject: string
  readonly tokens: readonly string[]
  readonly data: Uint8Array
  readonly headers: LinkHeaders
  /** The inbox subject of a request. */
  readonly replyTo?: string
}

interface Arrival {
  readonly subscription: Subscription
  readonly publication: Publication
  readonly dueTurn: number
}

/** The hub's side of one link. */
interface Port {
  readonly name: string
  readonly outbox: (() => void)[]
  readonly subscriptions: Set<Subscription>
  readonly flushes: Set<(error: BusError) => void>
  inbox: Arrival[]
  state: LinkState
  setState(state: LinkState): void
  onUnanswerable(replyTo: string): void
}

const noHeaders: LinkHeaders = {}

export function createMemoryHub(options: { maxPayload: number; faults?: Faults }): MemoryHub {
  const table = new SubjectTree<Subscription>()
  const ports = new Set<Port>()
  const returns = new Map<Port, number>()
  const faults = options.faults ?? (() => deliver)
  let turnNumber = 0
  let nextInQueue = 0
  let isScheduled = false

  function schedule(): void {
    if (isScheduled) return
    isScheduled = true
    setImmediate(turn)
  }

  function turn(): void {
    isScheduled = false
    turnNumber++
    for (const [port, returnsAt] of returns) {
      if (returnsAt > turnNumber) continue
      returns.delete(port)
      attach(port)
    }
    for (const port of ports) for (const act of port.outbox.splice(0)) act()
    const due: Arrival[] = []
    for (const port of ports) {
      const held = port.inbox.findIndex((arrival) => arrival.dueTurn > turnNumber)
      due.push(...port.inbox.splice(0, held === -1 ? port.inbox.length : held))
      if (port.inbox.length > 0) schedule()
    }
    if (returns.size > 0) schedule()
    hand(due, 0)
  }

  /** A callback that throws is a bug of its owner: it surfaces, and the messages behind it still arrive. */
  function hand(due: readonly Arrival[], from: number): void {
    let next = from
    try {
      while (next < due.length) {
        const { subscription, publication } = due[next++]!
        if (!subscription.isClosed && subscription.owner.state === 'connected') call(subscription, publication)
      }
    } finally {
      if (next < due.length) setImmediate(hand, due, next)
    }
  }

  function call(subscription: Subscription, { subject, data, headers, replyTo }: Publication): void {
    const { owner, onMessage } = subscription
    if (replyTo === undefined) {
      onMessage({ subject, data, headers })
      return
    }
    onMessage({
      subject,
      data,
      headers,
      respond(answer, answerHeaders) {
        if (owner.state === 'connected') publish(owner, replyTo, answer, answerHeaders)
      },
    })
  }

  function publish(port: Port, subject: string, data: Uint8Array, headers?: LinkHeaders, replyTo?: string): void {
    const tokens = parseSubject(subject)
    checkPayload(data, headers, options.maxPayload)
    if (port.state !== 'connected') throw new BusError('LINK_UNAVAILABLE')
    const publication: Publication = {
      subject,
      tokens,
      // The caller may use its array again as soon as this returns; the slice of a Buffer would be no copy.
      data: new Uint8Array(data),
      headers: headers === undefined ? noHeaders : { ...headers },
      ...(replyTo !== undefined && { replyTo }),
    }
    port.outbox.push(() => route(port, publication))
    schedule()
  }

  function route(from: Port, publication: Publication): void {
    const queues = new Map<string, Subscription[]>()
    let hasReceiver = false
    for (const subscription of table.find(publication.tokens)) {
      if (subscription.owner.state !== 'connected') continue
      hasReceiver = true
      if (subscription.queue === undefined) send(from, subscription, publication)
      else {
        const group = `${subscription.queue} ${subscription.pattern.join('.')}`
        const members = queues.get(group)
        if (members === undefined) queues.set(group, [subscription])
        else members.push(subscription)
      }
    }
    for (const members of queues.values()) send(from, members[nextInQueue++ % members.length]!, publication)
    if (!hasReceiver && publication.replyTo !== undefined) from.onUnanswerable(publication.replyTo)
  }

  function send(from: Port, subscription: Subscription, publication: Publication): void {
    const { owner } = subscription
    const fate = faults({ subject: publication.subject, from: from.name, to: owner.name })
    if (fate.kind === 'drop') return
    if (fate.kind === 'disconnect') {
      detach(owner)
      returns.set(owner, turnNumber + fate.turns)
      schedule()
      return
    }
    owner.inbox.push({ subscription, publication, dueTurn: fate.kind === 'delay' ? turnNumber + fate.turns : 0 })
  }

  function detach(port: Port, state: 'disconnected' | 'closed' = 'disconnected'): void {
    if (port.state === state) return
    port.outbox.length = 0
    port.inbox = []
    port.setState(state)
    for (const fail of port.flushes) fail(new BusError('LINK_UNAVAILABLE'))
    port.flushes.clear()
  }

  function attach(port: Port): void {
    if (port.state !== 'disconnected') return
    // A client library sends its subscriptions again when it is back.
    for (const subscription of port.subscriptions) table.add(subscription.pattern, subscription)
    port.setState('connected')
  }

  function connect(name: string): Link {
    const listeners = new Set<(state: LinkState) => void>()
    const answers = new Map<string, (outcome: LinkMessage | BusError) => void>()
    let nextRequest = 0

    const port: Port = {
      name,
      outbox: [],
      subscriptions: new Set(),
      flushes: new Set(),
      inbox: [],
      state: 'connected',
      setState(state) {
        port.state = state
        for (const listener of listeners) listener(state)
      },
      onUnanswerable(replyTo) {
        answers.get(replyTo)?.(new BusError('TARGET_NOT_FOUND', 'Nobody listens there'))
      },
    }
    ports.add(port)

    function subscribe(
      pattern: string,
      onMessage: (message: LinkMessage) => void,
      subscribeOptions: { queue?: string } = {},
    ): LinkSubscription {
      const { queue } = subscribeOptions
      if (queue !== undefined && parseSubject(queue).length !== 1) throw invalid('BAD_SUBJECT', 'not a queue name')
      if (port.state === 'closed') throw new BusError('LINK_UNAVAILABLE')
      const subscription: Subscription = {
        owner: port,
        pattern: parsePattern(pattern),
        queue,
        onMessage,
        isClosed: false,
      }
      port.subscriptions.add(subscription)
      port.outbox.push(() => {
        if (!subscription.isClosed) table.add(subscription.pattern, subscription)
      })
      schedule()
      return {
        close() {
          subscription.isClosed = true
          port.subscriptions.delete(subscription)
          table.remove(subscription.pattern, subscription)
        },
      }
    }

    // Each link has its own inbox prefix, as client libraries do.
    const inboxPrefix = `_INBOX.${randomHex(8)}`
    subscribe(`${inboxPrefix}.*`, ({ subject, data, headers }) => answers.get(subject)?.({ subject, data, headers }))

    return {
      maxPayload: options.maxPayload,
      get state() {
        return port.state
      },
      publish: (subject, data, headers) => publish(port, subject, data, headers),
      request(subject, data, { headers, timeoutMs }) {
        return new Promise<LinkMessage>((resolve, reject) => {
          const replyTo = `${inboxPrefix}.${++nextRequest}`
          publish(port, subject, data, headers, replyTo)
          const timer = setTimeout(() => settle(new BusError('LINK_TIMEOUT', 'Nobody answered in time')), timeoutMs)
          const settle = (outcome: LinkMessage | BusError): void => {
            clearTimeout(timer)
            answers.delete(replyTo)
            if (outcome instanceof BusError) reject(outcome)
            else resolve(outcome)
          }
          answers.set(replyTo, settle)
        })
      },
      subscribe,
      flush() {
        if (port.state !== 'connected') return Promise.reject(new BusError('LINK_UNAVAILABLE'))
        return new Promise((resolve, reject) => {
          port.flushes.add(reject)
          port.outbox.push(() => {
            port.flushes.delete(reject)
            resolve()
          })
          schedule()
        })
      },
      onState(listener) {
        listeners.add(listener)
        return () => listeners.delete(listener)
      },
      async close() {
        if (port.state === 'closed') return
        detach(port, 'closed')
        for (const subscription of port.subscriptions) table.remove(subscription.pattern, subscription)
        port.subscriptions.clear()
        ports.delete(port)
        for (const settle of answers.values()) settle(new BusError('LINK_TIMEOUT', 'The link was closed'))
      },
    }
  }

  const named = (name: string): Port[] => [...ports].filter((port) => port.name === name)
  return {
    connect,
    disconnect(name) {
      for (const port of named(name)) detach(port)
    },
    reconnect(name) {
      for (const port of named(name)) attach(port)
    },
  }
}
