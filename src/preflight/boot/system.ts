// The candidate without a fault: bus and Shield on stand-ins, each behind a relay that can be cut. One start serves every
// proof of a run: what the programs say of themselves, what becomes of a payload, what their health says of a cut.
import type { JsonObject } from '../../base/json.ts'
import { createRuleContext } from '../../rules/context.ts'
import { sharedSecret } from '../../rules/predicates.ts'
import type { CheckPorts } from '../check.ts'
import { followPayload } from '../live/routing.ts'
import { toStop } from '../nats/nats-probes.ts'
import type { Host } from '../runtime/host.ts'
import { ProbeStop } from '../stops.ts'
import {
  busyLane,
  type Candidate,
  candidateEnvironment,
  type CandidateProgram,
  type Changes,
  inFolder,
  startCandidate,
} from './candidate.ts'
import { cutAll } from './cuts.ts'
import { reasonsIn } from './refusal.ts'
import { type Relay, type Relays, startRelay } from './relay.ts'
import { startNats, startPostgres, startValkey } from './stand-ins.ts'

export const servers = ['bus', 'shield'] as const
export type Server = (typeof servers)[number]

/** Until a server listens, and until a migration has ended. */
const startMs = 30_000
/** As long as the proofs take that need it. */
const serveMs = 90_000
const upEveryMs = 50

export type Routed = Awaited<ReturnType<typeof followPayload>>

export interface SystemFacts {
  /** Of each server that was started. */
  readonly programs: JsonObject[]
  /** What became of a payload, or why nobody can tell; absent where a server did not start. */
  readonly routed?: Routed | ProbeStop
  readonly cuts?: JsonObject[]
}

const down = (): ProbeStop => new ProbeStop('NO_CANDIDATE', 'bus and Shield did not both start', 'start')

/** Throws ProbeStop where there was no system to cut off. */
export function cutsOf({ cuts }: SystemFacts): JsonObject[] {
  if (cuts === undefined) throw down()
  return cuts
}

/** Throws ProbeStop where nothing was carried. Everything on this NATS may be heard: what is not was not there. */
export function routedOf({ routed = down() }: SystemFacts): Routed & { linkIn: readonly JsonObject[] } {
  if (routed instanceof ProbeStop) throw routed
  return { linkIn: [], ...routed }
}

interface At {
  readonly ports: CheckPorts
  readonly signal: AbortSignal
  readonly host: Host
  /** How long a program may take to see that a service is gone. */
  readonly redMs: number
  readonly folder: string
}

const begun = new WeakMap<CheckPorts, Promise<SystemFacts>>()

/** The same of each call of a run. */
export function proveSystem(
  ports: CheckPorts,
  signal: AbortSignal,
  { host, redMs }: { readonly host: Host; readonly redMs: number },
): Promise<SystemFacts> {
  const known = begun.get(ports)
  if (known !== undefined) return known
  const proof = inFolder((folder) => withRelays({ ports, signal, host, redMs, folder }))
  begun.set(ports, proof)
  return proof
}

async function withRelays(at: At): Promise<SystemFacts> {
  const opened: { close(): Promise<void> }[] = []
  const keep = async <T extends { close(): Promise<void> }>(opening: Promise<T>): Promise<T> => {
    const one = await opening
    opened.push(one)
    return one
  }
  const relayed = async (opening: ReturnType<typeof startValkey>): Promise<Relay> =>
    await keep(startRelay((await keep(opening)).url))
  try {
    const started = await Promise.allSettled([
      relayed(startValkey(at)),
      relayed(startPostgres(at)),
      relayed(startNats(at)),
    ])
    const [valkey, postgres, nats] = started.map((one) => {
      if (one.status === 'rejected') throw one.reason
      return one.value
    }) as [Relay, Relay, Relay]
    return await proveServers({ valkey, postgres, nats }, at)
  } finally {
    await Promise.all(opened.map((one) => one.close()))
  }
}

