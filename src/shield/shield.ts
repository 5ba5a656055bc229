// Shield, the edge gateway: its listener, its sessions, its link to the bus. Fails closed: whatever it needs to judge
// a client or a frame is there before a port is opened, or it does not start.
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Authenticator, Identity } from '../auth/identity.ts'
import type { Clock } from '../base/clock.ts'
import { type CloseName, closeTable } from '../base/close-codes.ts'
import { createClosers } from '../base/closers.ts'
import { BusError } from '../base/errors.ts'
import { createClientId, createMessageIds, randomHex } from '../base/ids.ts'
import type { Logger } from '../base/logger.ts'
import { childOf, newTrace, parseTraceparent } from '../base/trace-context.ts'
import type { WireFormat } from '../envelope/envelope.ts'
import type { Link } from '../link/link.ts'
import { allowAll, type Policy } from '../policy/policy.ts'
import { overflowFacts } from '../envelope/gap.ts'
import { subscriptionBound } from '../rooms/overflow.ts'
import { Rooms } from '../rooms/rooms.ts'
import type { LiveRegistry } from '../schemas/live-registry.ts'
import { Session } from '../session/session.ts'
import type { Telemetry } from '../telemetry/events.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { SpanExporter } from '../telemetry/spans.ts'
import type { ConnectionOwner, SocketConnection } from '../transport/connection.ts'
import type { HttpRefusal } from '../transport/http-refusal.ts'
import { startWsServer, type WsServerLimits } from '../transport/ws-server.ts'
import { createAnswers } from './answers.ts'
import { answerPlainRequest, authenticateUpgrade, screenUpgrade } from './authenticate.ts'
import { type BusClient, startBusClient } from './bus-client.ts'
import { type DrainLimits, drainSessions } from './drain.ts'
import { createEdgeMemberships } from './edge-memberships.ts'
import { EdgeSession, type EdgeSessionPorts } from './edge-session.ts'
import { createInflight, type InflightLimits } from './inflight.ts'
import { createShieldMetrics, registerOverflowMetrics, type ShieldMetrics } from './metrics.ts'
import { createMirror, parseMirrorRules } from './mirror.ts'
import { createRedact } from './redact.ts'
import { openSchema, readTls } from './start-files.ts'
import { createPayloadSchemas } from './payload-schemas.ts'
import { createTraffic } from './traffic.ts'
import { createValidator } from './validate.ts'

/** What Shield needs of its configuration. */
export interface ShieldOptions {
  readonly server: { readonly host: string; readonly port: number }
  readonly tls?: { readonly certFile: string; readonly keyFile: string }
  readonly wire: { readonly allowJson: boolean }
  readonly schemaStrict: boolean
  readonly schemaFile?: string
  readonly schemaSha256?: string
  /** Names of the upgrade request's headers that policies may read. */
  readonly policyHeaders?: readonly string[]
  readonly mirror?: { readonly rules: readonly string[]; readonly secretFields: readonly string[] }
  readonly limits: WsServerLimits &
    InflightLimits &
    DrainLimits & {
      readonly maxInflight: number
      readonly maxQueuedBytesPerClient: number
      readonly maxQueuedBytesPerSubscription: number
      readonly maxHeldBytesPerProcess: number
      readonly maxRecoverMessages: number
      readonly maxJsonDepth: number
      readonly maxJsonKeys: number
    }
  readonly allowedOrigins: readonly string[]
  readonly trustedProxyHops: number
}

export interface ShieldPorts {
  readonly link: Link
  /** Absent only where authentication is switched off by name. */
  readonly authenticator: Authenticator | undefined
  readonly telemetry: Telemetry
  readonly metrics: Metrics | undefined
  readonly clock: Clock
  readonly logger: Logger
  /** The policy each frame is put to; `allowAll` by default, and said so in the log. */
  readonly policy?: Policy
  /** The schemas of payloads; absent: they are not judged. */
  readonly schemas?: LiveRegistry
  /** The way of copies; undefined while it is not there. */
  readonly mirrorLink?: () => Link | undefined
  /** Absent: no spans. */
  readonly spans?: SpanExporter
  readonly timing?: Partial<ShieldTiming>
}

export interface ShieldTiming {
  readonly leaseMs: number
  readonly requestMs: number
  readonly answerMs: number
  readonly tickMs: number
}

export interface Shield {
  readonly port: number
  /** 8 hex naming this process in client ids. */
  readonly process: string
  readonly connections: number
  readonly isBusReachable: boolean
  readonly metrics: ShieldMetrics
  /** New upgrades are refused with 503; open connections stay. */
  stopAccepting(): Promise<void>
  close(): Promise<void>
}

const standardTiming: ShieldTiming = { leaseMs: 3_000, requestMs: 2_000, answerMs: 2_000, tickMs: 250 }
const linkOverheadBytes = 16 * 1024
const resyncsAtOnce = 50

