// `preflight run --candidate` as a command, with a real NATS: the live checks speak to the candidate, which is gone
// afterwards, however the run ends.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { createCandidateSystem } from '../../../src/preflight/candidate/candidate-system.ts'
import type { Report } from '../../../src/preflight/report.ts'
import { compiled } from '../../support/compiled.ts'
import { strongSecret } from '../../support/environments.ts'
import { wordOf } from '../../support/preflight-run.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const launcher = fileURLToPath(new URL('../../../bin/arqonbus.mjs', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'arqonbus-run-'))
/** Of the command and of what it starts: what is left behind stands there. */
const temporary = join(folder, 'temporary')
let nats: NatsServerProcess
let env: Record<string, string | undefined> = {}

beforeAll(async () => {
  if (skipWithout('nats')) return
  mkdirSync(temporary)
  nats = await startNatsServer({ config: 'max_payload: 8MB' })
  const { PATH } = process.env
  env = {
    PATH,
    NODE_COMPILE_CACHE: compiled,
    TMPDIR: temporary,
    JWT_SECRET: strongSecret,
    NATS_URL: nats.url,
    ARQONBUS_DATA_DIR: join(folder, 'data'),
  }
})
afterAll(async () => {
  await nats?.close()
  rmSync(folder, { recursive: true, force: true })
})

interface Family {
  readonly pids: readonly number[]
  readonly ports: readonly number[]
}

interface Run {
  readonly child: ChildProcess
  /** What it started so far, and where that listens. */
  readonly family: () => Family
  readonly ended: Promise<{ exit: number | null; errors: string; report: Report }>
}

function run(options: readonly string[] = [], changes: Record<string, string> = {}): Run {
  const args = [launcher, 'preflight', 'run', '--candidate', '--bundle', 'never', '--json', ...options]
  const child = spawn(process.execPath, args, {
    cwd: folder,
    env: { ...env, ...changes },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  let [out, errors] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const ended = new Promise<Awaited<Run['ended']>>((resolve) => {
    child.on('close', (exit) => resolve({ exit, errors, report: JSON.parse(out || '{}') as Report }))
  })
  return { child, ended, family: () => familyOf(child.pid!) }
}

/** Processes of the candidate below this one, and the ports that they were given. */
function familyOf(pid: number): Family {
  const below = read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number)
  const own = below.filter((one) => /\0(?:bus|shield)\0$/.test(read(`/proc/${one}/cmdline`)))
  const ports = own.flatMap((one) => {
    const names = /(?:^|\0)(?:ARQONBUS_(?:SERVER|HTTP|TELEMETRY)|SHIELD(?:_METRICS)?)_PORT=(\d+)/g
    return [...read(`/proc/${one}/environ`).matchAll(names)].map(([, port]) => Number(port))
  })
  return { pids: own, ports: [...new Set(ports)] }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // it has ended
  }
}

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await pause(20)
}

async function expectGone({ pids, ports }: Family): Promise<void> {
  expect(pids).toHaveLength(2)
  expect(ports).toHaveLength(5)
  expect(pids.filter((pid) => read(`/proc/${pid}/stat`) !== '')).toEqual([])
  expect(await Promise.all(ports.map(isOpen))).toEqual(ports.map(() => false))
}

const leftBehind = (): string[] => readdirSync(temporary).filter((name) => name.startsWith('arqonbus-candidate-'))

describe.skipIf(skipWithout('nats'))('preflight run --candidate', () => {
  it('has the live checks speak to it, and ends it', async () => {
    const { family, ended } = run()
    await until(() => family().pids.length === 2)
    const started = family()
    const { report, exit, errors } = await ended
    const live = report.canonical.results.filter(({ phase }) => phase === 'live').map(({ id }) => id)
    expect(Object.fromEntries(live.map((id) => [id, wordOf(report, id)])), errors).toEqual({
      'live.bus-health': 'pass',
      'live.protobuf-only': 'not-applicable',
      'live.schema-enforced': 'pass',
      'live.shield-accepts-valid-token': 'pass',
      'live.shield-event-projected': 'not-applicable',
      'live.shield-rejects-bad-tokens': 'pass',
      'live.shield-rejects-missing-token': 'pass',
      'live.shield-routes-payload': 'pass',
      'live.telemetry-accepts': 'pass',
      'live.tenant-isolation': 'pass',
    })
    expect([report.canonical.verdict, exit]).toEqual(['GO', 0])
    await expectGone(started)
    expect(leftBehind()).toEqual([])
  }, 30_000)

  it('says why it did not start, and says no GO', async () => {
    vi.stubEnv('TMPDIR', folder)
    const other = await createCandidateSystem({ env, clock: systemClock })
    try {
      expect(await other.start()).toBeUndefined()
      // One bus serves on a NATS: the second refuses.
      const { report, exit, errors } = await run(['--only', 'live.*']).ended
      const why =
        'the candidate’s bus did not start: arqonbus: START_REFUSED (BUS_PRESENT): Another bus runs on this NATS'
      expect(errors).toContain(why)
      for (const id of ['live.bus-health', 'live.shield-accepts-valid-token']) {
        expect(wordOf(report, id)).toBe('error NO_CANDIDATE regression')
        expect(report.observations.results[id]?.observed).toContain(why)
      }
      expect([report.canonical.verdict, exit]).toEqual(['NO-GO', 20])
      expect(leftBehind()).toEqual([])
    } finally {
      await other.close()
      vi.unstubAllEnvs()
    }
  }, 30_000)

  it('leaves nothing behind when it is ended before the candidate is up', async () => {
    // NATS that takes connections and never answers: without the signal this would go on for half a minute.
    const silent = createServer((socket) => void socket.resume().on('error', () => undefined))
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    try {
      const { port } = silent.address() as AddressInfo
      const one = run(['--only', 'live.*'], { NATS_URL: `nats://127.0.0.1:${port}` })
      await once(silent, 'connection')
      await expectNothingLeft(one, one.child.pid!, 'SIGTERM')
    } finally {
      silent.close()
    }
  }, 10_000)

  it('leaves nothing behind after a key press in the middle of the checks', async () => {
    const one = run(['--only', 'live.*'])
    await until(() => one.family().pids.length === 2)
    // The last port to open: then the checks begin.
    const { ports } = one.family()
    await until(() => isOpen(ports.at(-1)!))
    await expectNothingLeft(one, -one.child.pid!, 'SIGINT')
  }, 30_000)

  /** A process id, or that of its whole group with a minus, as a terminal has it. */
  async function expectNothingLeft({ family, ended }: Run, whom: number, signal: NodeJS.Signals): Promise<void> {
    const started = family()
    process.kill(whom, signal)
    const { exit, report } = await ended
    await expectGone(started)
    expect([exit, report.canonical.verdict]).toEqual([130, 'INCONCLUSIVE'])
    expect(leftBehind()).toEqual([])
  }
})
