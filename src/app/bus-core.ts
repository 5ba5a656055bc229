// The bus without its listeners: rooms, log, router and the clients they serve, put together.
import type { Authenticator, Identity } from '../auth/identity.ts'
import type { Revocation, Revocations } from '../auth/revocations.ts'
import type { Clock } from '../base/clock.ts'
import { BusError } from '../base/errors.ts'
import { createClientId, createMessageIds, randomHex } from '../base/ids.ts'
import type { JsonObject } from '../base/json.ts'
import type { Logger } from '../base/logger.ts'
import { version } from '../base/version.ts'
import type { BusConfig, Limits } from '../config/shapes.ts'
import type { HotState } from '../hot/hot-state.ts'
import { overflowFacts } from '../envelope/gap.ts'
import { subscriptionBound } from '../rooms/overflow.ts'
import { Rooms } from '../rooms/rooms.ts'
import { type Audit, noAudit } from '../router/audit.ts'
import { type ClientRegistry, createClientRegistry } from '../router/clients.ts'
import { createMembership } from '../router/membership.ts'
import { createPublisher, type Publisher } from '../router/publisher.ts'
import { createReplies, type Replies } from '../router/replies.ts'
import { createRouter, type Router } from '../router/router.ts'
import type { Client } from '../session/client.ts'
import { Session } from '../session/session.ts'
import type { HistoryStore } from '../storage/store.ts'
import type { Telemetry } from '../telemetry/events.ts'
import type { ConnectionOwner, SocketConnection } from '../transport/connection.ts'
import type { WireLimits } from '../wire/limits.ts'
import type { BusProjector } from './bus-projector.ts'

export interface BusCore {
  readonly rooms: Rooms
  readonly clients: ClientRegistry
  readonly publisher: Publisher
  readonly replies: Replies
  readonly router: Router
  /** 8 hex naming this process in client ids. */
  readonly process: string
  /** What the welcome tells beside the client id. */
  readonly welcomeFacts: JsonObject
  /** A connection becomes a session: welcomed, served, forgotten when it closes. */
  openSession(connection: SocketConnection, identity: Identity): ConnectionOwner
  /** Replaces a client's identity by that of a newer token of the same subject and tenant, or closes the client. */
  refreshIdentity(client: Client, token: string): Promise<void>
  isRevoked(identity: Identity): boolean
  /** Closes every client whose token has ended, `skewMs` later than it says, or was revoked. */
  endExpiredSessions(skewMs: number): void
  endRevokedSessions(revoked: Pick<Revocation, 'tenant' | 'subject'>): void
  /**
   * Says goodbye to all clients, waits for what was begun, closes them; bounded by `timeoutMs`. `lastWord` is waited for
   * before they are closed, and told when the time is over.
   */
  drain(timeoutMs: number, lastWord?: (deadline: Promise<void>) => Promise<void>): Promise<void>
}

export interface BusCorePorts {
  readonly store: HistoryStore | undefined
  readonly hot: HotState
  readonly revocations?: Pick<Revocations, 'isRevoked' | 'size'>
  readonly authenticator: Authenticator | undefined
  readonly telemetry: Telemetry
  readonly audit?: Audit
  readonly clock: Clock
  readonly logger: Logger
  /** Counts and component states for the `status` command. */
  readonly status: () => JsonObject
  /** Absent where it is off. */
  readonly projector?: Pick<BusProjector, 'port' | 'stored' | 'came'> | undefined
}

