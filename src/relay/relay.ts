// The bus's side of the link to gateways: sessions opened over `ctl`, their frames in order, their answers, the
// deliveries for their streams. A gateway that is silent for 10 s loses its sessions here; a bus that starts asks all
// gateways to open theirs again (docs/link.md).
import type { Clock } from '../base/clock.ts'
import { BusError, isBusError } from '../base/errors.ts'
import { describeError, type Logger } from '../base/logger.ts'
import { isSampled } from '../base/trace-context.ts'
import {
  busSubjects,
  countOf,
  edgeHeaders,
  edgeSubjects,
  encodeControl,
  numberOf,
  parseControl,
  parseMembership,
  text,
} from '../envelope/edge-protocol.ts'
import type { Position, StreamKey } from '../envelope/envelope.ts'
import { escapeToken } from '../envelope/names.ts'
import { outSessionSubject } from '../envelope/subjects.ts'
import type { Link, LinkHeaders, LinkMessage } from '../link/link.ts'
import type { Telemetry } from '../telemetry/events.ts'
import { createEdgeOutlet } from './outlet.ts'
import { type RemoteClient, subjectHeader } from './remote-client.ts'
import { createRemoteSessions, type RelayCore } from './remote-sessions.ts'

/** Records of a stream above a sequence, ascending, as the history store gives them. */
export type ReadLog = (query: {
  key: StreamKey
  after: number
  limit: number
  maxBytes: number
}) => Promise<readonly { position: Position; sender: string; frame: Uint8Array }[]>

export interface RelayPorts {
  readonly link: Link
  readonly core: RelayCore
  /** Undefined where nothing is stored. */
  readonly readLog: ReadLog | undefined
  readonly limits: { readonly maxMessageBytes: number }
  readonly telemetry: Telemetry
  readonly clock: Clock
  readonly logger: Logger
  readonly timing?: Partial<RelayTiming>
}

export interface RelayTiming {
  readonly headsMs: number
  readonly leaseMs: number
  readonly checkMs: number
}

export interface Relay {
  /** Sessions behind gateways. */
  readonly sessions: number
  readonly counts: Readonly<Record<RelayCount, number>>
  close(): Promise<void>
}

export type RelayCount = 'frames' | 'gaps' | 'impostors' | 'unknown' | 'expired'

const standardTiming: RelayTiming = { headsMs: 2_000, leaseMs: 10_000, checkMs: 1_000 }
/** What a message on the link holds beside the client's frame: headers, and our re-framing of it (design 7). */
export const linkOverheadBytes = 16 * 1024
const readPage = { maxRecords: 100, maxBytes: 512 * 1024 }
const empty = new Uint8Array()

