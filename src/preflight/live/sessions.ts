// Clients of a probe at both doors, all closed at its end, and what they see in a place no other client uses.
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import type { Envelope } from '../../envelope/envelope.ts'
import type { CheckPorts } from '../check.ts'
import { within } from './inbox.ts'
import { greeting, type LinkObserver, type Marked, openLinkObserver } from './link-observer.ts'
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
  /** A listener on NATS, where there is one. */
  link(place: Place): Promise<LinkObserver>
}

/** Whatever happens, everything that was opened is closed. */
export async function withSessions<T>(
  ports: CheckPorts,
  signal: AbortSignal,
  run: (open: Opener) => Promise<T>,
): Promise<T> {
  const opened: { close(): void }[] = []
  const keep = <T extends { close(): void }>(one: T): T => {
    opened.push(one)
    return one
  }
  try {
    return await run({
      shield: async (tenant) =>
        keep(await openWireSession('shield', shieldUrl(ports), await shieldToken(ports, tenant), ports, signal)),
      bus: async (tenant) =>
        keep(await openWireSession('bus', ports.targets.bus!, await busToken(ports, tenant), ports, signal)),
      link: async (place) => keep(await openLinkObserver(ports, place, signal)),
    })
  } finally {
    for (const one of opened) one.close()
  }
}

export function newPlace(ports: CheckPorts): Place {
  return { room: `preflight-${ports.nonce()}`, channel: `probe-${ports.nonce()}` }
}

/** Publishes there, and says what has to pass on NATS: once, in the order of the calls. */
export async function publishMarked(
  sender: WireSession,
  tenant: string,
  place: Place,
  payload: Marked,
): Promise<JsonObject> {
  const frame = await sender.publish(place.room, place.channel, payload)
  return { tenant, nonce: payload.nonce, ...(frame !== undefined && { frame }) }
}

const greetings = 6
const greetingMs = 300

/**
 * Interest needs a moment from one server of a cluster to the next: `member`, at Shield and in the place, speaks until it
 * is heard on NATS. Where it never is, what follows will not be either, and is judged.
 */
export async function settle(link: LinkObserver, member: WireSession, place: Place): Promise<void> {
  for (let attempt = 0; link.isListening && attempt < greetings; attempt++) {
    const hello = link.payload(greeting)
    await member.publish(place.room, place.channel, hello)
    if (await link.hears(hello, greetingMs)) return
  }
}

/** What was acknowledged is on its way: what is not there by then does not come. */
const arriveMs = 4_000

/** Waits for that payload in that place, and gives everything that came to the place until then, and nothing later. */
export async function seenUntil(session: WireSession, place: Place, last: JsonObject): Promise<JsonObject[]> {
  const isLast = (frame: Envelope): boolean => isAt(frame, place) && payloadOf(frame)['nonce'] === last['nonce']
  await within(arriveMs, session.inbox.next(isLast))
  const { all } = session.inbox
  const end = all.findIndex(isLast)
  const came = (end === -1 ? all : all.slice(0, end + 1)).filter((frame) => isAt(frame, place))
  return withoutGreeting(came.map(payloadOf))
}

export const withoutGreeting = (payloads: readonly JsonObject[]): JsonObject[] =>
  payloads.filter(({ kind }) => kind !== greeting)

function isAt({ type, room, channel }: Envelope, place: Place): boolean {
  return type === 'message' && room === place.room && channel === place.channel
}

const payloadOf = ({ payload }: Envelope): JsonObject => (isJsonObject(payload) ? payload : { payload })
