// One client at the edge, from its upgrade to its close: opened at the bus under its token's claims, its frames passed
// through the steps in order and on to the bus, the answers back to it in its own format.
//
// States: opening -> open <-> syncing -> closed. While opening, frames wait (as many as may be unanswered). While
// syncing (a bus has started anew) they are refused with LINK_UNAVAILABLE, which says that nothing was stored.
import { skewSeconds } from '../auth/claims.ts'
import type { Authenticator } from '../auth/identity.ts'
import { toIsoTime } from '../base/clock.ts'
import { BusError, isBusError } from '../base/errors.ts'
import { describeError } from '../base/logger.ts'
import { printTraceparent, type TraceContext } from '../base/trace-context.ts'
import { edgeHeaders } from '../envelope/edge-protocol.ts'
import type { Envelope } from '../envelope/envelope.ts'
import { escapeToken } from '../envelope/names.ts'
import { inSubject } from '../envelope/subjects.ts'
import type { Link, LinkMessage } from '../link/link.ts'
import type { Session } from '../session/session.ts'
import { type AftermathPorts, aftermathOf } from './aftermath.ts'
import type { BusClient } from './bus-client.ts'
import { judgeRefresh } from './authenticate.ts'
import type { AddedHeaders, Policy, Verdict } from '../policy/policy.ts'
import { checkTenant } from './decide.ts'
import { EdgeAnswers, type Pending } from './edge-answers.ts'
import type { EdgeMemberships } from './edge-memberships.ts'
import { EdgeRefusals, type EdgeRefusalsPorts } from './edge-refusals.ts'
import { FrameLane } from './frame-lane.ts'
import type { InflightShare } from './inflight.ts'
import { type Intent, intentOf } from './intent.ts'
import type { PayloadSchemas } from './payload-schemas.ts'
import type { ValidFrame, Validator } from './validate.ts'

export interface EdgeSessionPorts extends EdgeRefusalsPorts {
  readonly link: Link
  readonly bus: () => BusClient
  readonly memberships: EdgeMemberships
  readonly validator: Validator
  /** Absent where payloads are not judged. */
  readonly payloads: PayloadSchemas | undefined
  readonly aftermath: AftermathPorts
  readonly policy: Policy
  readonly authenticator: Authenticator | undefined
  readonly allowJson: boolean
  readonly maxInflight: number
  readonly inflightOf: (tenant: string) => InflightShare
  /** Has the session opened again soon, and again until that succeeds or it is closed. */
  readonly requestResync: (session: EdgeSession) => void
  /** How long an answer of the bus is waited for. */
  readonly answerMs: number
}

interface Waiting {
  readonly data: Uint8Array
  readonly isBinary: boolean
}

/** Headers a policy adds, at once or later. */
type Decision = AddedHeaders | undefined | Promise<AddedHeaders | undefined>

const intentHeader = '1'

export class EdgeSession {
  readonly session: Session
  readonly #ports: EdgeSessionPorts
  readonly #lane: FrameLane<Pending>
  readonly #fromBus: EdgeAnswers
  readonly #refusals: EdgeRefusals
  readonly #trace: { readonly context: TraceContext; readonly traceparent: string }
  readonly #headers: Readonly<Record<string, string>>
  #state: 'opening' | 'open' | 'syncing' | 'closed' = 'opening'
  /** Frames behind one that is still in a step. */
  readonly #queue: Waiting[] = []
  #isBusy = false
  #isLeaving = false
  #resyncing: Promise<boolean> | undefined

