// The sessions gateways have opened here, by client id and by gateway: opened with the claims of a verified token,
// opened again with their memberships, ended by their gateway, its silence, or the bus.
import type { Identity, Role } from '../auth/identity.ts'
import type { Clock } from '../base/clock.ts'
import { toIsoTime } from '../base/clock.ts'
import { BusError, invalid } from '../base/errors.ts'
import { createMessageIds } from '../base/ids.ts'
import type { JsonObject } from '../base/json.ts'
import { protocolVersion } from '../base/version.ts'
import {
  edgeSubjects,
  encodeControl,
  type MembershipName,
  type OpenReply,
  type OpenRequest,
  parseOpenRequest,
} from '../envelope/edge-protocol.ts'
import type { Envelope } from '../envelope/envelope.ts'
import { isTenant } from '../envelope/names.ts'
import type { Link, LinkHeaders } from '../link/link.ts'
import { type Rooms, wholeRoom } from '../rooms/rooms.ts'
import type { Client } from '../session/client.ts'
import type { Telemetry } from '../telemetry/events.ts'
import { encodeProtobuf } from '../wire/protobuf-codec.ts'
import type { RemoteWork } from '../router/fast-publish.ts'
import { RemoteClient } from './remote-client.ts'

export interface RemoteSessions {
  /** Opens a session, or gives the one of that id its new claims; restores the memberships named. */
  open(data: Uint8Array): Promise<OpenReply>
  find(clientId: string): RemoteClient | undefined
  /** The process and session in a client id, or undefined when it is not one. */
  halvesOf(clientId: string): { process: string; session: string } | undefined
  close(clientId: string): void
  /** The gateway is alive. False when it has no sessions here. */
  renew(process: string, nowMs: number): boolean
  /** Ends the sessions of gateways not heard of since then; returns how many. */
  expire(beforeMs: number): number
  closeAll(): void
  readonly size: number
}

/** What the relay needs of the bus core. */
export interface RelayCore {
  readonly rooms: Rooms
  readonly clients: { add(client: Client): void; remove(client: Client): void }
  readonly router: {
    receive(client: Client, data: Uint8Array, isBinary: boolean, done?: () => void, traceparent?: string): void
    take(client: Client, bytes: Uint8Array, start: number, end: number, work: RemoteWork): boolean
    forget(client: Client): void
  }
  readonly replies: { failedResponse(requestId: string, error: BusError): Envelope }
  isRevoked(identity: Identity): boolean
  /** Names this life of the bus to gateways. */
  readonly process: string
  readonly welcomeFacts: JsonObject
}

export interface RemoteSessionsPorts {
  readonly link: Link
  readonly core: RelayCore
  /** The epoch gateways see for a position. */
  readonly epochOf: (position: { epoch: number }) => number
  readonly telemetry: Telemetry
  readonly clock: Clock
  readonly publish: (subject: string, data: Uint8Array, headers?: LinkHeaders) => boolean
}

interface Gateway {
  seenMs: number
  readonly clients: Set<RemoteClient>
}

const clientIdForm = /^arq_client_([0-9a-f]{8})([0-9a-f]{24})$/
const roles: readonly string[] = ['user', 'admin', 'operator'] satisfies readonly Role[]
/** Room for headers beside the largest answer. */
const answerHeaderBytes = 64 * 1024

