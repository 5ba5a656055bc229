// The candidate without a fault: bus and Shield on stand-ins, each behind a relay that can be cut. It is started twice: as
// it would be by hand, for what the programs say of themselves and how they end; then once more, for what becomes of a
// payload and what health says of a cut.
import type { JsonObject } from '../../base/json.ts'
import { createRuleContext } from '../../rules/context.ts'
import type { CheckPorts } from '../check.ts'
import { followPayload } from '../live/routing.ts'
import type { Host } from '../runtime/host.ts'
import { ProbeStop } from '../stops.ts'
import {
  busyLane,
  type Candidate,
  candidateEnvironment,
  type CandidateProgram,
  type Changes,
  compileCacheOf,
  inFolder,
  startCandidate,
} from './candidate.ts'
import { cutAll } from './cuts.ts'
import { reasonsIn } from './refusal.ts'
import type { Relays } from './relay.ts'
import { servicesOf } from './services.ts'

export const servers = ['bus', 'shield'] as const
export type Server = (typeof servers)[number]

/** Until a server listens, and until a migration has ended. */
const startMs = 30_000
/** As long as the proofs take that need it. */
const serveMs = 90_000
const upEveryMs = 50

/** Of the check that asks. */
export type Place = Omit<At, 'folder'>

interface At {
  readonly ports: CheckPorts
  readonly signal: AbortSignal
  readonly host: Host
  readonly folder: string
}

/**
 * Started with nothing but what is declared, asked, and ended: what each server said, or the one program that did not
 * start. Leaves migrated services behind.
 */
export async function proveCleanStart(place: Place): Promise<JsonObject[]> {
  const { relays } = await servicesOf(place.ports)
  return await inFolder(async (folder) => {
    const at = { ...place, folder }
    const changes = urlsOf(relays)
    const refused = await migrate(changes, at)
    if (refused !== undefined) return [refused]
    const started = await startServers(changes, at)
    return await Promise.all(started.map((server) => endOf(server)))
  })
}

/** The candidate of the other proofs: it goes on between them. */
const ofRun = new WeakMap<CheckPorts, ReturnType<typeof serve>>()

function systemOf(ports: CheckPorts, host: Host): ReturnType<typeof serve> {
  let system = ofRun.get(ports)
  if (system === undefined) {
    system = serve(ports, host)
    ofRun.set(ports, system)
  }
  return system
}

/** Once both servers are up. Rejects with ProbeStop where one is not. */
async function serve(ports: CheckPorts, host: Host) {
  const services = await servicesOf(ports)
  // A proof ends with its check; the system does not.
  const at: At = { ports, host, signal: services.signal, folder: services.folder }
  const changes = { ...urlsOf(services.relays), NODE_COMPILE_CACHE: compileCacheOf(ports) }
  const started = await startServers(changes, at)
  services.push('candidate', async () => void (await Promise.all(started.map(({ candidate }) => candidate.ended))))
  if (started.every(({ facts }) => facts['isUp'] === true)) return { services, changes, started }
  await Promise.all(started.map((server) => endOf(server)))
  throw new ProbeStop('NO_CANDIDATE', 'bus and Shield did not both start', 'start')
}

/** The last proof: ends the system. Throws ProbeStop where there was none to cut off. */
export async function cutSystem(
  { ports, signal, host }: Place,
  { redMs }: { readonly redMs: number },
): Promise<JsonObject[]> {
  const { started, services } = await systemOf(ports, host)
  const [bus, shield] = started
  try {
    return await cutAll({ bus: bus.httpUrl, shield: shield.httpUrl }, services.relays, { redMs, signal })
  } finally {
    await Promise.all(started.map((server) => endOf(server)))
    await services.close()
  }
}

/**
 * What became of a payload. Throws ProbeStop where nothing was carried. Everything on this NATS may be heard: what is not
 * was not there.
 */
export async function routeThrough({ ports, signal, host }: Place) {
  const { changes, started } = await systemOf(ports, host)
  const [{ ports: at }, { ports: shieldAt }] = started.map(({ candidate }) => candidate) as [Candidate, Candidate]
  const env = candidateEnvironment(ports.ctx, { ports: at, dataDir: '' }, { changes, isStaging: true })
  const targets = {
    bus: new URL(`ws://127.0.0.1:${at.bus}`),
    shield: new URL(`ws://127.0.0.1:${shieldAt.shield}/ws`),
  }
  const routed = await followPayload({ ...ports, ctx: createRuleContext(env), targets }, signal)
  return { linkIn: [], ...routed }
}

const urlsOf = ({ valkey, postgres, nats }: Relays): Changes => ({
  ARQONBUS_VALKEY_URL: valkey.url,
  ARQONBUS_POSTGRES_URL: postgres.url,
  NATS_URL: nats.url,
})

interface StartedServer {
  readonly candidate: Candidate
  readonly httpUrl: string
  readonly facts: JsonObject
}

const begin = (program: CandidateProgram, changes: Changes, deadlineMs: number, at: At): Promise<Candidate> =>
  startCandidate({ name: `${program} in good order`, program, changes, isStaging: true, deadlineMs }, at)

/** Its tables are the first thing a bus asks for, those of the projector among them: without, there is nothing to start. */
async function migrate(changes: Changes, at: At): Promise<JsonObject | undefined> {
  const { exit, stderr } = await busyLane(async () => (await begin('migrate up', changes, startMs, at)).ended)
  return exit === 0 ? undefined : { ...unborn, program: 'bus', exit, reasons: reasonsIn(stderr) }
}

/** Side by side: starting takes a processor each. */
async function startServers(changes: Changes, at: At): Promise<[StartedServer, StartedServer]> {
  const startOne = (program: Server): Promise<StartedServer> =>
    busyLane(async () => await watchServer(program, await begin(program, changes, serveMs, at), at.signal))
  return await Promise.all([startOne('bus'), startOne('shield')])
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
