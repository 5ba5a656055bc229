// Changes the code that judges, one small change at a time, and asks whether a world notices: `npm run mutate`.
//   --count N   only so many, drawn by --seed (printed; drawn itself when absent)
//   --files G   only files that match the glob, src/preflight/live/*-checks.ts
//   --min P     exit with 1 below P percent; default 90
//   --json      one document on standard output
// Probes are not changed: integration tests hold them, with real servers.
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, matchesGlob } from 'node:path'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { readGraph, root } from './mutation/graph.ts'
import { type Mutant, mutantsOf } from './mutation/mutants.ts'
import type { Outcome, Trial } from './mutation/worker.ts'

/** A mutant that takes longer has an endless loop: it would be noticed, so it counts as killed. */
const limitMs = 15_000
/** Instances of modules are never freed within a worker. */
const trialsPerWorker = 150

const { values: options } = parseArgs({
  options: {
    count: { type: 'string' },
    seed: { type: 'string' },
    files: { type: 'string' },
    min: { type: 'string', default: '90' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    json: { type: 'boolean', default: false },
  },
})

const seed = Number(options.seed ?? Math.trunc(Math.random() * 2 ** 31))
const isWanted = (file: string): boolean => options.files === undefined || matchesGlob(file, options.files)
const everyMutant = readGraph()
  .targets.filter(isWanted)
  .flatMap((file) => mutantsOf(file, readFileSync(join(root, file), 'utf8')))
const mutants = draw(everyMutant, Number(options.count ?? everyMutant.length), seed)
if (mutants.length === 0) {
  console.error('no mutants: --files has to match files of the judging code, --count to be a number')
  process.exit(64)
}

const startedMs = performance.now()
const jobs = Number(options.jobs)
await tryControls([...new Set(mutants.map(({ file }) => file))])
const killers = await tryAll(mutants, jobs)
report()

/** A file loaded anew without a change has to pass in every world: else every kill of its mutants would be a lie. */
async function tryControls(files: readonly string[]): Promise<void> {
  const nothing = files.map((file): Mutant => ({ file, line: 1, what: 'nothing', start: 0, end: 0, text: '' }))
  const wrong = (await tryAll(nothing, jobs)).flatMap((killer, index) =>
    killer === undefined ? [] : [`${files[index]} without a change: ${killer}`],
  )
  if (wrong.length === 0) return
  console.error(wrong.join('\n'))
  process.exit(70)
}

function report(): void {
  const survivors = mutants.filter((_, index) => killers[index] === undefined)
  const score = (100 * (mutants.length - survivors.length)) / mutants.length
  const files = Object.entries(Object.groupBy(mutants, ({ file }) => file)).map(([file, own = []]) => ({
    file,
    mutants: own.length,
    killed: own.filter((mutant) => !survivors.includes(mutant)).length,
  }))
  const where = ({ file, line, what }: Mutant): string => `${file}:${line} ${what}`
  if (options.json) {
    const killed = mutants.length - survivors.length
    console.log(
      JSON.stringify(
        {
          seed,
          of: everyMutant.length,
          mutants: mutants.length,
          killed,
          score,
          files,
          survivors: survivors.map(where),
        },
        null,
        2,
      ),
    )
  } else {
    for (const { file, mutants: count, killed } of files)
      console.log(`${String(killed).padStart(4)} of ${String(count).padStart(4)}  ${file}`)
    for (const survivor of survivors) console.log(`survived  ${where(survivor)}`)
    const seconds = ((performance.now() - startedMs) / 1_000).toFixed(0)
    console.log(
      `${mutants.length} of ${everyMutant.length} mutants, seed ${seed}: ${score.toFixed(1)} % killed in ${seconds} s`,
    )
  }
  if (score < Number(options.min)) process.exitCode = 1
}

/** By the seed alone, in the order of the files. */
function draw(all: readonly Mutant[], count: number, from: number): Mutant[] {
  const random = randomOf(from)
  const keyed = all.map((mutant, index) => ({ mutant, index, key: random() }))
  const chosen = keyed.sort((a, b) => a.key - b.key).slice(0, count)
  return chosen.sort((a, b) => a.index - b.index).map(({ mutant }) => mutant)
}

function randomOf(from: number): () => number {
  let state = from >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** What killed each; undefined for survivors. */
async function tryAll(all: readonly Mutant[], jobs: number): Promise<(string | undefined)[]> {
  const outcomes: (string | undefined)[] = all.map(() => undefined)
  let next = 0
  async function runOne(): Promise<void> {
    while (next < all.length) {
      const worker = await startWorker()
      try {
        for (let tried = 0; tried < trialsPerWorker && next < all.length; tried++) {
          const number = next++
          const outcome = await ask(worker, { number, mutant: all[number]! })
          outcomes[number] = typeof outcome === 'string' ? outcome : outcome.killedBy
          if (typeof outcome === 'string') break
        }
      } finally {
        await worker.terminate()
      }
    }
  }
  await Promise.all(Array.from({ length: jobs }, runOne))
  return outcomes
}

async function startWorker(): Promise<Worker> {
  const worker = new Worker(new URL('./mutation/worker.ts', import.meta.url), {
    resourceLimits: { maxOldGenerationSizeMb: 768 },
  })
  await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  return worker
}

/** Its outcome, or in words how the worker came to an end over it. */
function ask(worker: Worker, trial: Trial): Promise<Outcome | string> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => settle('it does not end'), limitMs)
    const onMessage = (outcome: Outcome): void => settle(outcome)
    const onError = (error: unknown): void => settle(`it ends its process: ${String(error)}`)
    function settle(outcome: Outcome | string): void {
      clearTimeout(timer)
      worker.off('message', onMessage).off('error', onError)
      resolve(outcome)
    }
    worker.on('message', onMessage).on('error', onError)
    worker.postMessage(trial)
  })
}
