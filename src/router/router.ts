// From a client's frame to its effect and its answer: decode, check the tenant, then publish, send privately, or run a
// command. Frames of one client take effect in the order they came; an answer or an error goes back for each.
import { isAdmin, may } from '../auth/grants.ts'
import type { Identity } from '../auth/identity.ts'
import type { Clock } from '../base/clock.ts'
import { BusError, invalid, isBusError } from '../base/errors.ts'
import { randomHex } from '../base/ids.ts'
import type { JsonValue } from '../base/json.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { AckRequest, Envelope, InboundType } from '../envelope/envelope.ts'
import type { Rooms } from '../rooms/rooms.ts'
import type { Client } from '../session/client.ts'
import type { HistoryStore } from '../storage/store.ts'
import type { Telemetry } from '../telemetry/events.ts'
import { checkInbound } from '../wire/envelope-rules.ts'
import { decodeJson } from '../wire/json-codec.ts'
import type { WireLimits } from '../wire/limits.ts'
import { envelopeOfFrame, type FrameScan, frameFromEnvelope, reframe, scanFrame } from '../wire/message-frame.ts'
import { decodeProtobuf } from '../wire/protobuf-codec.ts'
import { type Audit, auditCommand, auditRefusal, noAudit } from './audit.ts'
import type { ClientRegistry } from './clients.ts'
import { type CommandPorts, type CommandResult, keyOf, type Permission } from './command.ts'
import { createFastPublish, type RemoteWork } from './fast-publish.ts'
import type { Publisher } from './publisher.ts'
import type { Replies } from './replies.ts'
import { findCommand } from './table.ts'

export interface RouterPorts {
  readonly commands: CommandPorts
  readonly publisher: Publisher
  readonly replies: Replies
  readonly clients: ClientRegistry
  readonly rooms: Rooms
  readonly store: HistoryStore | undefined
  readonly clock: Clock
  readonly telemetry: Telemetry
  readonly audit?: Audit
  readonly logger: Logger
  readonly nextId: () => string
  readonly wire: { readonly allowJson: boolean; readonly limits: WireLimits }
  readonly maxInflight: number
}

export interface Router {
  /**
   * Takes one frame. `done` is called once, after the last frame that answers it was sent (frames that need no answer
   * included). `traceparent` is kept with the message where it brings none. Never throws. The bytes must not change afterwards.
   */
  receive(client: Client, data: Uint8Array, isBinary: boolean, done?: () => void, traceparent?: string): void
  /**
   * The short way for a binary frame at `[start, end)`: true when it was published and answered. Otherwise nothing has
   * happened, and it is for `receive`. `work`: of a frame that came through a gateway, as for `receive`.
   */
  take(client: Client, bytes: Uint8Array, start: number, end: number, work?: RemoteWork): boolean
  /** To be called when the client is gone: its memberships end. */
  forget(client: Client): void
  /** Frames refused, by error code. */
  readonly refusals: ReadonlyMap<string, number>
}

/** Where telemetry frames without a room go (original-contract 3.7). */
const telemetryRoom = { room: 'integriguard', channel: 'telemetry-stream' }

interface Work {
  readonly data: Uint8Array
  readonly isBinary: boolean
  readonly done: (() => void) | undefined
  readonly traceparent: string | undefined
}

/** What publishing needs of a frame, from either wire format. */
interface Outgoing {
  readonly type: 'message' | 'telemetry'
  readonly id: string
  readonly room: string | undefined
  readonly channel: string | undefined
  readonly toClient: string | undefined
  readonly ack: AckRequest | undefined
  readonly named: string | undefined
  readonly echo: JsonValue | undefined
  readonly traceparent?: string | undefined
  frame(): Uint8Array
}