export function createBusCore(config: BusConfig, ports: BusCorePorts): BusCore {
  const { store, telemetry, audit = noAudit, clock, logger } = ports
  const { limits } = config
  const processId = randomHex(4)
  const nextId = createMessageIds(clock.now())
  const replies = createReplies(clock, nextId)
  const clients = createClientRegistry()
  const rooms = new Rooms({
    clock,
    maxMembersPerChannel: limits.maxMembersPerChannel,
    maxChannelsPerTenant: limits.maxChannelsPerTenant,
    epoch: 1,
    startsLoaded: store === undefined,
    overflow: {
      maxQueuedBytes: subscriptionBound(limits),
      maxHeldBytes: limits.maxHeldBytesPerProcess,
      gapFrame({ stream, policy, from, to }) {
        const isPlaced = store !== undefined && stream.unplaced === undefined
        const range = !isPlaced ? undefined : { epoch: stream.epoch, from, to }
        return replies.gap(stream.key, overflowFacts(policy, to - from + 1, range))
      },
    },
  })
  const publisher = createPublisher({
    rooms,
    store,
    clock,
    replies,
    telemetry,
    logger,
    maxPendingBytes: config.storage.maxPendingBytes,
    onStored: ports.projector?.stored,
  })
  const membership = createMembership({ rooms, store, limits, telemetry })
  const wireLimits = wireLimitsOf(limits)

  async function refreshIdentity(client: Client, token: string): Promise<void> {
    if (ports.authenticator === undefined)
      throw new BusError('FEATURE_DISABLED', 'Authentication is off on this server')
    const result = await ports.authenticator.authenticate(token)
    if (!result.ok) throw new BusError('AUTHENTICATION_FAILED', 'The new token is not valid')
    const { identity } = result
    if (identity.tenant !== client.identity.tenant || identity.subject !== client.identity.subject) {
      telemetry.emit({
        type: 'security_violation',
        tenant: client.identity.tenant,
        clientId: client.id,
        severity: 'warning',
        metadata: { code: 'AUTHENTICATION_FAILED', reason: 'REFRESH_FOR_ANOTHER' },
      })
      audit.record({
        tenant: client.identity.tenant,
        subject: client.identity.subject,
        clientId: client.id,
        action: 'refused.REFRESH_FOR_ANOTHER',
        outcome: 'AUTHENTICATION_FAILED',
        details: { tenant: identity.tenant, subject: identity.subject },
      })
      client.close('TOKEN_REVOKED', 'the new token is for another subject or tenant')
      throw new BusError('AUTHENTICATION_FAILED', 'The new token is for another subject or tenant')
    }
    client.identity = identity
  }

  function isRevoked(identity: Identity): boolean {
    const { revocations } = ports
    return revocations !== undefined && revocations.size > 0 && revocations.isRevoked(identity)
  }

  const router = createRouter({
    commands: {
      clock,
      rooms,
      clients,
      membership,
      store,
      hot: ports.hot,
      projector: ports.projector?.port,
      maxStoreValueBytes: config.hotState.maxStoreValueBytes,
      maxHistoryPageBytes: limits.maxHistoryPageBytes,
      status: ports.status,
      refreshIdentity,
    },
    publisher,
    replies,
    clients,
    rooms,
    store,
    clock,
    telemetry,
    audit,
    logger,
    nextId,
    wire: { allowJson: config.wire.allowJson, limits: wireLimits },
    maxInflight: limits.maxInflight,
  })

  const welcomeFacts: JsonObject = {
    server: `arqonbus/${version}`,
    capabilities: [
      'ack',
      'overflow',
      'presence',
      'private',
      'whole-room',
      ...(store === undefined ? [] : ['history', 'recover', 'position']),
    ],
    limits: {
      max_message_bytes: limits.maxMessageBytes,
      max_joins: limits.maxJoins,
      max_inflight: limits.maxInflight,
      messages_per_second: limits.messagesPerSecond,
      ping_interval_ms: limits.pingIntervalMs,
    },
  }

  function openSession(connection: SocketConnection, identity: Identity): ConnectionOwner {
    const session = new Session(connection, {
      id: createClientId(processId),
      identity,
      format: config.wire.allowJson ? 'json' : 'protobuf',
      address: connection.address,
      connectedAtMs: clock.now(),
      maxQueuedBytes: limits.maxQueuedBytesPerClient,
      onSlow: ({ id }) =>
        telemetry.emit({ type: 'slow_consumer', tenant: identity.tenant, clientId: id, severity: 'warning' }),
    })
    clients.add(session)
    ports.projector?.came(identity.tenant)
    session.send(replies.welcome(session.id, welcomeFacts))
    telemetry.emit({
      type: 'client_connected',
      tenant: identity.tenant,
      clientId: session.id,
      metadata: { subject: identity.subject },
    })
    return {
      take: (bytes, start, end) => !session.isClosed && router.take(session, bytes, start, end),
      frame: (data, isBinary) => {
        if (!session.isClosed) router.receive(session, data, isBinary)
      },
      refused: (error) => session.send(replies.error(error, {})),
      closed: (code) => {
        session.isClosed = true
        clients.remove(session)
        router.forget(session)
        telemetry.emit({
          type: 'client_disconnected',
          tenant: identity.tenant,
          clientId: session.id,
          metadata: { code },
        })
      },
    }
  }

  return {
    rooms,
    clients,
    publisher,
    replies,
    router,
    process: processId,
    welcomeFacts,
    openSession,
    refreshIdentity,
    isRevoked,
    endExpiredSessions(skewMs) {
      const now = clock.now()
      for (const client of clients.all()) {
        const { expiresAtMs } = client.identity
        if (expiresAtMs !== undefined && now >= expiresAtMs + skewMs) client.close('TOKEN_EXPIRED')
        // Those whose token was judged just before it was revoked.
        else if (isRevoked(client.identity)) client.close('TOKEN_REVOKED')
      }
    },
    endRevokedSessions(revoked) {
      for (const client of clients.all()) {
        const { tenant, subject } = client.identity
        if (tenant === revoked.tenant && (revoked.subject === undefined || subject === revoked.subject))
          client.close('TOKEN_REVOKED')
      }
    },
    async drain(timeoutMs, lastWord) {
      telemetry.emit({ type: 'system_draining' })
      const count = clients.size
      let index = 0
      for (const client of clients.all()) {
        // Spread evenly: everyone coming back at once is the next outage.
        const comeBackMs = Math.round((index++ / Math.max(1, count)) * Math.min(10_000, count * 2))
        client.send(replies.notice('goaway', { reason: 'restart', reconnect_after_ms: comeBackMs }))
      }
      const deadline = new Promise<void>((resolve) => setTimeout(resolve, timeoutMs).unref())
      await Promise.race([publisher.idle(), deadline])
      await lastWord?.(deadline)
      for (const client of clients.all()) client.close('RESTART')
    },
  }
}

export function wireLimitsOf(limits: Limits): WireLimits {
  return { maxDepth: limits.maxJsonDepth, maxKeys: limits.maxJsonKeys, maxArrayItems: 10_000 }
}
