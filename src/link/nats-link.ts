// The link over core NATS (docs/link.md). The client library carries one connection at a time and never reconnects;
// losing one, finding the next and restoring subscriptions is done here, so that nothing is queued in between.
//
// States: connected -> disconnected when the connection ends or the server falls silent (2 s), and back, for ever;
// closed is final.
import { setTimeout as pause } from 'node:timers/promises'
import { type Msg, type NatsConnection, PermissionViolationError, type Subscription } from '@nats-io/transport-node'
import { backoffMs } from '../base/backoff.ts'
import { BusError, invalid } from '../base/errors.ts'
import { describeError, type Logger } from '../base/logger.ts'
import { checkSubject, parsePattern, parseSubject } from '../base/subject-pattern.ts'
import type { Link, LinkMessage, LinkReport, LinkState } from './link.ts'
import { dialAny, type NatsServer } from './nats-dial.ts'
import {
  clientHeaders,
  deniedError,
  plain,
  publisherOf,
  replySubject,
  toLinkHeaders,
  toRequestError,
} from './nats-messages.ts'
import { type Pulse, startPulse } from './nats-pulse.ts'
import { checkPayload } from './payload.ts'

export interface NatsLinkOptions {
  readonly servers: readonly NatsServer[]
  /** Shown by the server's monitoring. */
  readonly name: string
  readonly logger: Logger
  readonly timing?: Partial<NatsTiming>
  /** In [0, 1); for the spread of reconnects. */
  readonly random?: () => number
}

export interface NatsTiming {
  /** Waits between the attempts of the first connect; one attempt more than there are waits. */
  readonly firstWaitsMs: readonly number[]
  readonly dialMs: number
  readonly tickMs: number
  readonly silentTicks: number
  readonly flushMs: number
  readonly backoffBaseMs: number
  readonly backoffMaxMs: number
}

interface Entry {
  readonly pattern: string
  readonly queue: string | undefined
  readonly onMessage: (message: LinkMessage) => void
  subscription: Subscription | undefined
  isClosed: boolean
  isDenied: boolean
}

interface Connection {
  readonly nc: NatsConnection
  readonly publish: ReturnType<typeof publisherOf>
  readonly pulse: Pulse
  readonly maxPayload: number
  /** Ends waiting flushes. */
  readonly flushes: Set<(error: BusError) => void>
  readonly deniedSubjects: Set<string>
  /** Ticks for which a denied publish is still reported. */
  deniedTicks: number
  ticks: number
}

/** Four attempts at a server that says nothing take 10 s. */
const standardTiming: NatsTiming = {
  firstWaitsMs: [300, 600, 1_100],
  dialMs: 2_000,
  tickMs: 250,
  silentTicks: 6,
  flushMs: 2_000,
  backoffBaseMs: 100,
  backoffMaxMs: 5_000,
}
/** What a server that stopped reading may cost in memory, and what a slow network must carry within the silence. */
const maxUnconfirmedBytes = 16 * 1024 * 1024
/** Ticks between attempts to subscribe again where it was denied, and how long a denied publish is remembered. */
const retryDeniedTicks = 20
const deniedPublishTicks = 240
/** Denied subjects named in the log, per connection; all are counted. */
const maxNamedSubjects = 100
const messageOverheadBytes = 256

