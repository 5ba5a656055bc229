// The threads in which modules run that could not be metered: one pool for all policies. A tenant always comes to the
// same thread, where its instance is. A call past its deadline ends the thread, never the process; a spare one takes
// its place, only that one frame is refused, and its tenant shares a thread with others like it for a while.
import { Worker } from 'node:worker_threads'
import type { Failure, LogLine, Outcome } from './instance.ts'
import { RecentMap } from './recent-map.ts'
import type { ModuleSettings } from './tenants.ts'
import {
  type FromWorker,
  type Job,
  progressAt,
  progressBytes,
  shortTime,
  type ToWorker,
  type WorkerStart,
} from './worker-messages.ts'

export interface PoolOptions {
  readonly threads: number
  readonly deadlineMs: number
  /** Calls that wait or run, of all threads together. */
  readonly maxWaiting: number
  readonly nowMs: () => number
  readonly log: (policy: number, tenant: string, line: LogLine) => void
}

export interface WorkerPool {
  load(settings: ModuleSettings): number
  unload(id: number): void
  judge(id: number, job: Job): Promise<Outcome>
  /** Threads ended for a deadline or that ended themselves. */
  readonly losses: number
  close(): Promise<void>
}

interface Call {
  readonly id: number
  readonly job: Job
  readonly resolve: (outcome: Outcome) => void
}

/** How long a thread may take to start before it counts as lost. */
const startMs = 10_000
const heapMb = 64
/** A thread that is given no time to run for so many deadlines does not run any more. */
const maxWaits = 40
const slowForMs = 60_000
const maxSlowTenants = 1_000

const failed = (failure: Failure): Outcome => ({ kind: 'failure', failure, isBroken: true })

export function createWorkerPool(options: PoolOptions): WorkerPool {
  const modules = new Map<number, ModuleSettings>()
  const threads = new Set<Thread>()
  let spare: Thread | undefined
  let nextId = 1
  let waiting = 0
  let losses = 0
  let isClosed = false

  const startThread = (): Thread => {
    const thread = new Thread(modules, (id, tenant, line) => options.log(id, tenant, line))
    threads.add(thread)
    return thread
  }
  const openLane = (): Lane => new Lane(startThread(), options.deadlineMs, replace)
  const lanes = Array.from({ length: options.threads }, openLane)
  /** For tenants that made a call miss its deadline; opened for the first of them. */
  let slowLane: Lane | undefined
  const slowTenants = new RecentMap<number>(maxSlowTenants)
  spare = startThread()

  /** The thread that takes the place of one that is given up. */
  function replace(lost: Thread): Thread {
    losses++
    threads.delete(lost)
    void lost.end()
    const next = spare ?? startThread()
    spare = isClosed ? undefined : startThread()
    return next
  }

  function laneFor(tenant: string): Lane {
    const untilMs = slowTenants.get(tenant)
    if (untilMs === undefined) return lanes[laneOf(tenant, lanes.length)]!
    if (untilMs > options.nowMs()) {
      slowLane ??= openLane()
      return slowLane
    }
    slowTenants.delete(tenant)
    return laneFor(tenant)
  }

  const tell = (message: ToWorker): void => {
    for (const thread of threads) thread.post(message)
  }

  return {
    get losses() {
      return losses
    },
    load(settings) {
      const id = nextId++
      modules.set(id, settings)
      tell({ do: 'load', id, settings })
      return id
    },
    unload(id) {
      modules.delete(id)
      tell({ do: 'unload', id })
    },
    async judge(id, job) {
      if (isClosed) return failed('CLOSED')
      if (waiting >= options.maxWaiting) return failed('BUSY')
      waiting++
      try {
        const outcome = await new Promise<Outcome>((resolve) => laneFor(job.tenant).add({ id, job, resolve }))
        if (outcome.kind === 'failure' && outcome.failure === 'TIMEOUT') {
          slowTenants.set(job.tenant, options.nowMs() + slowForMs)
        }
        return outcome
      } finally {
        waiting--
      }
    },
    async close() {
      isClosed = true
      for (const lane of lanes) lane.close()
      slowLane?.close()
      await Promise.all([...threads].map((thread) => thread.end()))
    },
  }
}

function laneOf(tenant: string, lanes: number): number {
  let sum = 0
  for (let i = 0; i < tenant.length; i++) sum = (Math.imul(sum, 31) + tenant.charCodeAt(i)) >>> 0
  return sum % lanes
}

