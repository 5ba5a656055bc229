// What the preflight's own engine costs: made-up checks that look at nothing, in chains of ten, over their number.
import { performance } from 'node:perf_hooks'
import { type Check, passed } from '../src/preflight/check.ts'
import { runPreflight } from '../src/preflight/run.ts'
import { quantile } from './statistics.ts'
import { type Suite, writePlot } from './suite.ts'

const counts = [10, 30, 100, 300, 1_000, 3_000]

interface Row {
  readonly checks: number
  /** Of a whole run, report and digest included; median of the rounds. */
  readonly ms: number
}

export const preflight: Suite = async (options) => {
  console.log('\npreflight: a run over the number of checks, chains of ten that look at nothing: ms')
  const rows: Row[] = []
  await measure(counts[0]!, 5) // warm up
  for (const checks of counts) {
    const row = { checks, ms: await measure(checks, options.rounds) }
    rows.push(row)
    console.log(
      `  ${String(checks).padStart(5)} checks  ${row.ms.toFixed(1)} ms  ${((row.ms / checks) * 1_000).toFixed(0)} µs each`,
    )
  }
  writePlot(options, 'preflight.svg', {
    title: 'Preflight: ms over the number of checks',
    x: 'checks',
    lines: [{ name: 'run', points: rows.map(({ checks, ms }) => [checks, ms] as const) }],
  })
  return rows
}

async function measure(count: number, rounds: number): Promise<number> {
  const catalogue = Array.from({ length: count }, (_, index) => check(index))
  const times: number[] = []
  for (let round = 0; round < rounds; round++) {
    const startedMs = performance.now()
    const { canonical } = await runPreflight({ env: {} }, { catalogue, localAddresses: [] })
    times.push(performance.now() - startedMs)
    if (canonical.counts.pass !== count) throw new Error(`${canonical.counts.pass} of ${count} passed`)
  }
  return quantile(times, 0.5)
}

function check(index: number): Check {
  const id = (number: number): string => `bench-${Math.floor(number / 10)}.check-${String(number).padStart(5, '0')}`
  return {
    id: id(index),
    title: 'made up',
    proves: 'nothing',
    evidence: 'none',
    fix: 'none',
    runbook: [],
    phase: 'deps',
    severity: 'high',
    class: 'dependency',
    requires: index % 10 === 0 ? [] : [id(index - 1)],
    appliesWhen: { name: 'always', test: () => ({ holds: true, because: 'always' }) },
    deadlineMs: 1_000,
    effects: [],
    shape: { seen: 'number' },
    probe: () => Promise.resolve({ seen: index }),
    judge: (facts) => passed('seen', facts),
    worlds: { passes: [], fails: [], ignores: [] },
  }
}