/** Throws START_REFUSED when the link cannot carry the largest message. */
export async function startRelay(ports: RelayPorts): Promise<Relay> {
  const { link, core, telemetry, clock, logger } = ports
  const { rooms } = core
  const { maxMessageBytes } = ports.limits
  if (link.maxPayload < maxMessageBytes + linkOverheadBytes) {
    throw new BusError(
      'START_REFUSED',
      `The link carries ${link.maxPayload} bytes; messages of ${maxMessageBytes} need ${linkOverheadBytes} more`,
      { reason: 'LINK_PAYLOAD_TOO_SMALL' },
    )
  }
  const timing = { ...standardTiming, ...ports.timing }
  const counts: Record<RelayCount, number> = { frames: 0, gaps: 0, impostors: 0, unknown: 0, expired: 0 }
  const isPositioned = ports.readLog !== undefined
  // Where nothing is stored, numbering starts again with each bus: its start time names the life of the stream.
  const busEpoch = clock.now()
  const epochOf = (stream: { epoch: number }): number => (isPositioned ? stream.epoch : busEpoch)
  const outlet = createEdgeOutlet({ link, rooms, isPositioned, epochOf, logger })
  const sessions = createRemoteSessions({ link, core, telemetry, clock, epochOf, publish })

  function publish(subject: string, data: Uint8Array, headers?: LinkHeaders): boolean {
    if (link.state !== 'connected') return false
    try {
      link.publish(subject, data, headers)
      return true
    } catch (error) {
      logger.warn('relay.answer_lost', describeError(error))
      return false
    }
  }

  /** Runs a control handler; what it throws becomes the answer. */
  function answering(handle: (message: LinkMessage) => object | Promise<object>): (message: LinkMessage) => void {
    return (message) => {
      void (async () => {
        let answer: object
        try {
          answer = await handle(message)
        } catch (error) {
          if (!isBusError(error)) logger.error('relay.control_failed', describeError(error))
          answer = { ok: false, code: isBusError(error) ? error.code : 'INTERNAL_ERROR' }
        }
        reply(message, encodeControl(answer))
      })()
    }
  }

  /** An answer the link cannot carry becomes a refusal it can. */
  function reply({ respond }: LinkMessage, data: Uint8Array): void {
    try {
      respond?.(data)
    } catch (error) {
      logger.warn('relay.answer_lost', describeError(error))
      respond?.(encodeControl({ ok: false, code: 'LIMIT_EXCEEDED' }))
    }
  }

  function onFrame(message: LinkMessage): void {
    const { headers } = message
    const tenantToken = message.subject.split('.')[2]!
    const frame = countOf(headers[edgeHeaders.frame])
    const clientId = headers[edgeHeaders.session] ?? ''
    const client = sessions.find(clientId)
    if (client === undefined || frame === undefined) {
      reportUnknown(clientId, tenantToken, frame)
      return
    }
    if (!isOwnFrame(client, tenantToken, headers)) {
      counts.impostors++
      telemetry.emit({
        type: 'security_violation',
        tenant: client.identity.tenant,
        clientId,
        severity: 'error',
        metadata: { reason: 'EDGE_IDENTITY_MISMATCH' },
      })
      return
    }
    if (headers[edgeHeaders.reset] === '1' && frame > client.expected) client.expected = frame
    if (frame > client.expected) {
      counts.gaps++
      client.reportGap(frame)
      return
    }
    if (frame < client.expected) return // the link never repeats: a frame its gateway has given up on
    client.expected++
    counts.frames++
    const hasIntent = headers[edgeHeaders.intent] !== undefined
    // Kept with the message only where its maker asked that the trace be recorded: 80 bytes each are not nothing.
    const traceparent = isSampled(headers['traceparent']) ? headers['traceparent'] : undefined
    const done = () => client.finish(frame, hasIntent)
    const { data } = message
    if (!hasIntent && core.router.take(client, data, 0, data.length, { done, traceparent })) return
    // The link may use its array again; the router keeps frames that wait behind a command.
    core.router.receive(client, Buffer.from(data), true, done, traceparent)
  }

  function reportUnknown(clientId: string, tenantToken: string, frame: number | undefined): void {
    counts.unknown++
    const halves = sessions.halvesOf(clientId)
    if (halves === undefined || frame === undefined) return
    publish(outSessionSubject('x', halves.process, halves.session).replace('.x.', `.${tenantToken}.`), empty, {
      [edgeHeaders.frame]: String(frame),
      [edgeHeaders.unknown]: '1',
    })
  }

  async function read(message: LinkMessage): Promise<void> {
    const respond = message.respond
    if (respond === undefined) return
    try {
      const body = parseControl(message.data)
      const key: StreamKey = parseMembership(body)
      const limit = Math.min(numberOf(body, 'limit'), readPage.maxRecords)
      const records =
        ports.readLog === undefined
          ? []
          : await ports.readLog({ key, after: numberOf(body, 'after'), limit, maxBytes: readPage.maxBytes })
      const epoch = numberOf(body, 'epoch')
      const same = records.filter((record) => record.position.epoch === epoch)
      const rows = same.map(({ position, sender, frame }) => [position.sequence, sender, frame.length])
      respond(Buffer.concat(same.map(({ frame }) => frame)), { [edgeHeaders.records]: JSON.stringify(rows) })
    } catch (error) {
      logger.warn('relay.read_failed', describeError(error))
      respond(empty, { [edgeHeaders.error]: isBusError(error) ? error.code : 'INTERNAL_ERROR' })
    }
  }

  const subscriptions = [
    link.subscribe(busSubjects.frames, onFrame),
    link.subscribe(
      busSubjects.open,
      answering(({ data }) => sessions.open(data)),
    ),
    link.subscribe(
      busSubjects.close,
      answering(({ data }) => {
        sessions.close(text(parseControl(data), 'clientId'))
        return { ok: true }
      }),
    ),
    link.subscribe(
      busSubjects.lease,
      answering(({ data }) => {
        const isKnown = sessions.renew(text(parseControl(data), 'process'), clock.monotonic())
        return { ok: true, bus: core.process, isKnown }
      }),
    ),
    link.subscribe(busSubjects.read, (message) => void read(message)),
  ]
  rooms.outlet = outlet
  const heads = setInterval(() => outlet.announceHeads(), timing.headsMs)
  const leases = setInterval(() => {
    counts.expired += sessions.expire(clock.monotonic() - timing.leaseMs)
  }, timing.checkMs)
  await link.flush()
  link.publish(edgeSubjects.resync, encodeControl({ bus: core.process }))

  return {
    get sessions() {
      return sessions.size
    },
    counts,
    async close() {
      clearInterval(heads)
      clearInterval(leases)
      for (const subscription of subscriptions) subscription.close()
      rooms.outlet = undefined
      sessions.closeAll()
    },
  }
}

function isOwnFrame(client: RemoteClient, tenantToken: string, headers: LinkHeaders): boolean {
  const { identity } = client
  return (
    escapeToken(identity.tenant) === tenantToken &&
    headers[edgeHeaders.subject] === subjectHeader(identity) &&
    headers[edgeHeaders.role] === identity.role
  )
}
