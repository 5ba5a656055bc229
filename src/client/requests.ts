// Requests waiting for their answers. A request that is sent again keeps its id: the bus stores an id once, so that
// repeating is safe exactly when the first outcome is unknown.
//
//   waiting -> sent -> answered | failed
//      ^________|  connection lost, or refused for now: only where `resend` is set
import { backoffMs } from '../base/backoff.ts'
import type { Envelope } from '../envelope/envelope.ts'
import { ClientError, errorOfAnswer } from './client-error.ts'
import { createPace, type Pace } from './pace.ts'

export interface RequestOptions {
  /** Send again after a lost connection or a retryable refusal, until the time is up. */
  readonly resend: boolean
  readonly timeoutMs: number
  /** Called in the turn in which the answer arrives, before any later frame is looked at. */
  readonly onSuccess?: (answer: Envelope) => void
  /** Sent even while the connection is not ready for others: the joins that make it ready. */
  readonly isFirst?: boolean
  /** Nothing answers it: it is settled, with itself, when it has been sent. */
  readonly isOneWay?: boolean
}

/** How much a server takes of one connection. */
export interface Allowance {
  readonly framesPerSecond: number
  /** Requests sent and not answered. */
  readonly inflight: number
}

export interface Requests {
  /** Resolves with the frame that answers `envelope`; rejects with a ClientError. */
  request(envelope: Envelope, options: RequestOptions): Promise<Envelope>
  /** Takes a frame that answers a request, or that refuses one without saying which. */
  answer(envelope: Envelope): boolean
  /** A new connection takes this much. */
  allow(allowance: Allowance): void
  /** The connection is ready: everything that waits is sent, in the order of the calls. */
  up(): void
  /** Nothing new is sent until `up`; answers are still taken. */
  hold(): void
  /** The connection is gone: what was sent and may not be repeated fails. */
  down(): void
  /** Nothing can be answered any more, now or later. */
  fail(error: (wasSent: boolean) => ClientError): void
  /** Sent and not answered. */
  readonly inflight: number
}

interface Pending {
  readonly envelope: Envelope
  readonly options: RequestOptions
  readonly resolve: (answer: Envelope) => void
  readonly reject: (error: ClientError) => void
  readonly deadline: ReturnType<typeof setTimeout>
  retry: ReturnType<typeof setTimeout> | undefined
  attempts: number
  isSent: boolean
  /** Was it ever sent? Then its outcome may be unknown, even while it waits to be sent again. */
  wasSent: boolean
}

