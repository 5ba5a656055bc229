// What Shield and the bus must not take: JSON where only protobuf is spoken, and frames that break the schema. Observers
// on the bus and on NATS see a fence sent afterwards, and nothing before it.
import { Buffer } from 'node:buffer'
import { defaultTenant } from '../../auth/tenants.ts'
import type { JsonObject } from '../../base/json.ts'
import { encodeJson } from '../../wire/json-codec.ts'
import { encodeProtobuf } from '../../wire/protobuf-codec.ts'
import type { CheckPorts } from '../check.ts'
import { ProbeStop } from '../stops.ts'
import { type MalformedName, malformedNames } from './case-names.ts'
import { probeTenant } from './probe-tokens.ts'
import type { LinkObserver } from './link-observer.ts'
import { newPlace, type Opener, type Place, publishMarked, seenUntil, settle, withSessions } from './sessions.ts'
import type { WireSession } from './wire-session.ts'

const tenantOf = ({ ctx }: CheckPorts): string => (ctx.resolution.values.enableAuth ? probeTenant : defaultTenant)

export function tryJson(ports: CheckPorts, signal: AbortSignal) {
  return withSessions(ports, signal, async (open) => {
    const watched = await watch(ports, open)
    const { place, link } = watched
    const sender = await open.shield(tenantOf(ports))
    const probe = link.payload('probe')
    const first = await publishMarked(sender, tenantOf(ports), place, probe)
    const twin = (): string => encodeJson(sender.message(place.room, place.channel, probe))
    const atShield = await answerTo(sender, twin())
    const atBus = await answerTo(await open.bus(tenantOf(ports)), twin())
    const { fence, passing, ...seen } = await fenceOff(ports, open, watched)
    return { atShield, atBus, sent: [probe, fence], linkSent: [first, passing], ...seen }
  })
}

export function tryMalformed(ports: CheckPorts, signal: AbortSignal) {
  return withSessions(ports, signal, async (open) => {
    const watched = await watch(ports, open)
    const { place, link } = watched
    const cases: JsonObject[] = []
    for (const name of malformedNames) {
      // Each on a connection of its own: a gateway may close one over it.
      const sender = await open.shield(tenantOf(ports))
      const good = encodeProtobuf(sender.message(place.room, place.channel, link.payload('probe')))
      cases.push({ name, answer: await answerTo(sender, malform(name, Buffer.from(good))) })
    }
    const { fence, passing, ...seen } = await fenceOff(ports, open, watched)
    return { cases, sent: [fence], linkSent: [passing], ...seen }
  })
}

/** Field 15000 as a varint 1: no descriptor of ours names it, and a reader that is not strict skips it. */
const unknownField = Buffer.from([0xc0, 0xa9, 0x07, 0x01])

function malform(name: MalformedName, good: Buffer): Buffer {
  switch (name) {
    case 'unknown-field':
      return Buffer.concat([good, unknownField])
    case 'duplicate-field':
      return Buffer.concat([good, good])
    case 'truncated':
      return good.subarray(0, -1)
  }
}

interface Watched {
  readonly place: Place
  readonly link: LinkObserver
  readonly observer: WireSession
}

async function watch(ports: CheckPorts, open: Opener): Promise<Watched> {
  const place = newPlace(ports)
  const link = await open.link(place)
  if (link.isListening) {
    // The bus tells gateways with a member there, and no others.
    const member = await open.shield(tenantOf(ports))
    await member.join(place.room, place.channel)
    await settle(link, member, place)
  }
  const observer = await open.bus(tenantOf(ports))
  await observer.join(place.room, place.channel)
  return { place, link, observer }
}

async function fenceOff(ports: CheckPorts, open: Opener, { place, link, observer }: Watched) {
  const fence = link.payload('fence')
  const sender = await open.shield(tenantOf(ports))
  const passing = await publishMarked(sender, tenantOf(ports), place, fence)
  const [passed, seen] = await Promise.all([link.passedUntil(fence), seenUntil(observer, place, fence)])
  return { fence, passing, seen, ...passed }
}

/** The code of the refusal, `CLOSED`, or `TAKEN` when it was acknowledged. */
async function answerTo(session: WireSession, frame: string | Uint8Array): Promise<string> {
  const before = session.inbox.all.length
  session.send(frame)
  try {
    const { type, error_code: code } = await session.inbox.next(
      (candidate) =>
        session.inbox.all.indexOf(candidate) >= before &&
        (candidate.type === 'error' || candidate.type === 'message_response'),
    )
    return type === 'error' ? (code ?? 'ERROR') : 'TAKEN'
  } catch (error) {
    if (error instanceof ProbeStop && error.stopped.code === 'CLOSED') return 'CLOSED'
    throw error
  }
}