export function createRouter(ports: RouterPorts): Router {
  const { replies, publisher, telemetry, wire, audit = noAudit } = ports
  const refusals = new Map<string, number>()
  /** Frames waiting behind a command that is still running, by client. */
  const lanes = new Map<Client, Work[]>()

  const fast = createFastPublish({
    rooms: ports.rooms,
    clock: ports.clock,
    telemetry,
    limits: wire.limits,
    counts: publisher.counts,
    acknowledge: (client, id, isDuplicate) => replies.acknowledge(client, id, { level: 'memory', isDuplicate }),
    publish: (publication) => publisher.publish(publication),
    isStored: ports.store !== undefined,
    maxInflight: ports.maxInflight,
  })

  /** Frames of the common shape, unless an earlier frame of the client is still at work. */
  function take(client: Client, bytes: Uint8Array, start: number, end: number, work?: RemoteWork): boolean {
    if (lanes.size > 0 && lanes.has(client)) return false
    try {
      if (!fast.take(client, bytes, start, end, work)) return false
    } catch {
      return false // the general way meets the same error, and answers it
    }
    client.format = 'protobuf'
    return true
  }

  function refuse(
    client: Client,
    error: BusError,
    about: { requestId?: string; room?: string; channel?: string },
  ): void {
    refusals.set(error.code, (refusals.get(error.code) ?? 0) + 1)
    telemetry.emit({
      type: error.code === 'TENANT_MISMATCH' ? 'security_violation' : 'message_refused',
      tenant: client.identity.tenant,
      clientId: client.id,
      severity: 'warning',
      metadata: {
        code: error.code,
        ...(typeof error.details['reason'] === 'string' && { reason: error.details['reason'] }),
      },
    })
    auditRefusal(audit, client, error)
    client.send(replies.error(error, about))
  }

  /** The one boundary where whatever goes wrong with a frame becomes an answer. */
  function toBusError(client: Client, cause: unknown): BusError {
    if (isBusError(cause)) return cause
    const errorId = randomHex(4)
    ports.logger.error('router.internal_error', { errorId, clientId: client.id, ...describeError(cause) })
    return new BusError('INTERNAL_ERROR', undefined, { error_id: errorId }, cause)
  }

  function handle(client: Client, { data, isBinary, done, traceparent }: Work): Promise<void> | undefined {
    let requestId: string | undefined
    try {
      if (!isBinary) {
        if (!wire.allowJson) {
          client.format = 'protobuf'
          throw new BusError('INFRA_PROTOCOL_ERROR', undefined, { required_protocol: 'protobuf' })
        }
        const envelope = decodeJson(utf8.decode(data), wire.limits, { nextId: ports.nextId, nowMs: ports.clock.now() })
        requestId = envelope.id
        const type = checkInbound(envelope)
        client.format = 'json'
        return act(client, envelope, type, done)
      }
      const scan = scanFrame(data, wire.limits)
      requestId = scan.id
      client.format = 'protobuf'
      if (scan.type === 'message' || scan.type === 'telemetry') {
        send(client, outgoingOfScan(scan, scan.type, client, traceparent), done)
        return undefined
      }
      const envelope = decodeProtobuf(data, wire.limits)
      return act(client, envelope, checkInbound(envelope), done)
    } catch (cause) {
      const error = toBusError(client, cause)
      const about = requestId ?? error.details['message_id']
      refuse(client, error, typeof about === 'string' ? { requestId: about } : {})
      done?.()
      return undefined
    }
  }

  function act(
    client: Client,
    envelope: Envelope,
    type: InboundType,
    done: (() => void) | undefined,
  ): Promise<void> | undefined {
    switch (type) {
      case 'message':
      case 'telemetry':
        send(client, outgoingOfEnvelope(envelope, type, client), done)
        return undefined
      case 'command':
        return runCommand(client, envelope, done)
      case 'operator.join':
        throw new BusError('FEATURE_DISABLED', 'Operator groups are not part of this server')
      case 'response':
      case 'error':
        done?.() // for operators' results; nobody waits for them here
        return undefined
    }
  }

  function send(client: Client, out: Outgoing, done: (() => void) | undefined): void {
    const tenant = tenantOf(client.identity, out.named)
    if (out.toClient !== undefined) {
      sendPrivately(client, tenant, out.toClient, out)
      done?.()
      return
    }
    const isTelemetry = out.type === 'telemetry'
    const room = out.room ?? (isTelemetry ? telemetryRoom.room : undefined)
    const channel = out.channel ?? (isTelemetry ? telemetryRoom.channel : undefined)
    if (room === undefined || channel === undefined) {
      const field = room === undefined ? 'room' : 'channel'
      throw invalid('NO_ROUTE', `a message needs room and channel, or to_client; ${field} is missing`, { field })
    }
    const ack = isTelemetry ? 'none' : out.ack
    if (ack === 'stored' && ports.store === undefined) {
      throw new BusError(
        'FEATURE_DISABLED',
        'Nothing is stored here; ask for metadata.ack accepted, or set ARQONBUS_ENABLE_PERSISTENCE=true',
      )
    }
    if (client.inflight >= ports.maxInflight) {
      throw new BusError('INFLIGHT_EXCEEDED', `${ports.maxInflight} publishes are unanswered; wait for answers`, {
        max: ports.maxInflight,
      })
    }
    const frame = out.frame()
    publisher.publish({
      client,
      key: keyOf(tenant, room, channel), // both were judged with the frame
      id: out.id,
      frame,
      ack,
      done,
      ...(out.echo !== undefined && { payload: out.echo }),
      ...(out.traceparent !== undefined && { traceparent: out.traceparent }),
    })
  }

  /** Not stored: the answer says `accepted` at most (design 5). */
  function sendPrivately(client: Client, tenant: string, target: string, out: Outgoing): void {
    const peer = ports.clients.find(target)
    if (peer === undefined || peer.isClosed || peer.identity.tenant !== tenant) throw new BusError('TARGET_NOT_FOUND')
    if (out.ack === 'stored')
      throw invalid('BAD_ACK', 'private messages are never stored; ask for accepted', { field: 'metadata.ack' })
    peer.send(envelopeOfFrame(out.frame()))
    if (out.ack === 'none') return
    const ack = { level: 'memory' as const, ...(out.echo !== undefined && { payload: out.echo }) }
    replies.acknowledge(client, out.id, ack)
  }

  /** The tenant the frame works in: the token's. Only an operator may name another (design 4). */
  function tenantOf(identity: Identity, named: string | undefined): string {
    if (identity.role === 'operator') return named ?? 'default'
    if (named !== undefined && named !== identity.tenant) throw new BusError('TENANT_MISMATCH')
    return identity.tenant
  }

  async function runCommand(client: Client, request: Envelope, done: (() => void) | undefined): Promise<void> {
    const name = request.command ?? ''
    const command = findCommand(name)
    const audited = { name, permission: command?.permission ?? 'none', args: request.args }
    let isAnswered = false
    const answer = ({ message, data }: CommandResult): void => {
      isAnswered = true
      client.send(replies.response(request.id, message, data))
      client.send(replies.commandResponse(request))
    }
    try {
      if (command === undefined) throw new BusError('UNKNOWN_COMMAND')
      requirePermission(client.identity, command.permission)
      const named = textOf(request.args['tenant_id']) ?? textOf(request.metadata['tenant_id'])
      const tenant = tenantOf(client.identity, named)
      const result = await command.run({ client, request, args: request.args, tenant, answer }, ports.commands)
      if (result !== undefined) answer(result)
      auditCommand(audit, client, audited, 'done')
      telemetry.emit({ type: 'command_completed', tenant, clientId: client.id, metadata: { command: name } })
    } catch (cause) {
      const error = toBusError(client, cause)
      refusals.set(error.code, (refusals.get(error.code) ?? 0) + 1)
      telemetry.emit({
        type: error.code === 'TENANT_MISMATCH' ? 'security_violation' : 'command_failed',
        tenant: client.identity.tenant,
        clientId: client.id,
        severity: 'warning',
        metadata: { command: command === undefined ? 'unknown' : name, code: error.code },
      })
      auditCommand(audit, client, audited, error.code)
      auditRefusal(audit, client, error, command === undefined ? 'unknown' : name)
      if (!isAnswered) client.send(replies.failedResponse(request.id, error))
    } finally {
      done?.()
    }
  }

  function outgoingOfScan(
    scan: FrameScan,
    type: Outgoing['type'],
    client: Client,
    traceparent: string | undefined,
  ): Outgoing {
    return {
      type,
      id: scan.id,
      room: scan.room,
      channel: scan.channel,
      toClient: scan.toClient,
      ack: scan.ack,
      named: scan.tenantId,
      echo: undefined,
      traceparent,
      frame: () => reframe(scan, { sender: client.id, traceparent }),
    }
  }

  function outgoingOfEnvelope(envelope: Envelope, type: Outgoing['type'], client: Client): Outgoing {
    return {
      type,
      id: envelope.id,
      room: envelope.room,
      channel: envelope.channel,
      toClient: envelope.to_client,
      ack: textOf(envelope.metadata['ack']) as AckRequest | undefined, // decodeJson lets only these through
      named: textOf(envelope.metadata['tenant_id']),
      echo: envelope.payload,
      frame: () => frameFromEnvelope(envelope, { sender: client.id }),
    }
  }

  async function runLane(client: Client, running: Promise<void>, lane: Work[]): Promise<void> {
    await running
    for (let work = lane.shift(); work !== undefined; work = lane.shift()) {
      if (client.isClosed) work.done?.()
      else await handle(client, work)
    }
    lanes.delete(client)
  }

  return {
    take,
    receive(client, data, isBinary, done, traceparent) {
      const lane = lanes.get(client)
      if (lane !== undefined) {
        // A copy: what waits must not keep the chunk it came in.
        if (lane.length < ports.maxInflight) lane.push({ data: Buffer.from(data), isBinary, done, traceparent })
        else {
          refuse(client, new BusError('INFLIGHT_EXCEEDED', `${ports.maxInflight} frames wait behind a command`), {})
          done?.()
        }
        return
      }
      const running = handle(client, { data, isBinary, done, traceparent })
      if (running === undefined) return
      const work: Work[] = []
      lanes.set(client, work)
      void runLane(client, running, work)
    },
    forget(client) {
      fast.forget(client)
      for (const stream of ports.rooms.leaveAll(client)) {
        telemetry.emit({
          type: 'channel_left',
          tenant: stream.key.tenant,
          clientId: client.id,
          metadata: { room: stream.key.room, channel: stream.key.channel },
        })
      }
    },
    refusals,
  }
}

function requirePermission(identity: Identity, permission: Permission): void {
  if (permission === 'none') return
  if (permission === 'admin') {
    if (!isAdmin(identity)) throw new BusError('AUTHORIZATION_ERROR', 'Only an admin or an operator may do this')
  } else if (!may(identity, permission)) {
    throw new BusError('AUTHORIZATION_ERROR', `The token lacks the permission ${permission}`)
  }
}

/** Text frames were checked to be UTF-8 by the WebSocket layer. */
const utf8 = new TextDecoder()

function textOf(value: JsonValue | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined
}