/** Requests that may be under way; more are refused instead of filling the memory. */
const maxPending = 10_000
export function createRequests(send: (envelope: Envelope) => void): Requests {
  const pending = new Map<string, Pending>()
  /** Those to be sent as soon as there is room, oldest first. */
  const waiting = new Set<Pending>()
  let inflight = 0
  let maxInflight = 1
  let pace: Pace = createPace(Number.MAX_SAFE_INTEGER)
  let isUp = false
  let ended: ((wasSent: boolean) => ClientError) | undefined
  let slowDown: ReturnType<typeof setTimeout> | undefined
  let nextTurn: ReturnType<typeof setTimeout> | undefined

  function transmit(entry: Pending): void {
    waiting.delete(entry)
    entry.isSent = true
    entry.wasSent = true
    inflight++
    try {
      send(entry.envelope)
    } catch (cause) {
      fail(entry, new ClientError('VALIDATION_ERROR', 'this cannot be written as a frame', { cause }))
      return
    }
    if (entry.options.isOneWay !== true) return
    entry.resolve(entry.envelope)
    remove(entry)
  }

  function pump(): void {
    for (const entry of waiting) {
      if (!isUp || slowDown !== undefined || nextTurn !== undefined || inflight >= maxInflight) return
      if (pace.take()) transmit(entry)
      else {
        nextTurn = setTimeout(() => {
          nextTurn = undefined
          pump()
        }, pace.waitMs())
      }
    }
  }

  function unsend(entry: Pending): void {
    if (entry.isSent) inflight--
    entry.isSent = false
  }

  function remove(entry: Pending): void {
    clearTimeout(entry.deadline)
    clearTimeout(entry.retry)
    pending.delete(entry.envelope.id)
    waiting.delete(entry)
    unsend(entry)
    pump()
  }

  function fail(entry: Pending, error: ClientError): void {
    remove(entry)
    entry.reject(error)
  }

  function refuse(entry: Pending, error: ClientError): void {
    if (!entry.options.resend || !error.retryable) {
      fail(entry, error)
      return
    }
    unsend(entry)
    entry.retry = setTimeout(
      () => {
        entry.retry = undefined
        waiting.add(entry)
        pump()
      },
      (error.retryAfterMs ?? 0) + backoffMs(entry.attempts++, Math.random()),
    )
  }

  /** Everything unanswered waits again, in the order of the calls; what may not be repeated stays as it is. */
  function rewind(): void {
    waiting.clear()
    for (const entry of pending.values()) {
      if (entry.options.resend) unsend(entry)
      if (!entry.isSent && entry.retry === undefined) waiting.add(entry)
    }
  }

  /** A frame was refused unread (too many in too little time): which one is not known, so all unanswered go again. */
  function refuseUnnamed(error: ClientError): void {
    slowDown ??= setTimeout(
      () => {
        slowDown = undefined
        rewind()
        pump()
      },
      (error.retryAfterMs ?? 0) + backoffMs(0, Math.random(), 200),
    )
  }

  return {
    request(envelope, options) {
      if (ended !== undefined) return Promise.reject(ended(false))
      if (pending.size >= maxPending) {
        return Promise.reject(
          new ClientError('BUFFER_FULL', `${maxPending} requests wait already`, { retryable: true }),
        )
      }
      if (pending.has(envelope.id)) {
        return Promise.reject(new ClientError('ID_CONFLICT', 'a request with this id is under way'))
      }
      const { promise, resolve, reject } = Promise.withResolvers<Envelope>()
      const deadline = setTimeout(() => {
        const outcome = entry.wasSent ? 'unknown' : 'not_stored'
        const message = `no answer within ${options.timeoutMs} ms`
        fail(entry, new ClientError('REQUEST_TIMEOUT', message, { retryable: true, outcome }))
      }, options.timeoutMs)
      const fresh = { retry: undefined, attempts: 0, isSent: false, wasSent: false }
      const entry: Pending = { envelope, options, resolve, reject, deadline, ...fresh }
      pending.set(envelope.id, entry)
      if (options.isFirst === true) {
        pace.force()
        transmit(entry)
      } else {
        waiting.add(entry)
        pump()
      }
      return promise
    },

    answer(envelope) {
      const id = envelope.type === 'message_response' ? envelope.id : envelope.request_id
      const isRefusal = envelope.type === 'error' || envelope.status === 'error'
      if (id === undefined && isRefusal) {
        const error = errorOfAnswer(envelope)
        if (error.retryable) refuseUnnamed(error)
        return error.retryable
      }
      const entry = pending.get(id ?? '')
      if (entry === undefined) return false
      if (isRefusal) refuse(entry, errorOfAnswer(envelope))
      else {
        entry.options.onSuccess?.(envelope)
        entry.resolve(envelope)
        remove(entry)
      }
      return true
    },

    allow(allowance) {
      maxInflight = Math.max(1, allowance.inflight)
      pace = createPace(allowance.framesPerSecond)
    },

    up() {
      isUp = true
      pump()
    },

    hold() {
      isUp = false
    },

    down() {
      isUp = false
      rewind()
      const facts = { retryable: true, outcome: 'unknown' } as const
      for (const entry of pending.values()) {
        if (entry.isSent) fail(entry, new ClientError('CONNECTION_LOST', 'lost before the answer came', facts))
      }
    },

    fail(error) {
      isUp = false
      ended = error
      clearTimeout(slowDown)
      clearTimeout(nextTurn)
      for (const entry of pending.values()) fail(entry, error(entry.wasSent))
    },

    get inflight() {
      return inflight
    },
  }
}
