// The telemetry port greets, and shows an event that our own traffic caused.
import { isJsonObject, type JsonObject, type JsonValue } from '../../base/json.ts'
import type { CheckPorts } from '../check.ts'
import { ProbeStop } from '../stops.ts'
import { createInbox, type Inbox } from './inbox.ts'
import { busToken, probeTenant } from './probe-tokens.ts'
import { feed, openSocket, openWireSession } from './wire-session.ts'

export async function lookAtTelemetry(ports: CheckPorts, signal: AbortSignal) {
  const token = await busToken(ports, probeTenant)
  const inbox = createInbox<JsonObject>('telemetry', signal)
  const socket = openSocket(ports.targets.telemetry!, token)
  try {
    feed(socket, inbox, signal, (data) => parseEvent(data.toString('utf8')))
    const greeting = typeOf(await inbox.first())
    // Who does not greet is not asked for more.
    if (greeting !== 'telemetry_connected') return { greeting }
    const session = await openWireSession('bus', ports.targets.bus!, token, ports, signal)
    try {
      const event = await ownEvent(inbox, session.clientId)
      return { greeting, ...(event !== undefined && { event }) }
    } finally {
      session.close()
    }
  } finally {
    socket.terminate()
  }
}

/** Undefined when the stream ended without one. */
async function ownEvent(inbox: Inbox<JsonObject>, clientId: string): Promise<string | undefined> {
  try {
    return typeOf(await inbox.next((event) => event['client_id'] === clientId))
  } catch (error) {
    if (error instanceof ProbeStop && error.stopped.code === 'CLOSED') return undefined
    throw error
  }
}

function typeOf({ event_type: type }: JsonObject): string {
  return textOf(type) ?? JSON.stringify(type ?? null)
}

const textOf = (value: JsonValue | undefined): string | undefined => (typeof value === 'string' ? value : undefined)

function parseEvent(text: string): JsonObject {
  const value: unknown = JSON.parse(text)
  if (!isJsonObject(value)) throw new TypeError('not a JSON object')
  return value
}
