// Tries mutants, one at a time: a fresh instance of the modules that a change reaches, judged by the worlds of the
// original. Told to by messages; ended by its parent when a mutant does not come to an end.
import { registerHooks } from 'node:module'
import { pathToFileURL } from 'node:url'
import { parentPort } from 'node:worker_threads'
import type { Check } from '../../src/preflight/check.ts'
import * as catalogues from '../../src/preflight/catalogue.ts'
import * as engine from '../../src/preflight/engine-check.ts'
import type * as selfProof from '../../src/preflight/self-proof.ts'
import { readGraph, root } from './graph.ts'
import { applied, type Mutant } from './mutants.ts'

export interface Trial {
  readonly number: number
  readonly mutant: Mutant
}

export interface Outcome {
  readonly number: number
  /** The world that gave it away; undefined when none did. */
  readonly killedBy: string | undefined
}

const graph = readGraph()
const original = catalogues.createCatalogue()
const byId = new Map([...original, engine.engineCheck].map((check) => [check.id, check]))
const base = pathToFileURL(root).href
const form = /^(.*)\?mutant=(\d+)$/
let trial: Trial | undefined
let reached: ReadonlySet<string> = new Set()

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context)
    const number = form.exec(context.parentURL ?? '')?.[2]
    if (number === undefined || !reached.has(resolved.url.slice(base.length))) return resolved
    return { ...resolved, url: `${resolved.url}?mutant=${number}`, shortCircuit: true }
  },
  load(url, context, next) {
    const file = form.exec(url)?.[1]?.slice(base.length)
    if (file === undefined || trial === undefined) return next(url, context)
    const whole = graph.sources.get(file)!
    const source = file === trial.mutant.file ? applied(whole, trial.mutant) : whole
    return { format: 'module', source, shortCircuit: true }
  },
})

async function run({ number, mutant }: Trial): Promise<string | undefined> {
  reached = graph.dependents(mutant.file)
  trial = { number, mutant }
  const load = async (file: string): Promise<Record<string, unknown>> =>
    (await import(`${base}${file}${reached.has(file) ? `?mutant=${number}` : ''}`)) as Record<string, unknown>
  try {
    const { proveCheck } = (await load('src/preflight/self-proof.ts')) as typeof selfProof
    const catalogue = ((await load('src/preflight/catalogue.ts')) as typeof catalogues).createCatalogue()
    if (headsOf(catalogue) !== headsOf(original)) return 'the catalogue has other checks'
    // A change of the engine is every check's business; one of a judge only that of checks which are made anew for it.
    const isEngine = reached.has('src/preflight/self-proof.ts')
    const affected = isEngine
      ? [((await load('src/preflight/engine-check.ts')) as typeof engine).engineCheck, ...catalogue]
      : catalogue.filter((check) => !original.includes(check))
    for (const check of affected) {
      const { worlds, class: fault } = byId.get(check.id)!
      const wrong = proveCheck({ ...check, class: fault }, worlds).faults[0]
      if (wrong !== undefined) return `${check.id}: ${wrong}`
    }
    return undefined
  } catch (error) {
    return `it broke: ${error instanceof Error ? error.message : String(error)}`
  }
}

/** What the digest of the catalogue is made of: ids, classes, severities, requirements. */
const headsOf = (checks: readonly Check[]): string =>
  JSON.stringify(
    checks.map(({ id, phase, severity, class: fault, requires }) => [id, phase, severity, fault, requires]),
  )

// A probe that a mutant has started may still fail when its mutant is judged.
process.on('unhandledRejection', () => undefined)
parentPort!.on('message', (given: Trial) => {
  void run(given).then((killedBy) => parentPort!.postMessage({ number: given.number, killedBy } satisfies Outcome))
})
parentPort!.postMessage('ready')
