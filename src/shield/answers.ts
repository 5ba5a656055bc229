// The frames a gateway makes itself: the welcome it passes on, refusals, notices of messages that are missing.
import type { Clock } from '../base/clock.ts'
import { toIsoTime } from '../base/clock.ts'
import { type BusError, errorTable } from '../base/errors.ts'
import type { JsonObject } from '../base/json.ts'
import { protocolVersion } from '../base/version.ts'
import type { Envelope, EnvelopeType } from '../envelope/envelope.ts'

/** Why messages of a channel did not reach its members through this gateway. */
export type GapReason = 'epoch_changed' | 'retention_expired' | 'too_far_behind' | 'not_stored' | 'not_permitted'

export interface Answers {
  welcome(clientId: string, facts: JsonObject): Envelope
  refusal(error: BusError, requestId: string | undefined): Envelope
  /** Answers a command handled here: the response, then the original's second frame. */
  done(request: Envelope, message: string, data: JsonObject): readonly Envelope[]
  failed(request: Envelope, error: BusError): Envelope
  goaway(reconnectAfterMs: number): Envelope
  gap(room: string, channel: string, facts: JsonObject): Envelope
}

function errorFacts(error: BusError): JsonObject {
  const spec = errorTable[error.code]
  const facts: JsonObject = { errors: [error.message], retryable: spec.retry, outcome: spec.outcome }
  if ('retryAfterMs' in spec) facts['retry_after_ms'] = spec.retryAfterMs
  for (const [name, value] of Object.entries(error.details))
    facts[name] = typeof value === 'object' ? [...value] : value
  return facts
}

export function createAnswers(clock: Clock, nextId: () => string): Answers {
  function made(type: EnvelopeType, fields: Partial<Envelope>): Envelope {
    return {
      id: nextId(),
      timestamp: toIsoTime(clock.now()),
      type,
      version: protocolVersion,
      payload: {},
      args: {},
      metadata: {},
      sender: 'arqonbus',
      ...fields,
    }
  }

  return {
    welcome(clientId, facts) {
      return made('message', { payload: { welcome: 'Connected to ArqonBus', client_id: clientId, ...facts } })
    },
    refusal(error, requestId) {
      return made('error', {
        error: errorTable[error.code].text,
        error_code: error.code,
        payload: errorFacts(error),
        ...(requestId !== undefined && { request_id: requestId }),
      })
    },
    done(request, message, data) {
      const { id, command } = request
      return [
        made('response', { request_id: id, status: 'success', payload: { message, data } }),
        made('command_response', { id, payload: { result: 'ok' }, ...(command !== undefined && { command }) }),
      ]
    },
    failed(request, error) {
      return made('response', {
        request_id: request.id,
        status: 'error',
        error: errorTable[error.code].text,
        error_code: error.code,
        payload: { message: error.message, data: {}, ...errorFacts(error) },
      })
    },
    goaway(reconnectAfterMs) {
      return made('goaway', { payload: { reason: 'restart', reconnect_after_ms: reconnectAfterMs } })
    },
    gap(room, channel, facts) {
      return made('gap', { room, channel, payload: { room, channel, ...facts } })
    },
  }
}
