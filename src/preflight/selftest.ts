// `preflight selftest`: every check proven in its worlds, every roll-up with the engine itself, and one digest however a
// run is scheduled.
import type { Answer, Check, Worlds } from './check.ts'
import { failed, passed } from './check.ts'
import { engineCheck } from './engine-check.ts'
import { healthyBuild, healthyEnvironment, portsOfWorld } from './healthy-world.ts'
import type { Prober } from './prober.ts'
import { runPreflight } from './run.ts'
import { type Ledger, ledgerOf, type Proof, proveCheck } from './self-proof.ts'
import { parseTargets } from './targets.ts'

/** The catalogue's own checks and the engine's. */
export async function proveEverything(catalogue: readonly Check[]): Promise<Ledger> {
  const proofs: Proof[] = [proveCheck(engineCheck)]
  for (const check of catalogue) {
    proofs.push(check.isRollUp === true ? await proveRollUp(check, catalogue) : proveCheck(check))
  }
  return ledgerOf(catalogue, proofs)
}

/** It passes when all it requires has passed, and waits on each that has not, whatever has passed beside it. */
export async function proveRollUp(check: Check, catalogue: readonly Check[]): Promise<Proof> {
  const { id, requires } = check
  const kills: { world: string; code: string }[] = []
  const faults = [...proveCheck(check).faults]
  // There is nothing to wait on: the fault above says it, and the engine leaves such a one out.
  if (requires.length === 0) return { id, kills, faults }
  const resultWith = async (failing: string | undefined): Promise<string> => {
    const stubs = catalogue.map((other) => (other.id === id ? other : stubOf(other, other.id === failing)))
    const env = healthyEnvironment
    const { canonical } = await runPreflight(
      { env, only: [id], deep: true, keepGoing: true, now: 0 },
      { catalogue: stubs, build: healthyBuild },
    )
    const result = canonical.results.find((entry) => entry.id === id)
    if (result?.status !== 'skip') return result?.status ?? 'missing'
    return result.reason.kind === 'blocked-by' ? `blocked by ${result.reason.id}` : result.reason.kind
  }
  const whole = await resultWith(undefined)
  if (whole !== 'pass') faults.push(`all it requires passes: ${whole} instead of pass`)
  for (const needed of requires) {
    const found = await resultWith(needed)
    if (found === `blocked by ${needed}`) kills.push({ world: `${needed} fails`, code: 'BLOCKED' })
    else faults.push(`${needed} fails: ${found} instead of blocked by it`)
  }
  return { id, kills, faults }
}

/** In its place, with its requirements, and decided. */
function stubOf(check: Check, isFailing: boolean): Check {
  const { probe: _, isDeep: __, ...rest } = check
  return {
    ...rest,
    appliesWhen: { name: 'always', test: () => ({ holds: true, because: 'always' }) },
    effects: [],
    shape: {},
    judge: () => (isFailing ? failed('AS_ASKED', check.id, 'as the proof wants it', 'nothing') : passed()),
  }
}

export interface Determinism {
  readonly runs: number
  readonly seed: number
  /** Of the reports, by recording: one digest each, and not the same. */
  readonly digests: { readonly healthy: readonly string[]; readonly broken: readonly string[] }
}

export const isDetermined = ({ digests: { healthy, broken } }: Determinism): boolean =>
  healthy.length === 1 && broken.length === 1 && healthy[0] !== broken[0]

/**
 * Judges two recordings again and again - every check as in its first passing world, and the same with every third
 * failing - in another order of the catalogue, with other delays and another number of jobs each time.
 */
export async function proveDeterminism(
  catalogue: readonly Check[],
  { runs, seed }: { readonly runs: number; readonly seed: number },
): Promise<Determinism> {
  const random = randomOf(seed)
  const digestsOf = async (recording: Recording): Promise<string[]> => {
    const digests = new Set<string>()
    for (let run = 0; run < runs; run++) {
      const { digest } = await runPreflight(
        {
          env: healthyEnvironment,
          targets: parseTargets(targets),
          now: portsOfWorld({ name: 'healthy' }).now,
          jobs: 1 + (run % 8),
          deep: true,
          gates: true,
          keepGoing: true,
        },
        { catalogue: shuffled(catalogue, random), prober: replay(recording, random), ...healthyMachine },
      )
      digests.add(digest)
    }
    return [...digests]
  }
  const healthy = await digestsOf(record(catalogue, () => false))
  const broken = await digestsOf(record(catalogue, (index) => index % 3 === 0))
  return { runs, seed, digests: { healthy, broken } }
}

const targets =
  'bus=ws://10.0.0.5:9100,http=http://10.0.0.5:8080,telemetry=ws://10.0.0.5:8081,shield=ws://10.0.0.5:4000'
const healthyMachine = {
  build: healthyBuild,
  localAddresses: ['10.0.0.5', '127.0.0.1'],
  files: { mode: () => undefined, isReadable: () => false },
}

type Recording = ReadonlyMap<string, Answer>

function record(catalogue: readonly Check[], isBroken: (index: number) => boolean): Recording {
  const looking = catalogue.filter(({ probe }) => probe !== undefined)
  return new Map(looking.map(({ id, worlds }, index) => [id, answerIn(worlds, isBroken(index))]))
}

function answerIn({ passes, fails }: Worlds, isBroken: boolean): Answer {
  const { facts, stopped } = (isBroken ? fails[0] : passes[0]) ?? {}
  return stopped === undefined ? { facts: facts ?? {} } : { stopped }
}

/** Looks into a recording, after a delay of up to 3 ms. */
function replay(recording: Recording, random: () => number): Prober {
  return {
    async answer({ id }) {
      await new Promise((resolve) => setTimeout(resolve, random() * 3))
      return recording.get(id) ?? { facts: {} }
    },
    close: () => Promise.resolve(),
  }
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, key: random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item)
}

/** From 0 to below 1, the same sequence for the same seed (a linear congruential generator). */
function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
