// `npm run bench [suite …]`: measures the bus beside nats-server and redis-server where they are on PATH, prints
// tables with ratios, writes JSON and SVG plots under .bench/. Servers run on core 0, stores and the load on core 1.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { fairness } from './fairness.ts'
import { fanOut } from './fan-out.ts'
import { history } from './history.ts'
import { idle } from './idle.ts'
import { ingest } from './ingest.ts'
import { latency } from './latency.ts'
import { raisedLimits } from './peers.ts'
import { policy } from './policy.ts'
import { preflight } from './preflight.ts'
import { shieldIdle } from './shield-idle.ts'
import { projector } from './projector.ts'
import { shield } from './shield.ts'
import { store } from './store.ts'
import type { Suite, SuiteOptions } from './suite.ts'

const suites: Readonly<Record<string, Suite>> = {
  'fan-out': fanOut,
  latency,
  ingest,
  store,
  shield,
  policy,
  history,
  fairness,
  idle,
  'shield-idle': shieldIdle,
  projector,
  preflight,
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    subscribers: { type: 'string', default: '1,10,100,1000,2000' },
    rounds: { type: 'string', default: '5' },
    sessions: { type: 'string', default: '10000' },
    lengths: { type: 'string', default: '1000,10000,100000,1000000' },
    stores: { type: 'string', default: '' },
    out: { type: 'string', default: '.bench' },
    profile: { type: 'boolean', default: false },
  },
})
const wanted = positionals.length === 0 ? Object.keys(suites) : positionals
for (const name of wanted) {
  if (suites[name] === undefined) {
    console.error(`no suite is called ${name}; there are ${Object.keys(suites).join(', ')}`)
    process.exit(64)
  }
}
// The load keeps off the core of the server it measures.
if (process.env['ARQONBUS_BENCH_PINNED'] === undefined) {
  const { status } = spawnSync('taskset', ['-c', '1', process.execPath, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: {
      ...process.env,
      ARQONBUS_BENCH_PINNED: '1',
      ...(values.profile && { ARQONBUS_BENCH_PROFILES: resolve(values.out, 'profiles') }),
    },
  })
  process.exit(status ?? 1)
}

const numbers = (text: string) => text.split(',').map(Number)
const options: SuiteOptions = {
  rounds: Number(values.rounds),
  subscribers: numbers(values.subscribers),
  sessions: Number(values.sessions),
  lengths: numbers(values.lengths),
  stores: values.stores === '' ? [] : values.stores.split(','),
  out: values.out,
}
const versions = {
  node: process.version,
  'nats-server': versionOf('nats-server', '-v'),
  'redis-server': versionOf('redis-server', '-v'),
  postgres: versionOf('postgres', '-V'),
}
const file = join(values.out, 'results.json')
mkdirSync(values.out, { recursive: true })
/** By suite; what another run found stays beside it. */
const results: Record<string, unknown> = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}

console.log(
  Object.entries(versions)
    .map(([name, version]) => `${name}: ${version ?? 'not found'}`)
    .join('\n'),
)
console.log(
  `load average before: ${loadavg()
    .map((value) => value.toFixed(2))
    .join(' ')}`,
)
for (const name of wanted) {
  const at = new Date().toISOString()
  const loadBefore = loadavg()
  const rows = await suites[name]!(options)
  results[name] = { at, rounds: options.rounds, cpu: cpus()[0]?.model, loadBefore, versions, raisedLimits, rows }
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`)
}
console.log(
  `\nraised limits: ${Object.entries(raisedLimits)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')}`,
)
console.log(`written: ${file}`)
process.exit(0)

function versionOf(command: string, flag: string): string | undefined {
  const { status, stdout } = spawnSync(command, [flag])
  return status === 0 ? stdout.toString().trim().split('\n')[0] : undefined
}