  /** `headers`: those of its upgrade request that policies may read. */
  constructor(
    session: Session,
    trace: TraceContext,
    headers: Readonly<Record<string, string>>,
    ports: EdgeSessionPorts,
  ) {
    this.session = session
    this.#headers = headers
    this.#trace = { context: trace, traceparent: printTraceparent(trace) }
    this.#ports = ports
    this.#refusals = new EdgeRefusals(session, trace.traceId, ports)
    this.#lane = new FrameLane(ports.maxInflight, ports.inflightOf(session.identity.tenant))
    this.#fromBus = new EdgeAnswers({
      session,
      lane: this.#lane,
      memberships: ports.memberships,
      refuse: (error, requestId) => this.refuse(error, requestId),
      onUnknown: () => this.suspend(),
    })
  }

  /** Held by the bus, as far as is known here. */
  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** For log lines. */
  get #named(): { clientId: string; trace: string } {
    return { clientId: this.session.id, trace: this.#trace.context.traceId }
  }

  get unanswered(): number {
    return this.#lane.unanswered.size
  }

  /** Opens the session at the bus and welcomes the client; closes it when that fails. */
  async open(): Promise<void> {
    try {
      const { welcome } = await this.#openAtBus()
      if (this.session.isClosed) return
      this.session.send(this.#ports.answers.welcome(this.session.id, welcome))
      this.#state = 'open'
      this.#work()
    } catch (error) {
      this.#ports.logger.warn('shield.open_failed', { ...this.#named, ...describeError(error) })
      if (isBusError(error, 'AUTHENTICATION_FAILED')) this.session.close('TOKEN_REVOKED')
      else this.session.close('LINK_LOST', 'the bus did not open the session')
    }
  }

  /** The bus does not hold the session any more: what is under way will not be answered, what comes is refused. */
  suspend(): void {
    if (this.#state !== 'open') return
    this.#state = 'syncing'
    this.#fromBus.restart()
    this.#ports.requestResync(this)
  }

  /** Opens the session again, with its memberships. True when that is done, or not needed any more. */
  resync(): Promise<boolean> {
    this.#resyncing ??= this.#resync().finally(() => {
      this.#resyncing = undefined
    })
    return this.#resyncing
  }

  async #resync(): Promise<boolean> {
    if (this.#state !== 'syncing') return true
    try {
      const { joined, refused } = await this.#openAtBus()
      if (this.session.isClosed) return true
      this.#ports.memberships.restored(this.session, joined, refused)
      this.#state = 'open'
      return true
    } catch (error) {
      this.#ports.logger.warn('shield.resync_failed', { ...this.#named, ...describeError(error) })
      if (isBusError(error, 'AUTHENTICATION_FAILED')) this.session.close('TOKEN_REVOKED')
      if (isBusError(error, 'AUTHORIZATION_ERROR')) this.session.close('LINK_LOST', 'the bus refused the session')
      return this.session.isClosed
    }
  }

  /** A frame of the client. Refused, forwarded or handled, in the order of the calls. */
  receive(data: Uint8Array, isBinary: boolean): void {
    if (this.session.isClosed) return
    this.#ports.metrics.count('shield_messages_total', 'in')
    if (this.#isLeaving) this.#refuseUnread({ data, isBinary }, new BusError('DRAINING'))
    else if (this.#state !== 'opening' && !this.#isBusy && this.#queue.length === 0) this.#take({ data, isBinary })
    else if (this.#queue.length < this.#ports.maxInflight) this.#queue.push({ data, isBinary })
    else {
      const { maxInflight: max } = this.#ports
      this.#refuseUnread({ data, isBinary }, new BusError('INFLIGHT_EXCEEDED', undefined, { max }))
    }
  }

  /** Tells the client why its frame goes no further; `details.message_id` names the frame. */
  refuse(error: BusError, requestId?: string): void {
    this.#refusals.refuse(error, requestId)
  }

  /** Takes no more frames, has those under way answered, and closes; waits no longer than `patienceMs` for that. */
  async leave(patienceMs: number): Promise<void> {
    this.#isLeaving = true
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, patienceMs)
    await Promise.race([this.#fromBus.drained(), late])
    clearTimeout(timer)
    this.session.close('RESTART')
  }

  /** A message on this session's own subject. */
  deliver(message: LinkMessage): void {
    this.#fromBus.take(message)
  }

  /** Gives up frames without an answer, and the session when its token has ended. Called a few times a second. */
  tick(): void {
    const { clock } = this.#ports
    const { expiresAtMs } = this.session.identity
    if (expiresAtMs !== undefined && clock.now() >= expiresAtMs + skewSeconds * 1_000) {
      this.session.close('TOKEN_EXPIRED')
      return
    }
    const late = this.#lane.expire(clock.monotonic() - this.#ports.answerMs)
    if (late.length === 0) return
    this.#fromBus.giveUp(late, 'LINK_TIMEOUT')
    void this.#ports.bus().checkLease()
  }

  closed(): void {
    const wasOpen = this.#state !== 'closed'
    this.#state = 'closed'
    this.#queue.length = 0
    if (!wasOpen) return
    this.#fromBus.close()
    this.#ports.memberships.leaveAll(this.session)
    this.#ports.bus().closeSession(this.session.id)
  }

  #openAtBus() {
    const { session } = this
    const { tenant, subject, role, permissions, expiresAtMs } = session.identity
    return this.#ports.bus().open({
      clientId: session.id,
      tenant,
      subject,
      role,
      ...(permissions !== undefined && { permissions }),
      ...(expiresAtMs !== undefined && { expiresAtMs }),
      format: session.format,
      address: session.address,
      connectedAtMs: session.connectedAtMs,
      firstFrame: this.#lane.next,
      memberships: this.#ports.memberships.of(session),
    })
  }

  #take(frame: Waiting): void {
    const running = this.#handle(frame)
    if (running === undefined) return
    this.#isBusy = true
    void running.finally(() => {
      this.#isBusy = false
      this.#work()
    })
  }

  #work(): void {
    while (!this.#isBusy && !this.session.isClosed) {
      const next = this.#queue.shift()
      if (next === undefined) return
      this.#take(next)
    }
  }

  /** One frame through the steps, at once unless it is a join, a refresh, or a policy takes its time. */
  #handle({ data, isBinary }: Waiting): Promise<void> | undefined {
    const { session } = this
    let id: string | undefined
    try {
      session.format = isBinary || !this.#ports.allowJson ? 'protobuf' : 'json'
      const frame = this.#ports.validator.validate(data, isBinary)
      id = frame.id
      checkTenant(session.identity, frame.tenantId)
      this.#ports.payloads?.check(frame, session.identity)
      const intent = frame.command === undefined ? undefined : intentOf(frame.command, session.identity)
      // A refresh goes no further than here, and its token is nobody's to read.
      const added = intent?.kind === 'refresh' ? undefined : this.#decide(frame)
      if (!(added instanceof Promise) && (intent === undefined || intent.kind === 'leave')) {
        this.#send(frame, intent && { kind: 'leave', name: intent.name }, added)
        return undefined
      }
      return this.#finish(frame, added, intent).catch((error: unknown) =>
        this.refuse(this.#refusals.toBusError(error), id),
      )
    } catch (error) {
      this.refuse(this.#refusals.toBusError(error), id)
      return undefined
    }
  }

  async #finish(frame: ValidFrame, deciding: Decision, intent: Intent | undefined): Promise<void> {
    const added = await deciding
    if (intent?.kind === 'refresh') await this.#refresh(frame.command!, intent.token)
    else if (intent?.kind === 'join') await this.#join(frame, intent, added)
    else this.#send(frame, intent && { kind: 'leave', name: intent.name }, added)
  }

  /** It goes no further whatever it is; the id is still read, for a refusal that names its frame. */
  #refuseUnread({ data, isBinary }: Waiting, refusal: BusError): void {
    const { validator } = this.#ports
    let id: string | undefined
    try {
      id = validator.validate(data, isBinary).id
    } catch (error) {
      const read = isBusError(error) ? error.details['message_id'] : undefined
      if (typeof read === 'string') id = read
    }
    this.refuse(refusal, id)
  }

  /** Throws, or rejects, what the policy does not allow; else the headers it adds. */
  #decide({ bytes, payload }: ValidFrame): Decision {
    const { identity, id: clientId } = this.session
    const trace = this.#trace.context.traceId
    const input = { identity, clientId, trace, frame: bytes, payload, headers: this.#headers }
    const verdict = this.#ports.policy.decide(input)
    return verdict instanceof Promise ? verdict.then((late) => this.#judge(late)) : this.#judge(verdict)
  }

  #judge(verdict: Verdict): AddedHeaders | undefined {
    this.#ports.metrics.count('shield_policy_decisions_total', verdict.allows ? 'allow' : verdict.code)
    if (verdict.allows) return verdict.headers
    const { code, reason, policy } = verdict
    throw new BusError(code, undefined, {
      ...(reason !== undefined && { reason }),
      ...(policy !== undefined && { policy }),
    })
  }

  async #join(
    frame: ValidFrame,
    { name, overflow }: Extract<Intent, { kind: 'join' }>,
    added: AddedHeaders | undefined,
  ): Promise<void> {
    this.#requireBus()
    // Listening begins before the bus is asked, so that nothing falls between its answer and the first message.
    const joining = await this.#ports.memberships.begin(this.session, name, overflow)
    try {
      this.#send(frame, { kind: 'join', joining }, added)
    } catch (error) {
      joining.abort()
      throw error
    }
  }

  #requireBus(): void {
    if (this.#state === 'closed') throw new BusError('DRAINING')
    if (this.#state === 'open' && this.#ports.bus().isReachable && this.#ports.link.state === 'connected') return
    throw new BusError('LINK_UNAVAILABLE')
  }

  #send(frame: ValidFrame, intent: Pending | undefined, added: AddedHeaders | undefined): void {
    this.#requireBus()
    const { link, clock, metrics } = this.#ports
    const { identity, id } = this.session
    const sentMs = clock.monotonic()
    const about = { identity, clientId: id }
    const { settled, traceId, traceparent } = aftermathOf(frame, this.#trace, about, this.#ports.aftermath)
    const { entry, isReset } = this.#lane.begin({
      requestId: frame.id,
      sentMs,
      echo: frame.echo,
      isCommand: frame.command !== undefined,
      intent,
      settled,
    })
    try {
      const headers: Record<string, string> = {
        [edgeHeaders.session]: id,
        [edgeHeaders.subject]: escapeToken(identity.subject),
        [edgeHeaders.role]: identity.role,
        [edgeHeaders.trace]: traceId,
        traceparent,
        [edgeHeaders.frame]: String(entry.frame),
      }
      if (intent !== undefined) headers[edgeHeaders.intent] = intentHeader
      if (isReset) headers[edgeHeaders.reset] = '1'
      link.publish(inSubject(identity.tenant), frame.bytes, added === undefined ? headers : { ...added, ...headers })
    } catch (error) {
      this.#lane.cancel(entry.frame)
      throw error
    }
    metrics.count('shield_frames_total', 'forwarded')
  }

  /** A newer token for the same subject and tenant; it ends here and never travels on. */
  async #refresh(request: Envelope, token: unknown): Promise<void> {
    const { authenticator, answers, metrics } = this.#ports
    const fail = (error: BusError): void => this.session.send(answers.failed(request, error))
    const { identity, error, isForAnother } = await judgeRefresh(
      authenticator,
      token,
      this.session.identity,
      (refusal) => metrics.count('shield_auth_refusals_total', refusal),
    )
    if (identity === undefined) {
      fail(error)
      if (isForAnother) this.session.close('TOKEN_REVOKED', error.message)
      return
    }
    // Frames under way still carry the old role: they are answered before the claims change.
    await this.#fromBus.drained()
    if (this.session.isClosed) return
    this.session.identity = identity
    // Memberships are judged again under the new claims; frames wait here meanwhile.
    if (this.#state === 'open') this.suspend()
    if (!(await this.resync())) return fail(new BusError('LINK_UNAVAILABLE'))
    if (this.session.isClosed) return
    const data = { expires_at: identity.expiresAtMs === undefined ? null : toIsoTime(identity.expiresAtMs) }
    for (const envelope of answers.done(request, 'Token accepted', data)) this.session.send(envelope)
  }
}