/** Calls of some tenants, one at a time. */
class Lane {
  #thread: Thread
  readonly #queue: Call[] = []
  #current: Call | undefined
  #timer: NodeJS.Timeout | undefined
  /** How often the running call was given more time, because it had begun late. */
  #waits = 0
  #isClosed = false
  readonly #deadlineMs: number
  readonly #replace: (lost: Thread) => Thread

  constructor(thread: Thread, deadlineMs: number, replace: (lost: Thread) => Thread) {
    this.#deadlineMs = deadlineMs
    this.#replace = replace
    this.#thread = thread
    this.#adopt(thread)
  }

  add(call: Call): void {
    this.#queue.push(call)
    this.#next()
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    for (const { resolve } of [this.#current, ...this.#queue].filter((call) => call !== undefined)) {
      resolve(failed('CLOSED'))
    }
    this.#queue.length = 0
    this.#current = undefined
  }

  #adopt(thread: Thread): void {
    this.#thread = thread
    thread.onReady = () => this.#next()
    thread.onJudged = (outcome) => this.#finish(outcome)
    thread.onLost = () => this.#giveUp('THREAD_LOST')
    if (!thread.isReady) this.#timer = setTimeout(() => this.#giveUp('THREAD_LOST'), startMs)
  }

  #next(): void {
    if (this.#current !== undefined || !this.#thread.isReady || this.#isClosed) return
    clearTimeout(this.#timer)
    this.#current = this.#queue.shift()
    if (this.#current === undefined) return
    const { id, job } = this.#current
    this.#thread.judge(id, job)
    this.#waits = 0
    this.#timer = setTimeout(() => this.#judgeTime(), this.#deadlineMs)
  }

  #judgeTime(): void {
    // Done in time where it ran, and this thread was too busy to see it: the answer is under way.
    if (this.#thread.isDone) return
    const ranMs = this.#thread.ranMs()
    if (ranMs !== undefined && ranMs >= this.#deadlineMs) this.#giveUp('TIMEOUT')
    else if (++this.#waits > maxWaits) this.#giveUp('THREAD_LOST')
    else this.#timer = setTimeout(() => this.#judgeTime(), this.#deadlineMs - (ranMs ?? 0))
  }

  #giveUp(failure: Failure): void {
    if (this.#isClosed) return
    clearTimeout(this.#timer)
    const lost = this.#thread
    lost.onReady = lost.onJudged = lost.onLost = undefined
    this.#adopt(this.#replace(lost))
    this.#finish(failed(failure))
  }

  #finish(outcome: Outcome): void {
    const call = this.#current
    this.#current = undefined
    if (call !== undefined) {
      clearTimeout(this.#timer)
      call.resolve(outcome)
    }
    this.#next()
  }
}

class Thread {
  readonly #worker: Worker
  readonly #buffer = new SharedArrayBuffer(progressBytes)
  readonly #progress = new Int32Array(this.#buffer)
  #number = 0
  isReady = false
  onReady: (() => void) | undefined
  onJudged: ((outcome: Outcome) => void) | undefined
  onLost: (() => void) | undefined

  constructor(modules: ReadonlyMap<number, ModuleSettings>, log: (id: number, tenant: string, line: LogLine) => void) {
    // The same file under its own suffix: TypeScript in the source tree, JavaScript in the built package.
    const file = import.meta.url.endsWith('.ts') ? './policy-worker.ts' : './policy-worker.js'
    const start: WorkerStart = { progress: this.#buffer }
    this.#worker = new Worker(new URL(file, import.meta.url), {
      name: 'policy',
      workerData: start,
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: heapMb },
    })
    this.#worker.on('message', (message: FromWorker) => {
      if (message.kind === 'log') log(message.id, message.tenant, message.line)
      else if (message.kind === 'ready') {
        this.isReady = true
        this.onReady?.()
      } else if (message.number === this.#number) this.onJudged?.(message.outcome)
    })
    this.#worker.on('error', () => this.onLost?.())
    this.#worker.on('exit', () => this.onLost?.())
    for (const [id, settings] of modules) this.post({ do: 'load', id, settings })
  }

  get isDone(): boolean {
    return Atomics.load(this.#progress, progressAt.done) === this.#number
  }

  /** For how long the current job has run there; undefined before it is begun. */
  ranMs(): number | undefined {
    if (Atomics.load(this.#progress, progressAt.begun) !== this.#number) return undefined
    return (shortTime() - Atomics.load(this.#progress, progressAt.begunAtMs)) & 0x7fff_ffff
  }

  post(message: ToWorker): void {
    this.#worker.postMessage(message)
  }

  judge(id: number, job: Job): void {
    this.post({ do: 'judge', id, number: ++this.#number, job })
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }
}