async function proveServers(relays: Relays, at: At): Promise<SystemFacts> {
  const { valkey, postgres, nats } = relays
  const changes = { ARQONBUS_VALKEY_URL: valkey.url, ARQONBUS_POSTGRES_URL: postgres.url, NATS_URL: nats.url }
  // Starting takes a processor; the proofs mostly wait.
  const started = await busyLane(() => startServers(changes, at))
  if ('refused' in started) return { programs: [started.refused] }
  const [bus, shield] = started.servers
  const isUp = started.servers.every((server) => server.facts['isUp'] === true)
  const routed = isUp ? await route(changes, bus.candidate, shield.candidate, at) : undefined
  const addresses = { bus: bus.httpUrl, shield: shield.httpUrl }
  const cuts = isUp ? await cutAll(addresses, relays, at) : undefined
  const programs = await Promise.all(started.servers.map((server) => endOf(server)))
  return { programs, ...(routed !== undefined && { routed }), ...(cuts !== undefined && { cuts }) }
}

interface StartedServer {
  readonly candidate: Candidate
  readonly httpUrl: string
  readonly facts: JsonObject
}

async function startServers(
  changes: Changes,
  at: At,
): Promise<{ servers: [StartedServer, StartedServer] } | { refused: JsonObject }> {
  const start = (program: CandidateProgram, deadlineMs: number): Promise<Candidate> =>
    startCandidate({ name: `${program} in good order`, program, changes, isStaging: true, deadlineMs }, at)
  const { projectorEnabled } = at.ports.ctx.resolution.values
  const migrations = ['migrate up', ...(projectorEnabled ? (['projector migrate'] as const) : [])] as const
  for (const program of migrations) {
    const { exit, stderr } = await (await start(program, startMs)).ended
    // Its tables are the first thing a bus asks for: there is nothing to start without them.
    if (exit !== 0) return { refused: { ...unborn, program: 'bus', exit, reasons: reasonsIn(stderr) } }
  }
  const bus = await watchServer('bus', await start('bus', serveMs), at.signal)
  return { servers: [bus, await watchServer('shield', await start('shield', serveMs), at.signal)] }
}

export const unborn = { isUp: false, health: 0, version: '', signal: '', isLate: false } as const

/** Once it says that it listens: what its HTTP listener answers. */
async function watchServer(program: Server, candidate: Candidate, signal: AbortSignal): Promise<StartedServer> {
  const says = program === 'bus' ? /bus at ws:/ : /Shield at wss?:/
  const listens = (): boolean => says.test(candidate.stdout())
  const untilMs = performance.now() + startMs
  while (!listens() && !candidate.hasEnded() && performance.now() < untilMs) {
    await new Promise((resolve) => setTimeout(resolve, upEveryMs))
  }
  const isUp = listens() && !candidate.hasEnded()
  const httpUrl = `http://127.0.0.1:${program === 'bus' ? candidate.ports.http : candidate.ports.metrics}`
  const health = isUp ? await ask(`${httpUrl}/health`, signal) : { status: 0, version: '' }
  const own = isUp ? await ask(`${httpUrl}/version`, signal) : { status: 0, version: '' }
  return { candidate, httpUrl, facts: { program, isUp, health: health.status, version: own.version } }
}

/** Asks it to end. */
async function endOf({ candidate, facts }: StartedServer): Promise<JsonObject> {
  candidate.end()
  const { exit, signal, isLate, stderr } = await candidate.ended
  return { ...facts, exit, signal, isLate, reasons: facts['isUp'] === true ? [] : reasonsIn(stderr) }
}

async function ask(url: string, signal: AbortSignal): Promise<{ status: number; version: string }> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(5_000)]) })
    const body: unknown = await answer.json()
    const found = typeof body === 'object' && body !== null && 'version' in body ? body.version : ''
    return { status: answer.status, version: typeof found === 'string' ? found : '' }
  } catch {
    return { status: 0, version: '' }
  }
}

/** The proof of the live phase, on the candidate and on a NATS where everything may be heard. */
async function route(
  changes: Changes,
  { ports: busPorts }: Candidate,
  { ports: shieldPorts }: Candidate,
  { ports, signal, folder }: At,
): Promise<Routed | ProbeStop | undefined> {
  const env = candidateEnvironment(ports.ctx, { ports: busPorts, dataDir: folder }, { changes, isStaging: true })
  const ctx = createRuleContext(env)
  if (!sharedSecret.test(ctx).holds || ctx.resolution.values.shieldTlsCertFile !== undefined) return undefined
  const targets = {
    bus: new URL(`ws://127.0.0.1:${busPorts.bus}`),
    shield: new URL(`ws://127.0.0.1:${shieldPorts.shield}/ws`),
  }
  try {
    return await followPayload({ ...ports, ctx, targets }, signal)
  } catch (error) {
    return toStop(error)
  }
}
