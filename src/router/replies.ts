// Builders of every frame the server makes itself (original-contract 3.2, 3.4; design 5).
import type { Clock } from '../base/clock.ts'
import { toIsoTime } from '../base/clock.ts'
import { type BusError, errorTable } from '../base/errors.ts'
import type { JsonObject, JsonValue } from '../base/json.ts'
import { protocolVersion } from '../base/version.ts'
import type { AckLevel, Envelope, EnvelopeType, Position } from '../envelope/envelope.ts'
import type { Client } from '../session/client.ts'
import { ackFrame } from '../wire/ack-frame.ts'

/** The `sender` of every frame the server makes. */
export const serverSender = 'arqonbus'

export interface Replies {
  welcome(clientId: string, facts: JsonObject): Envelope
  /** The one answer to a command: `status` says how it ended. */
  response(requestId: string, message: string, data: JsonObject): Envelope
  /** The original's second frame after a command; only successes get it. */
  commandResponse(request: Envelope): Envelope
  failedResponse(requestId: string, error: BusError, command?: string): Envelope
  error(error: BusError, about: { requestId?: string; room?: string; channel?: string }): Envelope
  acknowledgement(id: string, ack: Acknowledgement): Envelope
  /** What was acknowledged at level `memory`, or not at all, has reached `level`. */
  upgrade(id: string, level: AckLevel, position: Position): Envelope
  /** Sends the acknowledgement of a publish, in the client's format; binary ones are laid out directly. */
  acknowledge(client: Client, id: string, ack: Acknowledgement): void
  /** Messages of a channel that its member is not delivered. */
  gap(place: { room: string; channel: string }, facts: JsonObject): Envelope
  notice(type: Extract<EnvelopeType, 'goaway' | 'state'>, payload: JsonObject): Envelope
}

export interface Acknowledgement {
  /** Echoed to JSON clients, as the original does; protobuf clients get an empty one. */
  readonly payload?: JsonValue
  readonly level: AckLevel
  readonly position?: Position
  readonly isDuplicate?: boolean
}

/** What an error answer tells beside its text: enough for a client to decide by data, not by words. */
export function errorFacts(error: BusError): JsonObject {
  const spec = errorTable[error.code]
  const { message_id: _, ...details } = error.details
  const facts: JsonObject = {
    errors: [error.message],
    retryable: spec.retry,
    outcome: spec.outcome,
  }
  if ('retryAfterMs' in spec) facts['retry_after_ms'] = spec.retryAfterMs
  for (const [name, value] of Object.entries(details)) facts[name] = typeof value === 'object' ? [...value] : value
  return facts
}

export function createReplies(clock: Clock, nextId: () => string): Replies {
  function made(type: EnvelopeType, fields: Partial<Envelope>): Envelope {
    return {
      id: fields.id ?? nextId(),
      timestamp: toIsoTime(clock.now()),
      type,
      version: protocolVersion,
      payload: {},
      args: {},
      metadata: {},
      sender: serverSender,
      ...fields,
    }
  }

  function acknowledgement(id: string, ack: Acknowledgement): Envelope {
    const metadata: JsonObject = { level: ack.level }
    if (ack.position !== undefined) metadata['position'] = { ...ack.position }
    if (ack.isDuplicate) metadata['duplicate'] = true
    return made('message_response', { id, status: 'success', payload: ack.payload ?? {}, metadata })
  }

  return {
    acknowledgement,
    upgrade(id, level, position) {
      const { metadata, ...envelope } = acknowledgement(id, { level, position })
      return { ...envelope, metadata: { ...metadata, durability: level } }
    },
    acknowledge(client, id, ack) {
      if (client.isRemote || client.format === 'json') {
        client.send(acknowledgement(id, ack))
        return
      }
      const { level, position, isDuplicate = false } = ack
      client.write(ackFrame({ id, atMs: clock.now(), sender: serverSender, level, position, isDuplicate }))
    },
    welcome(clientId, facts) {
      return made('message', { payload: { welcome: 'Connected to ArqonBus', client_id: clientId, ...facts } })
    },
    response(requestId, message, data) {
      return made('response', { request_id: requestId, status: 'success', payload: { message, data } })
    },
    commandResponse(request) {
      const { id, command } = request
      return made('command_response', { id, payload: { result: 'ok' }, ...(command !== undefined && { command }) })
    },
    failedResponse(requestId, error, command) {
      return made('response', {
        request_id: requestId,
        status: 'error',
        error: errorTable[error.code].text,
        error_code: error.code,
        payload: { message: error.message, data: {}, ...errorFacts(error) },
        ...(command !== undefined && { command }),
      })
    },
    error(error, about) {
      return made('error', {
        error: errorTable[error.code].text,
        error_code: error.code,
        payload: errorFacts(error),
        ...(about.requestId !== undefined && { request_id: about.requestId }),
        ...(about.room !== undefined && { room: about.room }),
        ...(about.channel !== undefined && { channel: about.channel }),
      })
    },
    gap({ room, channel }, facts) {
      return made('gap', { room, channel, payload: { room, channel, ...facts } })
    },
    notice(type, payload) {
      return made(type, { payload })
    },
  }
}
