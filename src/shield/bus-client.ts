// The gateway's side of `ctl`: is there a bus, which life of it, and requests to it.
//
// States: down -> up when a lease is answered, up -> down when one is not. A bus whose id is new, or that does not know
// this gateway, has none of its sessions: `onNewBus` is called and the sessions are opened again.
import type { Clock } from '../base/clock.ts'
import { BusError } from '../base/errors.ts'
import { describeError, type Logger } from '../base/logger.ts'
import {
  busSubjects,
  edgeHeaders,
  edgeSubjects,
  encodeControl,
  type Head,
  type OpenReply,
  type OpenRequest,
  parseControl,
  parseHeads,
  parseMembership,
  parseOpenReply,
  parseRecords,
  text,
} from '../envelope/edge-protocol.ts'
import type { StreamKey } from '../envelope/envelope.ts'
import { outProcessPattern } from '../envelope/subjects.ts'
import type { Link, LinkMessage } from '../link/link.ts'
import type { ReadHole } from './edge-order.ts'

export interface BusClientEvents {
  onNewBus(bus: string): void
  onSessionMessage(message: LinkMessage): void
  onHeads(heads: readonly Head[]): void
  onRemoved(key: StreamKey): void
  onClose(clientId: string, closeName: string, detail: string | undefined): void
  onReachable(isReachable: boolean): void
}

export interface BusClient {
  readonly isReachable: boolean
  /** Rejects with LINK_UNAVAILABLE, LINK_TIMEOUT, AUTHENTICATION_FAILED for revoked tokens, else AUTHORIZATION_ERROR. */
  open(request: OpenRequest): Promise<Extract<OpenReply, { ok: true }>>
  /** Tells the bus that the session is over, again and again until it has heard. */
  closeSession(clientId: string): void
  readonly read: ReadHole
  /** Asks the bus for a sign of life, now. */
  checkLease(): Promise<void>
  close(): Promise<void>
}

export interface BusClientTiming {
  readonly leaseMs: number
  readonly requestMs: number
}

const readPage = 100
/** While no bus answers it is asked this much more often. */
const checksPerLease = 6
/** One answer may be lost; "nobody listens there" counts at once. */
const silencesAllowed = 2

export async function startBusClient(ports: {
  readonly link: Link
  readonly process: string
  /** Sessions that the bus has confirmed. */
  readonly openSessions: () => number
  readonly events: BusClientEvents
  readonly timing: BusClientTiming
  readonly clock: Clock
  readonly logger: Logger
}): Promise<BusClient> {
  const { link, events, timing, logger } = ports
  const closing = new Set<string>()
  let bus: string | undefined
  let isReachable = false
  let isClosed = false
  let lease: Promise<void> | undefined
  let silences = 0
  let ticks = 0

  function setReachable(now: boolean): void {
    if (isReachable === now) return
    isReachable = now
    events.onReachable(now)
  }

  function meet(id: string, hasLostSessions: boolean): void {
    const isNew = id !== bus || hasLostSessions
    bus = id
    silences = 0
    setReachable(true)
    if (isNew) events.onNewBus(id)
  }

  async function ask(subject: string, body: object): Promise<LinkMessage> {
    try {
      return await link.request(subject, encodeControl(body), { timeoutMs: timing.requestMs })
    } catch (error) {
      // Nobody listens there: no bus is running.
      if (error instanceof BusError && error.code === 'TARGET_NOT_FOUND') {
        setReachable(false)
        throw new BusError('LINK_UNAVAILABLE', undefined, {}, error)
      }
      throw error
    }
  }

  async function renew(): Promise<void> {
    // What this bus had when it was asked: sessions opened meanwhile, or at another bus, prove nothing.
    const asked = { bus, sessions: ports.openSessions() }
    try {
      const answer = await ask(busSubjects.lease, { process: ports.process, sessions: asked.sessions })
      const body = parseControl(answer.data)
      const id = text(body, 'bus')
      if (!isClosed) meet(id, body['isKnown'] !== true && asked.sessions > 0 && asked.bus === id && bus === id)
      await Promise.all([...closing].map(sendClose))
    } catch (error) {
      if (isClosed) return
      if (isReachable) logger.warn('shield.lease_failed', describeError(error))
      if (++silences >= silencesAllowed) setReachable(false)
    }
  }

  function checkLease(): Promise<void> {
    lease ??= renew().finally(() => {
      lease = undefined
    })
    return lease
  }

  async function sendClose(clientId: string): Promise<void> {
    try {
      await ask(busSubjects.close, { clientId, reason: 'closed' })
      closing.delete(clientId)
    } catch {
      // kept in `closing`: the next lease tries again
    }
  }

  /** Messages of the bus; a malformed one is a fault of the bus, told and passed over. */
  function control(handle: (message: LinkMessage) => void): (message: LinkMessage) => void {
    return (message) => {
      try {
        handle(message)
      } catch (error) {
        logger.error('shield.bad_control', { subject: message.subject, ...describeError(error) })
      }
    }
  }

  const subscriptions = [
    link.subscribe(
      outProcessPattern(ports.process),
      control((message) => events.onSessionMessage(message)),
    ),
    link.subscribe(
      edgeSubjects.resync,
      control(({ data }) => meet(text(parseControl(data), 'bus'), false)),
    ),
    link.subscribe(
      edgeSubjects.heads,
      control(({ data }) => events.onHeads(parseHeads(data))),
    ),
    link.subscribe(
      edgeSubjects.removed,
      control(({ data }) => events.onRemoved(parseMembership(parseControl(data)))),
    ),
    link.subscribe(
      edgeSubjects.close(ports.process),
      control(({ data }) => {
        const body = parseControl(data)
        const { detail } = body
        events.onClose(text(body, 'clientId'), text(body, 'closeName'), typeof detail === 'string' ? detail : undefined)
      }),
    ),
  ]
  const stopState = link.onState((state) => {
    if (state === 'connected') void checkLease()
    else setReachable(false)
  })
  const timer = setInterval(() => {
    if (!isReachable || ticks++ % checksPerLease === 0) void checkLease()
  }, timing.leaseMs / checksPerLease)
  const stop = (): void => {
    isClosed = true
    clearInterval(timer)
    stopState()
    for (const subscription of subscriptions) subscription.close()
  }
  try {
    await link.flush()
  } catch (error) {
    stop()
    throw error
  }
  await checkLease()

  return {
    get isReachable() {
      return isReachable
    },
    async open(request) {
      const reply = parseOpenReply((await ask(busSubjects.open, request)).data)
      if (!reply.ok) {
        const code = reply.code === 'AUTHENTICATION_FAILED' ? reply.code : 'AUTHORIZATION_ERROR'
        throw new BusError(code, `The bus refused the session: ${reply.code}`)
      }
      return reply
    },
    closeSession(clientId) {
      closing.add(clientId)
      if (isReachable) void sendClose(clientId)
    },
    async read(key, epoch, after) {
      try {
        const { data, headers } = await ask(busSubjects.read, { ...key, epoch, after, limit: readPage })
        const rows = headers[edgeHeaders.records]
        return rows === undefined ? undefined : parseRecords(rows, data)
      } catch (error) {
        logger.warn('shield.read_failed', describeError(error))
        return undefined
      }
    },
    checkLease,
    async close() {
      stop()
      await Promise.all([...closing].map(sendClose))
    },
  }
}
