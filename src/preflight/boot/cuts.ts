// Does health turn red? Each service is cut off once, and given back: the program has to leave healthy, name the part
// that is away, and come back once all of them are there. A health endpoint that answers the same whatever happens is
// found here.
import { setTimeout as pause } from 'node:timers/promises'
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import { answerOf } from '../live/health.ts'
import { get } from '../live/http.ts'
import type { Relays } from './relay.ts'

type Program = 'bus' | 'shield'

export interface CutCase {
  readonly program: Program
  readonly service: 'valkey' | 'postgres' | 'nats'
  /** One of these components has to be named. */
  readonly components: readonly string[]
}

/** History and hot state may both be on Valkey; without history on it, Postgres keeps the audit log. */
export const cutCases: readonly CutCase[] = [
  { program: 'bus', service: 'valkey', components: ['store', 'hot state'] },
  { program: 'bus', service: 'postgres', components: ['store', 'audit'] },
  { program: 'bus', service: 'nats', components: ['link'] },
  { program: 'shield', service: 'nats', components: ['link', 'bus'] },
]

/** How long a program may take to see that a service is back. */
const backWithinMs = 20_000
const lookEveryMs = 100

type Addresses = Readonly<Record<Program, string>>

/** Valkey alone first, so that what is named is not everything; it comes back as the others go. */
const rounds = [['valkey'], ['postgres', 'nats']] as const

/**
 * Of each case the words of /ready: `before` anything is cut, `during`, and `after` everything is back; `named`: what was
 * up until this cut, and is not any more.
 */
export async function cutAll(
  addresses: Addresses,
  relays: Relays,
  { redMs: redWithinMs, signal }: { readonly redMs: number; readonly signal: AbortSignal },
): Promise<JsonObject[]> {
  const healthy = async (): Promise<Record<Program, Look>> => {
    const both = (['bus', 'shield'] as const).map((one) => until(addresses[one], isHealthy, backWithinMs, signal))
    const [bus, shield] = (await Promise.all(both)) as [Look, Look]
    return { bus, shield }
  }
  const before = await healthy()
  const seen: (CutCase & { readonly look: Look; readonly cutMs: number; readonly known: readonly string[] })[] = []
  for (const [index, services] of rounds.entries()) {
    const watched = cutCases.filter(({ service }) => services.some((name) => name === service))
    const known = await Promise.all(watched.map(async ({ program }) => (await look(addresses[program], signal)).notUp))
    for (const name of rounds[index - 1] ?? []) relays[name].mend()
    const cutMs = performance.now()
    for (const name of services) relays[name].cut()
    const looks = await Promise.all(
      watched.map(({ program, service, components }, at) => {
        const fresh = components.filter((name) => !known[at]!.includes(name))
        return until(addresses[program], names(fresh), redWithinMs, signal, service === 'postgres')
      }),
    )
    seen.push(...watched.map((one, at) => ({ ...one, look: looks[at]!, cutMs, known: known[at]! })))
  }
  for (const name of rounds.at(-1)!) relays[name].mend()
  const after = await healthy()
  return seen.map(({ program, service, look: { status, notUp, atMs }, cutMs, known }) => ({
    program,
    service,
    before: before[program].status,
    during: status,
    after: after[program].status,
    named: notUp.filter((name) => !known.includes(name)),
    redMs: Math.round(atMs - cutMs),
  }))
}

/** Refused, and an entry of the audit log. */
async function askAsNobody(base: string, signal: AbortSignal): Promise<void> {
  const soon = AbortSignal.any([signal, AbortSignal.timeout(1_000)])
  await get(new URL('/preflight/stream', base), soon).catch(() => undefined)
}

interface Look {
  readonly status: string
  readonly notUp: readonly string[]
  readonly atMs: number
}

const isHealthy = ({ status }: Look): boolean => status === 'healthy'

const names =
  (components: readonly string[]) =>
  ({ status, notUp }: Look): boolean =>
    status !== 'healthy' && notUp.some((name) => components.includes(name))

/** The first look that is as wanted, or the last one within that time. */
async function until(
  base: string,
  isWanted: (look: Look) => boolean,
  ms: number,
  signal: AbortSignal,
  isRecorded = false,
): Promise<Look> {
  const untilMs = performance.now() + ms
  for (;;) {
    // Nothing asks Postgres for anything in idle times: what an administrator tries is written down there.
    if (isRecorded) await askAsNobody(base, signal)
    const seen = await look(base, signal)
    if (isWanted(seen) || performance.now() > untilMs) return seen
    await pause(lookEveryMs, undefined, { signal })
  }
}

async function look(base: string, signal: AbortSignal): Promise<Look> {
  const { body } = await answerOf(new URL(base), '/ready', signal).catch((): JsonObject => ({}))
  const { status, components } = isJsonObject(body) ? body : {}
  const parts = Array.isArray(components) ? components.filter(isJsonObject) : []
  const notUp = parts.filter(({ state }) => state !== 'up').map(({ name }) => (typeof name === 'string' ? name : '?'))
  return { status: typeof status === 'string' ? status : 'no answer', notUp, atMs: performance.now() }
}
