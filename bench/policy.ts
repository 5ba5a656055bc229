// What policies cost a frame at the edge: the same frame through the chain, in this thread, beside no policy at all.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/base/clock.ts'
import { silentLogger } from '../src/base/logger.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'
import { allowAll, type Policy, type PolicyInput } from '../src/policy/policy.ts'
import { openPolicies } from '../src/policy/policy-chain.ts'
import { defaultWireLimits } from '../src/wire/limits.ts'
import { scanFrame } from '../src/wire/message-frame.ts'
import { encodeProtobuf } from '../src/wire/protobuf-codec.ts'
import { assemble } from '../scripts/assemble.ts'
import { quantile } from './statistics.ts'
import type { Suite } from './suite.ts'

const framesPerRound = 200_000
const warmUp = 50_000
const payloadBytes = [128, 1_024, 16_384]

/** Copies the payload out of the host and adds all of it up, byte by byte. */
const readsPayload = `(module
  (import "env" "host_get_payload" (func $payload (param i32 i32) (result i32)))
  (memory (export "memory") 4 4)
  (func (export "policy_check") (param $at i32) (param $len i32) (result i32)
    (local $i i32) (local $n i32) (local $sum i32)
    (local.set $n (call $payload (i32.const 131072) (i32.const 65536)))
    (loop $next
      (local.set $sum (i32.add (local.get $sum) (i32.load8_u offset=131072 (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_s (local.get $i) (local.get $n))))
    (i32.eqz (local.get $sum))))`

interface Row {
  readonly policy: string
  readonly payloadBytes: number
  /** Of this thread's own time for a frame; median of the rounds. */
  readonly microseconds: number
  readonly fuel: number
}

export const policy: Suite = async ({ rounds }) => {
  const folder = mkdtempSync(join(tmpdir(), 'arqonbus-bench-'))
  try {
    writeFileSync(join(folder, 'reads-payload.wasm'), await assemble('reads-payload', readsPayload))
    const shipped = join(import.meta.dirname, '../policies')
    const files = [
      join(shipped, 'block-empty.wasm'),
      join(shipped, 'size-budget.wasm'),
      join(folder, 'reads-payload.wasm'),
      join(shipped, 'forbid-words.wasm'),
    ]
    const rows: Row[] = []
    for (const bytes of payloadBytes) {
      rows.push(measure({ policy: allowAll, fuelSoFar: () => 0 }, bytes, rounds))
      for (const file of files) {
        const chain = await openPolicies(
          {
            files: [file],
            fuel: 2_000_000,
            maxMemoryPages: 64,
            maxInstances: 128,
            deadlineMs: 25,
            threads: 1,
            maxWaiting: 1,
            reloadMs: 0,
          },
          { clock: systemClock, logger: silentLogger, metrics: createMetrics('shield') },
        )
        const fuelSoFar = (): number => chain.meter.fuel[chain.name] ?? 0
        rows.push(measure({ policy: chain, fuelSoFar }, bytes, rounds))
        await chain.close()
      }
    }
    console.log('\npolicies in-thread, metrics on: microseconds of the thread for a frame, median of the rounds')
    console.table(rows.map((row) => ({ ...row, microseconds: row.microseconds.toFixed(2) })))
    return rows
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

interface Subject {
  readonly policy: Policy
  readonly fuelSoFar: () => number
}

function measure({ policy: { name, decide }, fuelSoFar }: Subject, payload: number, rounds: number): Row {
  const input = inputOf(payload)
  const frames = Math.max(2_000, Math.round(framesPerRound / Math.max(1, payload / 128)))
  const run = (count: number): void => {
    for (let i = 0; i < count; i++) {
      const verdict = decide(input)
      // The budget denies some of the large ones, which costs the same.
      if (verdict instanceof Promise || (!verdict.allows && verdict.code === 'POLICY_ERROR')) {
        throw new Error(`${name} did not decide at once`)
      }
    }
  }
  run(Math.min(warmUp, frames))
  const before = fuelSoFar()
  run(1)
  const fuel = fuelSoFar() - before
  const times = Array.from({ length: rounds }, () => {
    const start = process.threadCpuUsage()
    run(frames)
    const { user, system } = process.threadCpuUsage(start)
    return (user + system) / frames
  })
  return { policy: name, payloadBytes: payload, microseconds: quantile(times, 0.5), fuel }
}

function inputOf(payload: number): PolicyInput {
  const frame = encodeProtobuf({
    id: 'arq_1700000000000000000_1_abcdef',
    timestamp: '2026-01-01T00:00:00.000Z',
    type: 'message',
    version: '1.0',
    room: 'bench',
    channel: 'policy',
    payload: { text: 'a word after a word, '.repeat(payload).slice(0, payload) },
    args: {},
    metadata: {},
  })
  return {
    identity: { tenant: 'bench', subject: 'bench', role: 'user' },
    clientId: 'bench',
    trace: 'bench',
    frame,
    payload: scanFrame(frame, defaultWireLimits).payload,
    headers: {},
  }
}