/** Rejects with LINK_DENIED at once, with LINK_UNAVAILABLE after the first attempts. */
export async function openNatsLink(options: NatsLinkOptions): Promise<Link> {
  const { servers, name, logger } = options
  const timing = { ...standardTiming, ...options.timing }
  const random = options.random ?? Math.random
  const entries = new Set<Entry>()
  const unproven = new Set<Entry>()
  const listeners = new Set<(state: LinkState) => void>()
  const counts = { reconnects: 0, denied: 0, congested: 0 }
  const ended = new AbortController()
  let state: LinkState = 'disconnected'
  let connection: Connection | undefined
  let maxPayload = 0

  function setState(next: LinkState): void {
    if (state === next) return
    state = next
    for (const listener of listeners) listener(next)
  }

  const dial = (): Promise<NatsConnection> => dialAny(shuffled(servers, random), { name, timeoutMs: timing.dialMs })

  function adopt(nc: NatsConnection): void {
    const pulse = startPulse(nc, timing, {
      onTick: () => lookAtDenied(adopted),
      onSilent: () => lose(adopted, 'the server does not answer'),
    })
    const adopted: Connection = {
      nc,
      publish: publisherOf(nc),
      pulse,
      maxPayload: nc.info?.max_payload ?? 0,
      flushes: new Set(),
      deniedSubjects: new Set(),
      deniedTicks: 0,
      ticks: 0,
    }
    connection = adopted
    maxPayload = adopted.maxPayload
    for (const entry of entries) attach(adopted, entry)
    void watch(adopted)
    void nc.closed().then((error) => lose(adopted, error instanceof Error ? error.message : 'connection closed'))
    logger.info('link.connected', { server: nc.getServer(), version: nc.info?.version })
    setState('connected')
  }

  async function watch({ nc }: Connection): Promise<void> {
    for await (const status of nc.status()) {
      if (status.type === 'ldm') logger.warn('link.server_leaving', { server: status.server })
      if (status.type !== 'error') continue
      if (status.error instanceof PermissionViolationError) onDenied(status.error)
      else logger.warn('link.server_error', describeError(status.error))
    }
  }

  function onDenied({ operation, subject }: PermissionViolationError): void {
    counts.denied++
    if (connection === undefined) return
    if (operation === 'publish') connection.deniedTicks = deniedPublishTicks
    const { deniedSubjects } = connection
    if (deniedSubjects.has(subject) || deniedSubjects.size >= maxNamedSubjects) return
    deniedSubjects.add(subject)
    logger.error('link.denied', { operation, subject })
  }

  function lookAtDenied(adopted: Connection): void {
    if (adopted.deniedTicks > 0) adopted.deniedTicks--
    if (++adopted.ticks % retryDeniedTicks !== 0) return
    for (const entry of entries) if (entry.isDenied) attach(adopted, entry)
  }

  function lose(lost: Connection, reason: string): void {
    if (connection !== lost) return
    connection = undefined
    lost.pulse.close()
    // Destroys the socket too, with what a server that stopped reading has not taken.
    void lost.nc.close()
    logger.warn('link.lost', { reason })
    setState('disconnected')
    for (const fail of lost.flushes) fail(new BusError('LINK_UNAVAILABLE'))
    void dialAgain()
  }

  async function dialAgain(): Promise<void> {
    let told = ''
    for (let attempt = 0; state === 'disconnected'; attempt++) {
      try {
        const waitMs = backoffMs(attempt, random(), timing.backoffBaseMs, timing.backoffMaxMs)
        await pause(waitMs, undefined, { signal: ended.signal })
        const nc = await dial()
        if (ended.signal.aborted) return await nc.close()
        counts.reconnects++
        adopt(nc)
      } catch (error) {
        if (ended.signal.aborted) return
        const failure = describeError(error)
        if (failure['message'] !== told) logger.warn('link.dial_failed', failure)
        told = String(failure['message'])
      }
    }
  }

  function attach(to: Connection, entry: Entry): void {
    entry.isDenied = false
    entry.subscription = to.nc.subscribe(entry.pattern, {
      ...(entry.queue !== undefined && { queue: entry.queue }),
      callback(error, message) {
        if (error !== null) entry.isDenied = true
        else if (!entry.isClosed && connection === to) hand(entry, message)
      },
    })
  }

  function hand(entry: Entry, message: Msg): void {
    try {
      entry.onMessage(toLinkMessage(message))
    } catch (error) {
      // A bug of its owner: it surfaces, while the client, whose reader it would end, goes on.
      setImmediate(() => {
        throw error
      })
    }
  }

  function toLinkMessage(message: Msg): LinkMessage {
    const { subject } = message
    const data = plain(message.data)
    const headers = toLinkHeaders(message)
    const reply = replySubject(message)
    if (reply === undefined) return { subject, data, headers }
    return {
      subject,
      data,
      headers,
      respond(answer, answerHeaders) {
        const block = checkPayload(answer, answerHeaders, maxPayload)
        if (connection === undefined) return
        admit(connection, answer).publish(reply, answer, block)
      },
    }
  }

  /** The open connection, if what it holds leaves room for more. */
  function admit(open: Connection | undefined, data: Uint8Array): Connection {
    if (open === undefined || open.nc.isClosed()) throw new BusError('LINK_UNAVAILABLE')
    if (open.pulse.unconfirmed >= maxUnconfirmedBytes) {
      counts.congested++
      throw new BusError('LINK_UNAVAILABLE', 'The link is congested; nothing was sent', { reason: 'LINK_CONGESTED' })
    }
    open.pulse.sent(data.length + messageOverheadBytes)
    return open
  }

  function flush(): Promise<void> {
    const open = connection
    if (open === undefined || open.nc.isClosed()) return Promise.reject(new BusError('LINK_UNAVAILABLE'))
    const proving = [...unproven]
    unproven.clear()
    return new Promise((resolve, reject) => {
      function settle(error?: BusError): void {
        clearTimeout(timer)
        open!.flushes.delete(settle)
        if (error === undefined) resolve()
        else reject(error)
      }
      const timer = setTimeout(
        () => settle(new BusError('LINK_TIMEOUT', 'The message server does not answer')),
        timing.flushMs,
      )
      open.flushes.add(settle)
      open.nc.flush().then(
        () => settle(proving.some((entry) => entry.isDenied) ? deniedError() : undefined),
        (cause: unknown) => settle(new BusError('LINK_UNAVAILABLE', undefined, {}, cause)),
      )
    })
  }

  const link: Link = {
    get maxPayload() {
      return maxPayload
    },
    get state() {
      return state
    },
    publish(subject, data, headers) {
      checkSubject(subject)
      const block = checkPayload(data, headers, maxPayload)
      admit(connection, data).publish(subject, data, block)
    },
    async request(subject, data, { headers, timeoutMs }) {
      checkSubject(subject)
      const block = checkPayload(data, headers, maxPayload)
      const { nc } = admit(connection, data)
      try {
        const answer = await nc.request(subject, new Uint8Array(data), {
          timeout: timeoutMs,
          ...clientHeaders(block),
        })
        return { subject: answer.subject, data: plain(answer.data), headers: toLinkHeaders(answer) }
      } catch (cause) {
        throw toRequestError(cause)
      }
    },
    subscribe(pattern, onMessage, { queue } = {}) {
      if (queue !== undefined && parseSubject(queue).length !== 1) throw invalid('BAD_SUBJECT', 'not a queue name')
      parsePattern(pattern)
      if (state === 'closed') throw new BusError('LINK_UNAVAILABLE')
      const entry: Entry = { pattern, queue, onMessage, subscription: undefined, isClosed: false, isDenied: false }
      entries.add(entry)
      unproven.add(entry)
      if (connection !== undefined && !connection.nc.isClosed()) attach(connection, entry)
      return {
        close() {
          if (entry.isClosed) return
          entry.isClosed = true
          entries.delete(entry)
          unproven.delete(entry)
          if (connection !== undefined && !connection.nc.isClosed()) entry.subscription?.unsubscribe()
        },
      }
    },
    flush,
    onState(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    report(): LinkReport {
      const denied = [...entries].filter((entry) => entry.isDenied).length
      const isPublishDenied = (connection?.deniedTicks ?? 0) > 0
      const trouble =
        denied > 0 || isPublishDenied
          ? `NATS denies ${[denied > 0 && `${denied} subscriptions`, isPublishDenied && 'publishes'].filter(Boolean).join(' and ')}; the log names the subjects`
          : undefined
      return { trouble, counts: { ...counts } }
    },
    async close() {
      if (state === 'closed') return
      const last = connection
      // What was published before still leaves; a server that does not take it is not waited for.
      if (last !== undefined) await flush().catch(() => undefined)
      ended.abort()
      connection = undefined
      last?.pulse.close()
      setState('closed')
      await last?.nc.close()
    },
  }

  for (let attempt = 0; state === 'disconnected'; attempt++) {
    try {
      adopt(await dial())
    } catch (error) {
      const waitMs = timing.firstWaitsMs[attempt]
      if (waitMs === undefined || (error instanceof BusError && error.code === 'LINK_DENIED')) throw error
      logger.warn('link.dial_failed', describeError(error))
      await pause(waitMs)
    }
  }
  return link
}

function shuffled<T>(items: readonly T[], random: () => number): readonly T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}
