// What passes on NATS itself while a probe talks to Shield: heard over a connection of the probe's own, so that neither
// Shield nor the bus has a say in it. It hears what its user may hear: the messages of the probe's channel on their way
// out for every tenant, and, where the rights of NATS_URL allow it (a gateway's own need not: docs/link.md), every
// frame on its way in. Of what others send there nothing is kept.
import type { JsonObject } from '../../base/json.ts'
import { escapeToken } from '../../envelope/names.ts'
import { busSubjects } from '../../envelope/edge-protocol.ts'
import type { NatsProbe, ProbeSubscription } from '../../link/nats-probe.ts'
import type { CheckPorts } from '../check.ts'
import { natsInUse, serversOf } from '../nats/nats-facts.ts'
import { toStop } from '../nats/nats-probes.ts'
import { sha256 } from '../runtime/host.ts'
import { ProbeStop } from '../stops.ts'
import { createInbox, within } from './inbox.ts'

const stepMs = 1_400
/** How long what was acknowledged may take to pass here: NATS has carried it before, so a moment. */
const passMs = 3_000
/** Of a nonce: a frame that was cut short at its end still holds as much. */
const tellingChars = 24

/** A frame that passed. `in`: with the digest of its bytes. */
interface Row {
  readonly way: 'in' | 'out'
  readonly kind: string
  readonly tenant: string
  readonly nonce: string
  readonly frame?: string
}

export interface Marked extends JsonObject {
  readonly kind: string
  readonly nonce: string
}

/** Says that the listener is heard of everywhere; no part of what is judged. */
export const greeting = 'hello'

/** What of the frames that were sent passed here, by the way they went; absent where it could not be heard. */
export interface Passed {
  /** In words, for whoever reads the evidence. */
  readonly heard: string
  readonly linkIn?: readonly JsonObject[]
  readonly linkOut?: readonly JsonObject[]
}

export interface LinkObserver {
  /** Is there a NATS to listen to? */
  readonly isListening: boolean
  /** A payload to look out for, made before it is sent. */
  payload(kind: string): Marked
  /** Did it pass, every way that can be heard? */
  hears(payload: Marked, withinMs: number): Promise<boolean>
  /** Everything that passed until that payload did; without waiting for ever where it never does. */
  passedUntil(last: Marked): Promise<Passed>
  close(): void
}

/** Listens as soon as this resolves, at the server it is connected to. Rejects with ProbeStop. */
export async function openLinkObserver(
  ports: CheckPorts,
  place: { readonly room: string; readonly channel: string },
  signal: AbortSignal,
): Promise<LinkObserver> {
  const marked: Marked[] = []
  const payload = (kind: string): Marked => {
    const made = { kind, nonce: ports.nonce() }
    marked.push(made)
    return made
  }
  if (!natsInUse.test(ports).holds) return deaf(payload)
  const probe = await dialFirst(ports)
  try {
    const inbox = createInbox<Row>('nats', signal)
    const follow = (way: Row['way'], subscription: ProbeSubscription): void =>
      void follower(way, subscription, marked, inbox)
    const ways: Row['way'][] = ['out']
    follow('out', probe.subscribe(`out.t.*.r.${escapeToken(place.room)}.${escapeToken(place.channel)}`))
    const [denied] = await probe.flush()
    if (denied !== undefined) throw new ProbeStop('NO_PERMISSION', denied, 'nats')
    if (await probe.maySubscribe(busSubjects.frames)) {
      ways.push('in')
      follow('in', probe.subscribe(busSubjects.frames))
      await probe.flush()
    }
    const rows = (wanted: Row['way']): JsonObject[] =>
      inbox.all
        .filter(({ way, kind }) => way === wanted && kind !== greeting)
        .map(({ tenant, nonce, frame }) => ({ tenant, nonce, ...(frame !== undefined && { frame }) }))
    const hears = async ({ nonce }: Marked, withinMs: number): Promise<boolean> => {
      const passes = ways.map((way) => inbox.next((row) => row.way === way && row.nonce === nonce))
      return await within(withinMs, Promise.all(passes))
    }
    return {
      isListening: true,
      payload,
      hears,
      async passedUntil(last) {
        await hears(last, passMs)
        const linkOut = rows('out')
        if (!ways.includes('in')) return { heard: 'on NATS on the way out, the way in may not be heard', linkOut }
        return { heard: 'on NATS both ways', linkIn: rows('in'), linkOut }
      },
      close: () => probe.close(),
    }
  } catch (error) {
    probe.close()
    throw toStop(error)
  }
}

async function dialFirst(ports: CheckPorts): Promise<NatsProbe> {
  const { probeNats } = await import('../../link/nats-probe.ts')
  let failure: unknown
  for (const server of serversOf(ports.ctx)) {
    try {
      return await probeNats(server, { name: `arqon-preflight-${ports.runId}`, timeoutMs: stepMs })
    } catch (error) {
      failure = error
    }
  }
  throw toStop(failure)
}

/** Until the connection is closed. */
async function follower(
  way: Row['way'],
  subscription: ProbeSubscription,
  marked: readonly Marked[],
  inbox: { put(row: Row): void; end(error: Error): void },
): Promise<void> {
  for (;;) {
    try {
      const { subject, data } = await subscription.next(60_000)
      const tenant = subject.split('.')[2]!
      for (const { kind, nonce } of marked) {
        for (let copies = countOf(nonce.slice(0, tellingChars), data); copies > 0; copies--) {
          inbox.put({ way, kind, tenant, nonce, ...(way === 'in' && { frame: sha256(data) }) })
        }
      }
    } catch (error) {
      const stop = toStop(error)
      if (stop.stopped.code === 'NO_ANSWER') continue
      inbox.end(stop)
      return
    }
  }
}

/** One message on its way out may hold several frames, laid end to end. */
function countOf(text: string, data: Buffer): number {
  let copies = 0
  for (let at = data.indexOf(text); at !== -1; at = data.indexOf(text, at + text.length)) copies++
  return copies
}

const deaf = (payload: LinkObserver['payload']): LinkObserver => ({
  isListening: false,
  payload,
  hears: () => Promise.resolve(false),
  passedUntil: () => Promise.resolve({ heard: 'NATS is not in use' }),
  close: () => undefined,
})
