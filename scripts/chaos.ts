// `npm run chaos -- --minutes 60 [--backend valkey|postgres] [--seed N]`: the chaos run of the tests for longer, with
// freezes of up to ten seconds. Prints each fault as it happens and ends with 1 when anything acknowledged was lost,
// repeated, reordered, or delivered after it was refused.
import { parseArgs } from 'node:util'
import { describeChaos, runChaos } from '../test/support/launch/chaos-run.ts'
import { chooseSeed } from '../test/support/launch/seeded.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    backend: { type: 'string', default: 'valkey' },
    seed: { type: 'string' },
  },
})
const minutes = Number(values.minutes)
const { backend } = values
if (!(minutes > 0) || (backend !== 'valkey' && backend !== 'postgres')) {
  console.error('usage: npm run chaos -- --minutes 60 [--backend valkey|postgres] [--seed N]')
  process.exit(64)
}
const seed = values.seed === undefined ? chooseSeed() : Number(values.seed)
console.log(`chaos on ${backend} for ${minutes} minutes, seed ${seed}`)
let count = 0
const report = await runChaos({
  seed,
  backend,
  faults: 20,
  acks: 20_000,
  minutes,
  freezeMs: [1_000, 10_000],
  onFault: (fault, acks) => console.log(`${++count} ${fault}, after ${acks} acknowledgements`),
})
console.log(describeChaos(seed, report))
for (const violation of report.violations.slice(0, 20)) console.log(JSON.stringify(violation))
for (const gap of report.gaps.slice(0, 20)) console.log(gap)
process.exitCode = report.violations.length + report.gaps.length === 0 ? 0 : 1
