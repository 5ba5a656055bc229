// The candidate: the package that this preflight belongs to, started on loopback with what the judged environment
// declares and nothing else. Nothing of production is within its reach: its stores and servers are replaced, by names
// that never resolve or by stand-ins, before it starts.
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { keys } from '../../config/keys.ts'
import type { RuleContext } from '../../rules/rule.ts'
import type { CheckPorts } from '../check.ts'
import { spawnWithPermit } from '../certificate/spawn-with-permit.ts'
import { type Host, readText } from '../runtime/host.ts'
import { ProbeStop } from '../stops.ts'

export type CandidateProgram = 'bus' | 'shield' | 'projector' | 'migrate up' | 'projector migrate'
/** Undefined takes a variable away. */
export type Changes = Readonly<Record<string, string | undefined>>

export interface StartSpec {
  /** Letters, digits and spaces; names the record of the program. */
  readonly name: string
  readonly program: CandidateProgram
  readonly changes: Changes
  /** For what is proved with stand-ins, which production rules would refuse: they are of this machine. */
  readonly isStaging?: true
  readonly deadlineMs: number
}

export interface Watched {
  /** -1 where it did not end by itself. */
  readonly exit: number
  readonly signal: string
  readonly isLate: boolean
  readonly ms: number
  /** TCP ports on which it was seen to listen. */
  readonly listened: readonly number[]
  readonly stdout: string
  readonly stderr: string
}

const known = new Set<string>(Object.values(keys).flatMap(({ names }) => [...names]))
const isOurs = (name: string): boolean => known.has(name) || /^(?:ARQONBUS|SHIELD)_/.test(name)

/** Of services that a candidate must not reach, and what only makes sense with them. */
const replaced =
  /^ARQONBUS_(?:VALKEY|REDIS|POSTGRES)_|^(?:NATS_URL|SHIELD_MIRROR_RULES|SHIELD_MIRROR_NATS_URL|SHIELD_SCHEMA_SOURCE|OTEL_EXPORTER_OTLP_ENDPOINT|ARQONBUS_CONFIG_FILE|ARQONBUS_STORAGE_ACCEPT_IDENTITY)$/

/** RFC 2606: no resolver knows them. Well formed, and no address of this machine, so that every rule holds. */
const nowhere = {
  ARQONBUS_VALKEY_URL: 'rediss://valkey.invalid:6379/0',
  ARQONBUS_POSTGRES_URL: 'postgresql://arqonbus@postgres.invalid:5432/arqonbus',
  NATS_URL: 'tls://nats.invalid:4222',
} as const

export interface Ports {
  readonly bus: number
  readonly http: number
  readonly telemetry: number
  readonly shield: number
  readonly metrics: number
  readonly projector: number
}

/** What the environment declares, its file included, with listeners on loopback and services nowhere. */
export function candidateEnvironment(
  { resolution: { given } }: RuleContext,
  { ports, dataDir }: { readonly ports: Ports; readonly dataDir: string },
  { changes, isStaging }: Pick<StartSpec, 'changes' | 'isStaging'>,
): Record<string, string> {
  const declared = [...given].filter(([name]) => isOurs(name) && !replaced.test(name))
  const env: Record<string, string | undefined> = {
    ...Object.fromEntries(declared.map(([name, { text }]) => [name, text])),
    PATH: given.get('PATH')?.text ?? '/usr/local/bin:/usr/bin:/bin',
    ...nowhere,
    ARQONBUS_DATA_DIR: dataDir,
    ARQONBUS_LOG_LEVEL: 'info',
    ARQONBUS_SERVER_HOST: '127.0.0.1',
    ARQONBUS_SERVER_PORT: String(ports.bus),
    ARQONBUS_HTTP_HOST: '127.0.0.1',
    ARQONBUS_HTTP_PORT: String(ports.http),
    ARQONBUS_TELEMETRY_HOST: '127.0.0.1',
    ARQONBUS_TELEMETRY_PORT: String(ports.telemetry),
    ARQONBUS_PROJECTOR_METRICS_HOST: '127.0.0.1',
    ARQONBUS_PROJECTOR_METRICS_PORT: String(ports.projector),
    SHIELD_HOST: '127.0.0.1',
    SHIELD_PORT: String(ports.shield),
    SHIELD_METRICS_HOST: '127.0.0.1',
    SHIELD_METRICS_PORT: String(ports.metrics),
    ...(isStaging === true && { ARQONBUS_ENVIRONMENT: 'staging' }),
    ...changes,
  }
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined))
}

/** Below those that the kernel gives to outgoing connections. */
const lowestPort = 20_000
const highestPort = 32_700

export async function freePorts(count: number): Promise<number[]> {
  const held: Server[] = []
  for (let tries = 0; held.length < count && tries < 1_000; tries++) {
    const server = createServer()
    const port = lowestPort + Math.floor(Math.random() * (highestPort - lowestPort))
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (isFree) held.push(server)
  }
  const found = held.map((server) => (server.address() as { port: number }).port)
  await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))))
  if (found.length < count) throw new ProbeStop('NO_FREE_PORT', `${found.length} of ${count} ports`, 'ports')
  return found
}

