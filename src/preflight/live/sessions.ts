// Clients of a probe at both doors, all closed at its end, and what they see in a place no other client uses.
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import type { Envelope } from '../../envelope/envelope.ts'
import type { CheckPorts } from '../check.ts'
import { busToken, shieldToken } from './probe-tokens.ts'
import { shieldUrl } from './shield-auth.ts'
import { openWireSession, type WireSession } from './wire-session.ts'

export interface Place {
  readonly room: string
  readonly channel: string
}

export interface Opener {
  shield(tenant: string): Promise<WireSession>
  bus(tenant: string): Promise<WireSession>
}

/** Whatever happens, every session is closed. */
export async function withSessions<T>(
  ports: CheckPorts,
  signal: AbortSignal,
  run: (open: Opener) => Promise<T>,
): Promise<T> {
  const sessions: WireSession[] = []
  const keep = (session: WireSession): WireSession => {
    sessions.push(session)
    return session
  }
  try {
    return await run({
      shield: async (tenant) =>
        keep(await openWireSession('shield', shieldUrl(ports), await shieldToken(ports, tenant), ports, signal)),
      bus: async (tenant) =>
        keep(await openWireSession('bus', ports.targets.bus!, await busToken(ports, tenant), ports, signal)),
    })
  } finally {
    for (const session of sessions) session.close()
  }
}

export function newPlace(ports: CheckPorts): Place {
  return { room: `preflight-${ports.nonce()}`, channel: `probe-${ports.nonce()}` }
}

/** Waits for that payload in that place, and gives everything that came to the place until then. */
export async function seenUntil(session: WireSession, place: Place, last: JsonObject): Promise<JsonObject[]> {
  await session.inbox.next((frame) => isAt(frame, place) && payloadOf(frame)['nonce'] === last['nonce'])
  return session.inbox.all.filter((frame) => isAt(frame, place)).map(payloadOf)
}

function isAt({ type, room, channel }: Envelope, place: Place): boolean {
  return type === 'message' && room === place.room && channel === place.channel
}

const payloadOf = ({ payload }: Envelope): JsonObject => (isJsonObject(payload) ? payload : { payload })