export async function startShield(options: ShieldOptions, ports: ShieldPorts): Promise<Shield> {
  const { limits } = options
  const { link, telemetry, clock, logger } = ports
  if (link.maxPayload < limits.maxMessageBytes + linkOverheadBytes) {
    throw new BusError('START_REFUSED', `The link carries ${link.maxPayload} bytes, too few for the largest frame`, {
      reason: 'LINK_PAYLOAD_TOO_SMALL',
    })
  }
  const schema = await openSchema({ ...options, maxJsonDepth: limits.maxJsonDepth }, logger)
  const tls = options.tls === undefined ? undefined : await readTls(options.tls)
  const timing = { ...standardTiming, ...ports.timing }
  const policy = ports.policy ?? allowAll
  const policyHeaders = options.policyHeaders ?? []
  const process = randomHex(4)
  const nextId = createMessageIds(clock.now())
  const metrics = createShieldMetrics(ports.metrics)
  const answers = createAnswers(clock, nextId)
  const sessions = new Map<string, EdgeSession>()
  const closers = createClosers()
  let bus: BusClient | undefined
  const suspended = new Set<EdgeSession>()
  let isResyncing = false

  const rooms = new Rooms({
    clock,
    // The bus has judged both before a member or a stream comes here.
    maxMembersPerChannel: Number.MAX_SAFE_INTEGER,
    maxChannelsPerTenant: Number.MAX_SAFE_INTEGER,
    epoch: 1,
    startsLoaded: true,
    overflow: {
      maxQueuedBytes: subscriptionBound(limits),
      maxHeldBytes: limits.maxHeldBytesPerProcess,
      gapFrame({ stream, policy, from, to }) {
        const { room, channel } = stream.key
        const missed = to - from + 1
        return answers.gap(room, channel, overflowFacts(policy, missed, memberships.rangeOf(stream, from, to)))
      },
    },
  })
  const memberships = createEdgeMemberships({
    link,
    rooms,
    metrics,
    maxRecoverMessages: limits.maxRecoverMessages,
    read: (key, epoch, after) => bus!.read(key, epoch, after),
    tellGap(session, { room, channel }, reason, facts) {
      session.send(answers.gap(room, channel, { reason, ...facts }))
    },
  })
  const wireLimits = { maxDepth: limits.maxJsonDepth, maxKeys: limits.maxJsonKeys, maxArrayItems: 10_000 }
  const validator = createValidator({
    schema,
    isStrict: options.schemaStrict,
    allowJson: options.wire.allowJson,
    limits: wireLimits,
    nextId,
    now: () => clock.now(),
    metrics,
  })
  const payloads =
    ports.schemas &&
    createPayloadSchemas({ registry: ports.schemas, isStrict: options.schemaStrict, limits: wireLimits, metrics })
  const mirror =
    options.mirror &&
    createMirror({
      rules: parseMirrorRules(options.mirror.rules),
      link: ports.mirrorLink ?? (() => undefined),
      redact: createRedact({
        names: options.mirror.secretFields,
        envelopeFields: schema?.secretFields,
        payloads,
        limits: wireLimits,
      }),
      metrics,
    })
  closers.push('mirror', () => mirror?.close())
  const traffic = createTraffic(metrics)
  const sessionPorts: EdgeSessionPorts = {
    link,
    bus: () => bus!,
    memberships,
    validator,
    payloads,
    aftermath: { mirror, spans: ports.spans, clock },
    policy,
    authenticator: ports.authenticator,
    answers,
    telemetry,
    metrics,
    clock,
    logger,
    allowJson: options.wire.allowJson,
    maxInflight: limits.maxInflight,
    inflightOf: createInflight(limits),
    requestResync(session) {
      suspended.add(session)
      void resyncAll()
    },
    answerMs: timing.answerMs,
  }

  /** Opens suspended sessions again, some at a time; those that fail are tried again. */
  async function resyncAll(): Promise<void> {
    if (isResyncing) return
    isResyncing = true
    while (suspended.size > 0) {
      const some = [...suspended].slice(0, resyncsAtOnce)
      const done = bus?.isReachable ? await Promise.all(some.map((session) => session.resync())) : []
      for (const [index, session] of some.entries()) if (done[index]) suspended.delete(session)
      if (done.includes(false) || done.length === 0) await new Promise((resolve) => setTimeout(resolve, timing.tickMs))
    }
    isResyncing = false
  }

  bus = await startBusClient({
    link,
    process,
    openSessions: () => [...sessions.values()].filter((session) => session.isOpen).length,
    clock,
    logger,
    timing,
    events: {
      onNewBus(id) {
        logger.info('shield.bus_met', { bus: id, sessions: sessions.size })
        metrics.count('shield_resyncs_total')
        for (const session of sessions.values()) session.suspend()
      },
      onSessionMessage(message) {
        const [, , , , owner = '', session = ''] = message.subject.split('.')
        metrics.count('shield_messages_total', 'out')
        sessions.get(`arq_client_${owner}${session}`)?.deliver(message)
      },
      onHeads: (heads) => memberships.heard(heads),
      onRemoved: (key) => memberships.removed(key),
      onClose(clientId, closeName, detail) {
        if (Object.hasOwn(closeTable, closeName)) sessions.get(clientId)?.session.close(closeName as CloseName, detail)
      },
      onReachable(isReachable) {
        metrics.set('shield_bus_reachable', isReachable ? 1 : 0)
        logger.info('shield.bus_reachable', { isReachable })
        telemetry.emit({ type: 'link_state_changed', metadata: { bus: isReachable ? 'reachable' : 'unreachable' } })
      },
    },
  })
  registerOverflowMetrics(ports.metrics, rooms.overflow)
  closers.push('bus client', () => bus?.close())
  const stopState = link.onState((state) => metrics.set('shield_link_connected', state === 'connected' ? 1 : 0))
  closers.push('link state', stopState)
  metrics.set('shield_link_connected', link.state === 'connected' ? 1 : 0)

  const ticking = setInterval(() => {
    let unanswered = 0
    for (const session of sessions.values()) {
      session.tick()
      unanswered += session.unanswered
    }
    traffic.tick()
    metrics.set('shield_unanswered_frames', unanswered)
    metrics.set('shield_connections', sessions.size)
  }, timing.tickMs)
  closers.push('tick', () => clearInterval(ticking))

  function openConnection(connection: SocketConnection, identity: Identity, request: IncomingMessage): ConnectionOwner {
    const format: WireFormat = options.wire.allowJson ? 'json' : 'protobuf'
    const session = new Session(connection, {
      id: createClientId(process),
      identity,
      format,
      address: connection.address,
      connectedAtMs: clock.now(),
      maxQueuedBytes: limits.maxQueuedBytesPerClient,
      onSlow: ({ id }) =>
        telemetry.emit({ type: 'slow_consumer', tenant: identity.tenant, clientId: id, severity: 'warning' }),
    })
    const asked = parseTraceparent(request.headers['traceparent'])
    const trace = asked === undefined ? newTrace() : childOf(asked)
    const edge = new EdgeSession(session, trace, readableHeaders(request.headers, policyHeaders), sessionPorts)
    const stopTraffic = traffic.watch(connection)
    sessions.set(session.id, edge)
    metrics.count('shield_connections_total', 'opened')
    void edge.open()
    return {
      frame: (data, isBinary) => edge.receive(data, isBinary),
      refused: (error) => edge.refuse(error),
      closed() {
        session.isClosed = true
        sessions.delete(session.id)
        stopTraffic()
        suspended.delete(edge)
        edge.closed()
      },
    }
  }

  async function authenticate(
    request: Parameters<typeof screenUpgrade>[0],
  ): Promise<{ identity: Identity } | HttpRefusal> {
    const outcome = await authenticateUpgrade(request, ports.authenticator, (refusal) => {
      metrics.count('shield_auth_refusals_total', refusal)
      logger.debug('shield.token_refused', { refusal })
    })
    if (!('identity' in outcome)) {
      metrics.count('shield_connections_total', String(outcome.status))
      return outcome
    }
    if (bus!.isReachable) return outcome
    metrics.count('shield_connections_total', '503')
    return {
      status: 503,
      body: { error: 'Service Unavailable', code: 'LINK_UNAVAILABLE', details: 'the bus does not answer' },
      headers: { 'retry-after': '1' },
    }
  }

  try {
    const server = await startWsServer({
      ...options.server,
      ...(tls !== undefined && { tls }),
      limits,
      allowedOrigins: options.allowedOrigins,
      trustedProxyHops: options.trustedProxyHops,
      clock,
      logger,
      screen: screenUpgrade,
      authenticate,
      answer: answerPlainRequest,
      open: openConnection,
    })
    closers.push('listener', () => server.close())
    closers.push('sessions', async () => {
      await server.stopAccepting()
      await drainSessions(limits, {
        sessions,
        goaway: (afterMs) => answers.goaway(afterMs),
        answerMs: timing.answerMs,
      })
    })
    logger.info('shield.started', { port: server.port, policy: policy.name, isSchemaStrict: options.schemaStrict })
    return {
      port: server.port,
      process,
      get connections() {
        return sessions.size
      },
      get isBusReachable() {
        return bus?.isReachable ?? false
      },
      metrics,
      stopAccepting: () => server.stopAccepting(),
      close: () => closers.close(),
    }
  } catch (error) {
    await closers.close()
    throw error
  }
}

/** The named headers, each as one text. */
function readableHeaders(headers: IncomingHttpHeaders, names: readonly string[]): Readonly<Record<string, string>> {
  const readable: Record<string, string> = {}
  for (const name of names) {
    const value = headers[name]
    if (value !== undefined) readable[name] = typeof value === 'string' ? value : value.join(', ')
  }
  return readable
}