export function createRemoteSessions(ports: RemoteSessionsPorts): RemoteSessions {
  const { clock, telemetry, core } = ports
  const { clients, router, rooms } = core
  const byId = new Map<string, RemoteClient>()
  const gateways = new Map<string, Gateway>()
  const nextId = createMessageIds(clock.now())

  function add(request: OpenRequest, halves: { process: string; session: string }, identity: Identity): RemoteClient {
    const client = new RemoteClient({
      id: request.clientId,
      ...halves,
      identity,
      format: request.format,
      address: request.address,
      connectedAtMs: request.connectedAtMs,
      firstFrame: request.firstFrame,
      publish: ports.publish,
      epochOf: ports.epochOf,
      maxAnswerBytes: ports.link.maxPayload - answerHeaderBytes,
      tooLarge: (answer, error) => core.replies.failedResponse(answer.request_id ?? answer.id, error),
      onClose: ended,
    })
    byId.set(client.id, client)
    let gateway = gateways.get(halves.process)
    if (gateway === undefined) {
      gateway = { seenMs: clock.monotonic(), clients: new Set() }
      gateways.set(halves.process, gateway)
    }
    gateway.clients.add(client)
    clients.add(client)
    telemetry.emit({
      type: 'client_connected',
      tenant: identity.tenant,
      clientId: client.id,
      metadata: { subject: identity.subject, gateway: halves.process },
    })
    return client
  }

  function remove(client: RemoteClient): void {
    client.isClosed = true
    byId.delete(client.id)
    const gateway = gateways.get(client.process)
    gateway?.clients.delete(client)
    clients.remove(client)
    router.forget(client)
    telemetry.emit({
      type: 'client_disconnected',
      tenant: client.identity.tenant,
      clientId: client.id,
      metadata: { gateway: client.process },
    })
  }

  /** The bus closed the client. When the bus itself goes, the socket at the gateway stays. */
  function ended(client: RemoteClient, name: string, detail: string | undefined): void {
    remove(client)
    if (name === 'RESTART' || name === 'GOING_AWAY') return
    const body = { clientId: client.id, closeName: name, ...(detail !== undefined && { detail }) }
    ports.publish(edgeSubjects.close(client.process), encodeControl(body))
  }

  /** Joins through the router, so that permissions and limits are judged again. */
  async function restore(client: RemoteClient, memberships: readonly MembershipName[]): Promise<Restored> {
    const restored: Restored = { joined: [], refused: [] }
    client.isRestoring = true
    for (const { tenant, room, channel } of memberships) {
      const frame = encodeProtobuf({
        id: nextId(),
        timestamp: toIsoTime(clock.now()),
        type: 'command',
        version: protocolVersion,
        command: 'join_channel',
        payload: {},
        args: { room, channel, ...(client.identity.role === 'operator' && { tenant_id: tenant }) },
        metadata: {},
      })
      client.lastStatus = undefined
      await new Promise<void>((resolve) => router.receive(client, frame, true, resolve))
      for (const { key, position } of client.takeJoined()) {
        restored.joined.push({ ...key, epoch: ports.epochOf(position), sequence: position.sequence })
      }
      const { status, code } = client.lastStatus ?? { status: 'error', code: 'INTERNAL_ERROR' }
      if (status === 'success') continue
      leave(client, { tenant, room, channel })
      restored.refused.push({ tenant, room, channel, code: code ?? 'INTERNAL_ERROR' })
    }
    client.isRestoring = false
    return restored
  }

  /** What new claims do not permit any more ends, whatever the old ones did. */
  function leave(client: RemoteClient, name: MembershipName): void {
    if (name.channel === wholeRoom) rooms.leaveRoom(name.tenant, name.room, client)
    else {
      const stream = rooms.find(name)
      if (stream !== undefined) rooms.leave(stream, client)
    }
  }

  return {
    async open(data) {
      const request = parseOpenRequest(data)
      const halves = halvesOf(request.clientId)
      if (halves === undefined) throw invalid('BAD_CONTROL', 'not a client id', { field: 'clientId' })
      const identity = identityOf(request)
      // Gateways do not know of revocations: they end here.
      if (core.isRevoked(identity)) throw new BusError('AUTHENTICATION_FAILED', 'The token was revoked')
      let client = byId.get(request.clientId)
      if (client === undefined) client = add(request, halves, identity)
      else client.identity = identity
      const { joined, refused } = await restore(client, request.memberships)
      return { ok: true, bus: core.process, welcome: core.welcomeFacts, joined, refused }
    },
    find: (clientId) => byId.get(clientId),
    halvesOf,
    close(clientId) {
      const client = byId.get(clientId)
      if (client !== undefined) remove(client)
    },
    renew(process, nowMs) {
      const gateway = gateways.get(process)
      if (gateway === undefined) return false
      gateway.seenMs = nowMs
      return true
    },
    expire(beforeMs) {
      let count = 0
      for (const [process, gateway] of gateways) {
        if (gateway.seenMs >= beforeMs) continue
        count += gateway.clients.size
        for (const client of gateway.clients) remove(client)
        gateways.delete(process)
      }
      return count
    },
    closeAll() {
      for (const client of byId.values()) remove(client)
      gateways.clear()
    },
    get size() {
      return byId.size
    },
  }
}

interface Restored {
  readonly joined: (MembershipName & { epoch: number; sequence: number })[]
  readonly refused: (MembershipName & { code: string })[]
}

function halvesOf(clientId: string): { process: string; session: string } | undefined {
  const match = clientIdForm.exec(clientId)
  return match === null ? undefined : { process: match[1]!, session: match[2]! }
}

function identityOf(request: OpenRequest): Identity {
  const { tenant, subject, role, permissions, expiresAtMs } = request
  const isGood = roles.includes(role) && (isTenant(tenant) || (tenant === '*' && role === 'operator'))
  if (!isGood) throw invalid('BAD_CONTROL', 'not an identity', { field: 'tenant' })
  return {
    tenant,
    subject,
    role: role as Role, // one of the table above
    ...(permissions !== undefined && { permissions }),
    ...(expiresAtMs !== undefined && { expiresAtMs }),
  }
}
