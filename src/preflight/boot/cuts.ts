// Does health turn red? Each service is cut off once, and given back: the program has to leave healthy, name the part
// that is away, and come back. A health endpoint that answers the same whatever happens is found here.
import { setTimeout as pause } from 'node:timers/promises'
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import { answerOf } from '../live/health.ts'
import { get } from '../live/http.ts'
import type { Relays } from './relay.ts'

export interface CutCase {
  readonly program: 'bus' | 'shield'
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

type Addresses = Readonly<Record<'bus' | 'shield', string>>

/** Valkey alone, so that what is named is not everything; then the others. */
const rounds = [['valkey'], ['postgres', 'nats']] as const

/** Of each case the words of /ready: `before`, `during`, `after`; `named`: what was not up meanwhile. */
export async function cutAll(
  addresses: Addresses,
  relays: Relays,
  { redMs: redWithinMs, signal }: { readonly redMs: number; readonly signal: AbortSignal },
): Promise<JsonObject[]> {
  const facts: JsonObject[] = []
  for (const services of rounds) {
    const watched = cutCases.filter(({ service }) => services.some((name) => name === service))
    const healthy = (): Promise<Look[]> =>
      Promise.all(watched.map(({ program }) => until(addresses[program], isHealthy, backWithinMs, signal)))
    const before = await healthy()
    const cutMs = performance.now()
    for (const name of services) relays[name].cut()
    const during = await Promise.all(
      watched.map(({ program, service, components }) =>
        until(addresses[program], names(components), redWithinMs, signal, service === 'postgres'),
      ),
    )
    for (const name of services) relays[name].mend()
    const after = await healthy()
    for (const [index, { program, service }] of watched.entries()) {
      const { status, notUp, atMs } = during[index]!
      const redMs = Math.round(atMs - cutMs)
      const words = { before: before[index]!.status, during: status, after: after[index]!.status }
      facts.push({ program, service, ...words, named: [...notUp], redMs })
    }
  }
  return facts
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
