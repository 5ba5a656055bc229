// What Shield lets in arrives where it should, once, and nowhere else. Silence is proved by order: a message of its own
// that reaches an observer later than the probe proves that the probe did not come before it.
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import { defaultTenant } from '../../auth/tenants.ts'
import type { Envelope } from '../../envelope/envelope.ts'
import type { CheckPorts, CheckResult } from '../check.ts'
import { judged } from './probe-failure.ts'
import { busToken, otherProbeTenant, probeTenant, shieldToken } from './probe-tokens.ts'
import { shieldUrl } from './shield-auth.ts'
import { openWireSession, type WireSession, wrong } from './wire-session.ts'

/** A place no client uses. */
interface Place {
  readonly room: string
  readonly channel: string
}

export function checkRouting(ports: CheckPorts, signal: AbortSignal): Promise<CheckResult> {
  return withSessions(ports, signal, async (open) => {
    // Where the bus asks for no token, all its clients are in the default tenant: the probe goes there too.
    const tenant = ports.ctx.resolution.values.enableAuth ? probeTenant : defaultTenant
    const place = newPlace(ports)
    const observer = await open.bus(tenant)
    const stranger = await open.stranger()
    await observer.join(place.room, place.channel)
    await stranger.join(place.room, place.channel)

    const sender = await open.shield(tenant)
    const probe = { kind: 'probe', nonce: ports.nonce() }
    const fence = { kind: 'fence', nonce: ports.nonce() }
    await sender.publish(place.room, place.channel, probe)
    await sender.publish(place.room, place.channel, fence)
    await until(observer, place, fence)
    expectExactly(observer, place, [probe, fence])

    const ownSender = await open.shield(otherProbeTenant)
    const ownFence = { kind: 'fence', nonce: ports.nonce() }
    await ownSender.publish(place.room, place.channel, ownFence)
    await until(stranger, place, ownFence)
    expectExactly(stranger, place, [ownFence])
    return { status: 'pass', observed: 'one message on the bus, equal to the one sent; none in the other tenant' }
  })
}

export function checkTenantIsolation(ports: CheckPorts, signal: AbortSignal): Promise<CheckResult> {
  return withSessions(ports, signal, async (open) => {
    const place = newPlace(ports)
    const tenants = [probeTenant, otherProbeTenant]
    const observers = await Promise.all(tenants.map((tenant) => open.shield(tenant)))
    for (const observer of observers) await observer.join(place.room, place.channel)
    const senders = await Promise.all(tenants.map((tenant) => open.shield(tenant)))
    const probes = tenants.map((_, index) => ({ kind: 'probe', index, nonce: ports.nonce() }))
    const fences = tenants.map((_, index) => ({ kind: 'fence', index, nonce: ports.nonce() }))
    // Every probe is acknowledged before the first fence is sent: a crossed probe would stand before it.
    for (const [index, sender] of senders.entries()) await sender.publish(place.room, place.channel, probes[index]!)
    for (const [index, sender] of senders.entries()) await sender.publish(place.room, place.channel, fences[index]!)
    for (const [index, observer] of observers.entries()) {
      await until(observer, place, fences[index]!)
      expectExactly(observer, place, [probes[index]!, fences[index]!])
    }
    return { status: 'pass', observed: 'two tenants in the same room and channel saw their own messages only' }
  })
}

interface Opener {
  shield(tenant: string): Promise<WireSession>
  bus(tenant: string): Promise<WireSession>
  /** An observer of the other tenant, on the bus where the bus tells tenants apart. */
  stranger(): Promise<WireSession>
}

/** Whatever happens, every session is closed. */
async function withSessions(
  ports: CheckPorts,
  signal: AbortSignal,
  run: (open: Opener) => Promise<CheckResult>,
): Promise<CheckResult> {
  const sessions: WireSession[] = []
  const keep = (session: WireSession): WireSession => {
    sessions.push(session)
    return session
  }
  const shield = async (tenant: string): Promise<WireSession> =>
    keep(await openWireSession('shield', shieldUrl(ports), await shieldToken(ports, tenant), ports, signal))
  const bus = async (tenant: string): Promise<WireSession> =>
    keep(await openWireSession('bus', ports.targets.bus!, await busToken(ports, tenant), ports, signal))
  const stranger = (): Promise<WireSession> =>
    ports.ctx.resolution.values.enableAuth ? bus(otherProbeTenant) : shield(otherProbeTenant)
  try {
    return await judged(() => run({ shield, bus, stranger }))
  } finally {
    for (const session of sessions) session.close()
  }
}

function newPlace(ports: CheckPorts): Place {
  return { room: `preflight-${ports.nonce()}`, channel: `probe-${ports.nonce()}` }
}

async function until(session: WireSession, place: Place, payload: JsonObject): Promise<void> {
  await session.inbox.next((frame) => isAt(frame, place) && nonceOf(frame) === payload['nonce'])
}

/** The messages that reached a session in a place are these, in this order, unchanged. */
function expectExactly(session: WireSession, place: Place, payloads: readonly JsonObject[]): void {
  const seen = session.inbox.all.filter((frame) => isAt(frame, place))
  const isEqual = (frame: Envelope, index: number): boolean => sameObject(frame.payload, payloads[index])
  if (seen.length !== payloads.length) {
    throw wrong(session.inbox.name, 'WRONG_COUNT', `${seen.length} messages instead of ${payloads.length}`)
  }
  if (!seen.every(isEqual)) throw wrong(session.inbox.name, 'WRONG_PAYLOAD', 'another message than the one sent')
}

function isAt({ type, room, channel }: Envelope, place: Place): boolean {
  return type === 'message' && room === place.room && channel === place.channel
}

function nonceOf({ payload }: Envelope): unknown {
  return isJsonObject(payload) ? payload['nonce'] : undefined
}

/** Flat objects, keys in any order (protobuf's Struct keeps none). */
function sameObject(found: unknown, wanted: JsonObject | undefined): boolean {
  if (!isJsonObject(found) || wanted === undefined) return false
  const keys = Object.keys(wanted)
  return Object.keys(found).length === keys.length && keys.every((key) => found[key] === wanted[key])
}
