// The other side of the refusals: without a fault the same candidate starts, with what the environment declares and
// nothing else. A program that never starts would refuse everything.
import type { JsonObject } from '../../base/json.ts'
import { version } from '../../base/version.ts'
import { type Check, type CheckPorts, defineCheck, type World } from '../check.ts'
import type { Host } from '../runtime/host.ts'
import { busyLane, type Candidate, type CandidateProgram, type Changes, inFolder, startCandidate } from './candidate.ts'
import { reasonsIn } from './refusal.ts'
import { judgeStarts } from './start-judges.ts'
import { startNats, startPostgres, startValkey } from './stand-ins.ts'

const servers = ['bus', 'shield'] as const
const startMs = 30_000
const upEveryMs = 50

/** Once it says that it listens: what its HTTP listener answers. Then it is asked to end. */
async function watchServer(
  program: (typeof servers)[number],
  candidate: Candidate,
  signal: AbortSignal,
): Promise<() => Promise<JsonObject>> {
  const says = program === 'bus' ? /bus at ws:/ : /Shield at wss?:/
  while (!says.test(candidate.stdout()) && !candidate.hasEnded()) {
    await new Promise((resolve) => setTimeout(resolve, upEveryMs))
  }
  const isUp = !candidate.hasEnded()
  const port = program === 'bus' ? candidate.ports.http : candidate.ports.metrics
  const health = isUp ? await ask(port, '/health', signal) : { status: 0, version: '' }
  const own = isUp ? await ask(port, '/version', signal) : { status: 0, version: '' }
  return async () => {
    candidate.end()
    const { exit, signal: died, isLate, stderr } = await candidate.ended
    const reasons = isUp ? [] : reasonsIn(stderr)
    return { program, isUp, health: health.status, version: own.version, exit, signal: died, isLate, reasons }
  }
}

async function ask(port: number, path: string, signal: AbortSignal): Promise<{ status: number; version: string }> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(5_000)]),
    })
    const body: unknown = await answer.json()
    const found = typeof body === 'object' && body !== null && 'version' in body ? body.version : ''
    return { status: answer.status, version: typeof found === 'string' ? found : '' }
  } catch {
    return { status: 0, version: '' }
  }
}

async function startAll(ports: CheckPorts, signal: AbortSignal, host: Host): Promise<{ programs: JsonObject[] }> {
  return await inFolder(async (folder) => {
    const place = { ports, signal, folder }
    const started = await Promise.allSettled([startValkey(place), startPostgres(place), startNats(place)])
    try {
      const [valkey, postgres, nats] = started.map((one) => {
        if (one.status === 'rejected') throw one.reason
        return one.value.url
      }) as [string, string, string]
      const changes = { ARQONBUS_VALKEY_URL: valkey, ARQONBUS_POSTGRES_URL: postgres, NATS_URL: nats }
      return { programs: await busyLane(() => startServers(changes, { ports, signal, host, folder })) }
    } finally {
      await Promise.all(started.flatMap((one) => (one.status === 'fulfilled' ? [one.value.close()] : [])))
    }
  })
}

async function startServers(
  changes: Changes,
  at: { ports: CheckPorts; signal: AbortSignal; host: Host; folder: string },
): Promise<JsonObject[]> {
  const start = (program: CandidateProgram): Promise<Candidate> =>
    startCandidate({ name: `${program} in good order`, program, changes, isStaging: true, deadlineMs: startMs }, at)
  const { projectorEnabled } = at.ports.ctx.resolution.values
  const migrations = ['migrate up', ...(projectorEnabled ? (['projector migrate'] as const) : [])] as const
  for (const program of migrations) {
    const { exit, stderr } = await (await start(program as CandidateProgram)).ended
    // Its tables are the first thing a bus asks for: there is nothing to start without them.
    if (exit !== 0) return [{ ...unborn, program: 'bus', exit, reasons: reasonsIn(stderr) }]
  }
  const ends: (() => Promise<JsonObject>)[] = []
  for (const program of servers) ends.push(await watchServer(program, await start(program), at.signal))
  return await Promise.all(ends.map((end) => end()))
}

const unborn = { isUp: false, health: 0, version: '', signal: '', isLate: false } as const

const good = (program: string): JsonObject => ({
  program,
  isUp: true,
  health: 200,
  version,
  exit: 0,
  signal: '',
  isLate: false,
  reasons: [],
})
const [bus, shield] = [good('bus'), good('shield')]
interface Facts {
  readonly programs: readonly JsonObject[]
}
const world = (name: string, ...programs: JsonObject[]): World<Facts> & { facts: Facts } => ({
  name,
  facts: { programs },
})
const fails = (name: string, code: string, program: 'bus' | 'shield', ...programs: JsonObject[]) => ({
  ...world(name, ...programs),
  expect: { code, findings: [`${program} ${code}`] },
})

type Given = Pick<Check, 'appliesWhen' | 'deadlineMs' | 'effects'> & { readonly host: Host }

export function cleanStartCheck({ host, ...given }: Given): Check {
  return defineCheck({
    ...given,
    id: 'boot.starts-from-clean-tree',
    title: 'The candidate starts with what is declared, and nothing else',
    proves:
      'With the declared variables and PATH only, an empty data folder and stand-ins for Valkey, Postgres and NATS on loopback, bus and Shield of this package start, are healthy, are of this version and end when asked. As staging: production refuses addresses of its own machine. It says nothing of the services of production, which the phase deps asks.',
    evidence: 'What each said when it listened, /health, /version, and how it ended.',
    fix: 'The finding names the program; its whole output is in the incident bundle.',
    runbook: ['L65'],
    phase: 'boot',
    severity: 'blocker',
    class: 'regression',
    requires: ['meta.config-valid', 'runtime.tree-matches-lock'],
    shape: { programs: 'objects' },
    probe: (ports, signal) => startAll(ports, signal, host),
    judge: judgeStarts,
    worlds: {
      passes: [world('both start', bus, shield)],
      fails: [
        fails('the bus is missing', 'DID_NOT_START', 'bus', shield),
        fails('Shield is missing', 'DID_NOT_START', 'shield', bus),
        fails('the bus refuses', 'DID_NOT_START', 'bus', { ...bus, ...unborn, exit: 78, reasons: ['A B'] }, shield),
        fails('Shield is sick', 'NOT_HEALTHY', 'shield', bus, { ...shield, health: 503 }),
        fails('the bus is of another package', 'OTHER_VERSION', 'bus', { ...bus, version: '0.0.9' }, shield),
        fails('Shield does not end', 'BAD_END', 'shield', bus, { ...shield, isLate: true }),
        fails('Shield dies', 'BAD_END', 'shield', bus, { ...shield, signal: 'SIGSEGV' }),
        fails('Shield ends badly', 'BAD_END', 'shield', bus, { ...shield, exit: 1 }),
        {
          name: 'no program that could stand in',
          stopped: { code: 'NO_STAND_IN', observed: 'no nats-server was found' },
          expect: { status: 'error', code: 'NO_STAND_IN', class: 'dependency' },
        },
      ],
      ignores: [world('in another order, with warnings', { ...shield, reasons: ['A B'] }, bus)],
      skips: [{ name: 'development', env: { ARQONBUS_ENVIRONMENT: 'development' } }],
    },
  })
}