/** A temporary folder, gone when the work is done. */
export async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'arqonbus-candidate-'))
  try {
    return await work(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

export interface Candidate {
  readonly ports: Ports
  readonly ended: Promise<Watched>
  readonly hasEnded: () => boolean
  readonly stdout: () => string
  end(): void
}

const lookEveryMs = 50
const keptChars = 256 * 1024

/** `end` and the signal kill it; so does the end of this process (the launcher follows its channel). */
export async function startCandidate(
  spec: StartSpec,
  { ports: checkPorts, signal, host, folder }: { ports: CheckPorts; signal: AbortSignal; host: Host; folder: string },
): Promise<Candidate> {
  if (readText(join(host.proc, 'self/net/tcp')) === undefined) {
    throw new ProbeStop('NO_PROCFS', `${host.proc} does not tell which sockets a process has`, 'procfs')
  }
  const [bus, http, telemetry, shield, metrics, projector] = (await freePorts(6)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const ports = { bus, http, telemetry, shield, metrics, projector }
  const env = candidateEnvironment(checkPorts.ctx, { ports, dataDir: join(folder, 'data') }, spec)
  signal.throwIfAborted()
  const argv = [host.node, join(host.root, 'bin/arqonbus.mjs'), ...spec.program.split(' ')]
  const { clock } = checkPorts
  const startedMs = clock.monotonic()
  // Relative paths of the environment are those of where the service starts.
  const cwd = host.cwd()
  const record = checkPorts.spool?.begin({ id: `boot-${spec.name.replaceAll(' ', '-')}`, argv, cwd })
  // Where production pins a key: a certificate comes after this, and that it is asked for has a check of its own.
  const child = spawnWithPermit(host.node, argv.slice(1), { cwd, env, hasChannel: true }, clock)
  const texts = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]!.on('data', (chunk: Buffer) => {
      record?.write(name, chunk)
      texts[name] = (texts[name] + chunk.toString('utf8')).slice(0, keptChars)
    })
  }
  let isLate = false
  const kill = (): void => void child.kill('SIGKILL')
  const timer = setTimeout(() => {
    isLate = true
    kill()
  }, spec.deadlineMs)
  signal.addEventListener('abort', kill)
  const listened = new Set<number>()
  let hasEnded = false
  const watching = watchListeners(child, host, () => hasEnded, listened)
  const ended = new Promise<Watched>((resolve) => {
    let failure = ''
    child.on('error', (error: NodeJS.ErrnoException) => (failure = error.code ?? 'unknown'))
    child.on('close', (exit, died) => {
      hasEnded = true
      clearTimeout(timer)
      signal.removeEventListener('abort', kill)
      const ms = Math.round(clock.monotonic() - startedMs)
      record?.end({
        exit,
        signal: died,
        ms,
        ...(failure !== '' && { failure }),
        ...(isLate && { isLate: true as const }),
      })
      const seen = { exit: exit ?? -1, signal: died ?? failure, isLate, ms, ...texts }
      void watching.then(() => resolve({ ...seen, listened: [...listened].sort((a, b) => a - b) }))
    })
  })
  return { ports, ended, hasEnded: () => hasEnded, stdout: () => texts.stdout, end: () => void child.kill('SIGTERM') }
}

/** Again and again until it has ended: a socket that was open for less than a look is not seen. */
async function watchListeners(
  { pid }: ChildProcess,
  { proc }: Host,
  hasEnded: () => boolean,
  into: Set<number>,
): Promise<void> {
  while (pid !== undefined && !hasEnded()) {
    for (const one of familyOf(pid, proc)) for (const port of listenersOf(one, proc)) into.add(port)
    await pause(lookEveryMs)
  }
}

/** The launcher may go on in a process of its own. */
function familyOf(pid: number, proc: string): number[] {
  const children = (readText(join(proc, `${pid}/task/${pid}/children`)) ?? '').split(' ').filter(Boolean).map(Number)
  return [pid, ...children.flatMap((child) => familyOf(child, proc))]
}

function listenersOf(pid: number, proc: string): number[] {
  const ports = new Map<string, number>()
  for (const table of ['tcp', 'tcp6']) {
    for (const line of (readText(join(proc, `${pid}/net/${table}`)) ?? '').split('\n').slice(1)) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/)
      const isListening = state === '0A'
      if (isListening) ports.set(`socket:[${inode}]`, Number.parseInt(local!.split(':')[1]!, 16))
    }
  }
  if (ports.size === 0) return []
  return socketsOf(join(proc, String(pid), 'fd')).flatMap((socket) => ports.get(socket) ?? [])
}

function socketsOf(folder: string): string[] {
  try {
    return readdirSync(folder).map((fd) => {
      try {
        return readlinkSync(join(folder, fd))
      } catch {
        return '' // closed meanwhile
      }
    })
  } catch {
    return [] // it has ended
  }
}

/**
 * Of checks: two run at a time, of two kinds: those whose candidates are refused at once, and those with services that are
 * away, or there. On two cores more would make each of them late for what it promises.
 */
export const lanes = { refused: 'refused candidates', withServices: 'candidates with services' } as const

type Lane = <T>(work: () => Promise<T>) => Promise<T>

function createLane(width: number): Lane {
  const waiting: (() => void)[] = []
  let free = width
  return async (work) => {
    if (free > 0) free--
    else await new Promise<void>((resolve) => waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next === undefined) free++
      else next()
    }
  }
}

/** Two candidates start at once: more would make each slower than its deadline on a small machine. */
export const busyLane = createLane(2)

const caches = new WeakMap<CheckPorts, string>()

/** What Node compiled is kept for the length of a run: of many starts of one program each takes a third of the time. */
export function compileCacheOf(ports: CheckPorts): string | undefined {
  if (ports.atEnd === undefined) return undefined
  const known = caches.get(ports)
  if (known !== undefined) return known
  const folder = mkdtempSync(join(tmpdir(), 'arqonbus-compiled-'))
  caches.set(ports, folder)
  ports.atEnd(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
