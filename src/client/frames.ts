// The frames a client sends.
import { systemClock, toIsoTime } from '../base/clock.ts'
import { createMessageIds } from '../base/ids.ts'
import type { JsonObject } from '../base/json.ts'
import { protocolVersion } from '../base/version.ts'
import type { AckRequest, Envelope } from '../envelope/envelope.ts'

export interface Frames {
  command(command: string, args: JsonObject): Envelope
  message(fields: {
    room?: string
    channel?: string
    to?: string
    payload: JsonObject
    id?: string
    ack?: AckRequest
    metadata?: JsonObject
  }): Envelope
}

export function createFrames(): Frames {
  const nextId = createMessageIds(systemClock.now())

  function made(fields: Pick<Envelope, 'type'> & Partial<Envelope>): Envelope {
    const timestamp = toIsoTime(systemClock.now())
    return { id: nextId(), timestamp, version: protocolVersion, payload: {}, args: {}, metadata: {}, ...fields }
  }

  return {
    command: (command, args) => made({ type: 'command', command, args }),
    message({ room, channel, to, payload, id, ack, metadata }) {
      return made({
        type: 'message',
        payload,
        metadata: { ...metadata, ...(ack !== undefined && { ack }) },
        ...(id !== undefined && { id }),
        ...(room !== undefined && { room }),
        ...(channel !== undefined && { channel }),
        ...(to !== undefined && { to_client: to }),
      })
    },
  }
}
