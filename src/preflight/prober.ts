// Lets probes look, each under a deadline that holds whatever the probe does. Probes with a resource run in a process of
// their own, which is killed when a deadline passes; drivers that hang take nothing with them.
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../base/clock.ts'
import { describeFault } from './build-report.ts'
import type { Answer, Check, CheckPorts } from './check.ts'
import type { CommandSpool } from './incident/commands.ts'
import { ProbeStop, stopCodeOf } from './stops.ts'

export interface Prober {
  /** Never rejects. */
  answer(check: Check, ports: CheckPorts): Promise<Answer>
  /** Ends every process that is left. */
  close(): Promise<void>
}

/** What a process that looks is told: `id` of a check of the catalogue, and what its ports are made of. */
export interface ProbeRequest {
  readonly id: string
  readonly inputs: ProbeInputs
  /** No probe takes longer. */
  readonly deadlineMs: number
}

/** What ports are made of, as it crosses to another process: plain data. Holds secrets; never shown or stored. */
export interface ProbeInputs {
  readonly env: Readonly<Record<string, string>>
  readonly asked?: string
  readonly targets: Readonly<Record<string, string>>
  readonly policy: CheckPorts['policy']
  readonly now: number
  readonly runId: string
  /** Modules whose checks look in such a process: absolute paths, and ids of their checks. */
  readonly plugins?: readonly ModulePlugin[]
  /** Planted into the environment of each process: nothing that is shown or stored may hold it. */
  readonly canary?: string
}

export interface ModulePlugin {
  readonly path: string
  readonly sha256: string
  readonly ids: readonly string[]
}

const file = `./probe-child${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`

/** `spool` records the processes; `stop` ends probes of this process, `close` those of others. */
export function createProber(inputs: ProbeInputs, spool?: CommandSpool, stop?: AbortSignal): Prober {
  const children = new Map<string, ProbeChild>()
  const queues = new Map<string, Promise<unknown>>()

  /** One after the other for one resource: what writes there is alone. */
  function inTurn<T>(resource: string, run: () => Promise<T>): Promise<T> {
    const turn = (queues.get(resource) ?? Promise.resolve()).then(run, run)
    queues.set(resource, turn)
    return turn
  }

  async function askChild(check: Check, resource: string): Promise<Answer> {
    let child = children.get(resource)
    if (child === undefined || child.isGone) {
      child = new ProbeChild(inputs, spool, resource)
      children.set(resource, child)
    }
    return await child.ask({ id: check.id, inputs, deadlineMs: check.deadlineMs })
  }

  return {
    async answer(check, ports) {
      if (check.probe === undefined) return { facts: {} }
      const { resource } = check
      if (resource !== undefined) return await inTurn(resource, () => askChild(check, resource))
      return await lookHere(check, ports, stop)
    },
    async close() {
      await Promise.all([...children.values()].map((child) => child.end()))
    },
  }
}

/** In this process. The timer keeps the process alive while a probe hangs. */
export async function lookHere(check: Check, ports: CheckPorts, stop?: AbortSignal): Promise<Answer> {
  const aborter = new AbortController()
  const signal = stop === undefined ? aborter.signal : AbortSignal.any([aborter.signal, stop])
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<Answer>((resolve) => {
    timer = setTimeout(() => {
      // First the answer: a probe that honours the signal would otherwise win with an error of its own.
      resolve(late(check.deadlineMs))
      aborter.abort()
    }, check.deadlineMs)
  })
  const answer = await Promise.race([factsOf(check, ports, signal), deadline])
  clearTimeout(timer)
  aborter.abort()
  return answer
}

async function factsOf(check: Check, ports: CheckPorts, signal: AbortSignal): Promise<Answer> {
  try {
    return { facts: (await check.probe?.(ports, signal)) ?? {} }
  } catch (error) {
    if (error instanceof ProbeStop) return { stopped: error.stopped }
    const code = stopCodeOf(error)
    return { stopped: { code: code ?? 'THREW', observed: describeFault(error) } }
  }
}

const late = (ms: number): Answer => ({ stopped: { code: 'DEADLINE', observed: `no answer within ${ms} ms` } })

/** How much longer than the probe's own deadline the process gets to say so itself. */
const graceMs = 250
/** Starting a process and loading the catalogue. */
const startMs = 10_000

class ProbeChild {
  isGone = false
  readonly #process: ChildProcess
  readonly #ready: Promise<boolean>
  #settle: ((answer: Answer) => void) | undefined
  #errorText = ''

  /** Nothing of our own environment: what is judged comes with each request, and no flag of ours reaches the probe. */
  constructor(
    { env: { NODE_EXTRA_CA_CERTS }, canary }: ProbeInputs,
    spool: CommandSpool | undefined,
    resource: string,
  ) {
    const script = new URL(file, import.meta.url)
    const startedMs = systemClock.monotonic()
    const recorded = spool?.begin({
      id: `probe-${resource.replaceAll(/[^A-Za-z0-9-]/g, '-')}`,
      argv: [process.execPath, fileURLToPath(script)],
      cwd: process.cwd(),
      streams: 'standard output is not connected; killed when the run is over, or a deadline passes',
    })
    this.#process = fork(script, [], {
      env: {
        TZ: 'UTC',
        LC_ALL: 'C',
        ...(NODE_EXTRA_CA_CERTS !== undefined && { NODE_EXTRA_CA_CERTS }),
        ...(canary !== undefined && { PREFLIGHT_CANARY_SECRET: canary }),
      },
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'json',
    })
    this.#process.stderr?.on('data', (chunk: Buffer) => {
      recorded?.write('stderr', chunk)
      this.#errorText = (this.#errorText + chunk.toString('utf8')).slice(-2_000)
    })
    this.#ready = new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), startMs)
      this.#process.once('message', () => {
        clearTimeout(timer)
        resolve(true)
      })
      this.#process.once('close', () => {
        clearTimeout(timer)
        resolve(false)
      })
    })
    this.#process.on('error', () => this.#lost())
    this.#process.on('close', (exit, signal) => {
      recorded?.end({ exit, signal, ms: Math.round(systemClock.monotonic() - startedMs) })
      this.#lost()
    })
  }

  async ask(request: ProbeRequest): Promise<Answer> {
    if (!(await this.#ready)) {
      this.#kill()
      return { stopped: { code: 'PROBE_DIED', observed: this.#lastWords() } }
    }
    return await new Promise<Answer>((resolve) => {
      const timer = setTimeout(() => {
        settle(late(request.deadlineMs))
        this.#kill()
      }, request.deadlineMs + graceMs)
      const settle = (answer: Answer): void => {
        clearTimeout(timer)
        this.#process.off('message', onMessage)
        this.#settle = undefined
        resolve(answer)
      }
      const onMessage = (message: unknown): void => settle(message as Answer) // our own process, and held to its shape
      this.#settle = settle
      this.#process.on('message', onMessage)
      if (this.isGone) this.#lost()
      else this.#process.send(request, () => undefined) // its end comes as `close`
    })
  }

  async end(): Promise<void> {
    if (this.isGone) return
    const closed = new Promise((resolve) => this.#process.once('close', resolve))
    this.#kill()
    await closed
  }

  #kill(): void {
    this.isGone = true
    this.#process.kill('SIGKILL')
  }

  #lost(): void {
    this.isGone = true
    this.#settle?.({ stopped: { code: 'PROBE_DIED', observed: this.#lastWords() } })
  }

  #lastWords(): string {
    const line = this.#errorText.split('\n').findLast((text) => /\b\w*Error\b/.test(text))
    return line?.trim() ?? 'it ended without a word'
  }
}
