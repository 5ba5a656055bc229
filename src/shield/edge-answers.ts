// What the bus sends to one session: answers and private messages go on to the client in its own format, receipts
// settle frames, and what a join or a leave came to is done here too. A lost part of an answer does not go unnoticed.
import { BusError } from '../base/errors.ts'
import { countOf, edgeHeaders, parseJoined } from '../envelope/edge-protocol.ts'
import type { LinkHeaders, LinkMessage } from '../link/link.ts'
import type { Session } from '../session/session.ts'
import { envelopeOfFrame } from '../wire/message-frame.ts'
import { wsFrame } from '../wire/ws-frame.ts'
import type { EdgeMemberships, Joining } from './edge-memberships.ts'
import type { FrameLane, Unanswered } from './frame-lane.ts'
import type { Intent } from './intent.ts'

/** A membership under way: at the bus, and here. */
export type Pending =
  | { readonly kind: 'join'; readonly joining: Joining }
  | { readonly kind: 'leave'; readonly name: Extract<Intent, { kind: 'leave' }>['name'] }

export interface EdgeAnswersPorts {
  readonly session: Session
  readonly lane: FrameLane<Pending>
  readonly memberships: EdgeMemberships
  /** The client is to be told what became of its frame. */
  readonly refuse: (error: BusError, requestId: string) => void
  /** The bus does not hold the session. */
  readonly onUnknown: () => void
}

export class EdgeAnswers {
  readonly #ports: EdgeAnswersPorts
  /** The count of the last message; undefined while a bus may be counting from anywhere. */
  #lastOut: number | undefined = 0
  #joined: ReturnType<typeof parseJoined> = []
  #whenDrained: (() => void) | undefined

  constructor(ports: EdgeAnswersPorts) {
    this.#ports = ports
  }

  /** A message on the session's own subject. */
  take({ data, headers }: LinkMessage): void {
    const { session, lane } = this.#ports
    if (session.isClosed || !this.#isNext(countOf(headers[edgeHeaders.out]))) return
    const frame = countOf(headers[edgeHeaders.frame])
    const expected = countOf(headers[edgeHeaders.gap])
    if (frame !== undefined && expected !== undefined) {
      this.giveUp(lane.gap(frame, expected), 'LINK_GAP')
    } else if (frame !== undefined && headers[edgeHeaders.unknown] !== undefined) {
      this.giveUp(lane.gap(frame, frame), 'LINK_UNAVAILABLE')
      this.#ports.onUnknown()
    } else {
      if (data.length > 0) this.#forward(data, frame)
      const joined = headers[edgeHeaders.joined]
      if (joined !== undefined) this.#joined.push(...parseJoined(joined))
      if (frame === undefined) return
      const since = countOf(headers[edgeHeaders.since])
      if (since !== undefined) lane.settleRange(since, frame)
      this.#settle(frame, headers, data)
    }
  }

  /** These will not be answered by the bus any more: the client is told, unless it knows already. */
  giveUp(entries: readonly Unanswered<Pending>[], code: 'LINK_GAP' | 'LINK_TIMEOUT' | 'LINK_UNAVAILABLE'): void {
    const { session } = this.#ports
    for (const { intent, isAnswered, requestId, settled } of entries) {
      settled?.(code)
      if (intent?.kind === 'join') intent.joining.abort()
      if (!isAnswered) this.#ports.refuse(new BusError(code), requestId)
      // The bus said yes, and what belongs to it was lost: only a new start makes both sides agree again.
      else if (intent !== undefined) session.close('LINK_LOST', 'the end of an answer was lost')
    }
    this.#noteDrained()
  }

  /** Another bus, or the same one anew, will count its messages from 1. */
  restart(): void {
    this.#lastOut = undefined
    this.giveUp(this.#ports.lane.restart(), 'LINK_TIMEOUT')
  }

  /** The client is gone: nobody needs to be told. */
  close(): void {
    for (const { intent } of this.#ports.lane.restart()) if (intent?.kind === 'join') intent.joining.abort()
    this.#noteDrained()
  }

  /** Resolves when no frame is unanswered. */
  drained(): Promise<void> {
    if (this.#ports.lane.unanswered.size === 0) return Promise.resolve()
    const before = this.#whenDrained
    return new Promise((resolve) => {
      this.#whenDrained = () => {
        before?.()
        resolve()
      }
    })
  }

  /** False when a message before this one was lost that may be part of a command's answer: the client must start anew. */
  #isNext(out: number | undefined): boolean {
    if (out === undefined) return true
    const isHole = this.#lastOut !== undefined && out > this.#lastOut + 1
    this.#lastOut = out
    // Elsewhere the time-out of the frame tells, and private messages are never more than accepted.
    if (!isHole || !this.#awaitsCommand()) return true
    this.#ports.session.close('LINK_LOST', 'part of an answer was lost')
    return false
  }

  #awaitsCommand(): boolean {
    for (const entry of this.#ports.lane.unanswered.values()) if (entry.isCommand) return true
    return false
  }

  #forward(data: Uint8Array, frame: number | undefined): void {
    const { session, lane } = this.#ports
    if (session.format === 'protobuf' && !this.#awaitsCommand()) {
      session.write(wsFrame(2, data))
      return
    }
    const envelope = envelopeOfFrame(data)
    if (envelope.type === 'response') {
      for (const entry of lane.unanswered.values()) {
        if (entry.requestId === envelope.request_id) entry.isAnswered = true
      }
    }
    const echo = frame === undefined ? undefined : lane.unanswered.get(frame)?.echo
    if (echo !== undefined && envelope.type === 'message_response') envelope.payload = echo
    if (session.format === 'protobuf') session.write(wsFrame(2, data))
    else session.send(envelope)
  }

  #settle(frame: number, headers: LinkHeaders, data: Uint8Array): void {
    const entry = this.#ports.lane.settle(frame)
    if (entry?.settled !== undefined) entry.settled(refusalIn(data))
    const intent = entry?.intent
    const joined = this.#joined.splice(0)
    if (intent?.kind === 'leave') this.#leave(intent.name, headers[edgeHeaders.status])
    else if (intent?.kind === 'join') this.#join(intent.joining, headers, joined)
    this.#noteDrained()
  }

  #leave(name: Joining['name'], status: string | undefined): void {
    const { session, memberships } = this.#ports
    if (status === 'success' || status === 'NOT_JOINED') memberships.leave(session, name)
  }

  #join(joining: Joining, headers: LinkHeaders, joined: ReturnType<typeof parseJoined>): void {
    if (headers[edgeHeaders.status] !== 'success') {
      joining.abort()
      return
    }
    if (joined.length !== countOf(headers[edgeHeaders.joinedTotal])) {
      joining.abort()
      this.#ports.session.close('LINK_LOST', 'messages of a join were lost')
      return
    }
    const { tenant, room } = joining.name
    joining.commit(joined.map((at) => ({ tenant, room, ...at })))
  }

  #noteDrained(): void {
    if (this.#ports.lane.unanswered.size > 0) return
    this.#whenDrained?.()
    this.#whenDrained = undefined
  }
}

/** The code of a refusal, when the last part of an answer is one. */
function refusalIn(data: Uint8Array): string | undefined {
  if (data.length === 0) return undefined
  const { type, status, error_code: code } = envelopeOfFrame(data)
  return type === 'error' || status === 'error' ? (code ?? 'INTERNAL_ERROR') : undefined
}
