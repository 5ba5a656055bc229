// P1 to P4 of reliability.md on real stores: bus, Valkey and Postgres killed and frozen under load, and nothing
// acknowledged is lost, stored twice, out of order or delivered after it was refused.
import { describe, expect, it } from 'vitest'
import { type ChaosReport, describeChaos, runChaos } from '../../support/launch/chaos-run.ts'
import { chooseSeed } from '../../support/launch/seeded.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const faults = 20
const acks = 20_000

function judge(report: ChaosReport): void {
  expect(report.violations.slice(0, 5)).toEqual([])
  expect(report.gaps.slice(0, 5)).toEqual([])
  expect(report.exitCode).toBe(0)
  // A run in which too little happened proves nothing.
  expect(report.acks).toBeGreaterThanOrEqual(acks)
  expect(Object.values(report.faults).reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(faults)
  expect(report.counts.unknown).toBeGreaterThan(0)
  expect(report.counts.refused).toBeGreaterThan(0)
  expect(report.counts.duplicates).toBeGreaterThan(0)
}

describe.skipIf(skipWithout('valkey', 'postgres'))('history on real stores', () => {
  it.each(['valkey', 'postgres'] as const)(
    '%s: twenty kills and freezes lose, repeat and reorder nothing acknowledged',
    {
      timeout: 240_000,
    },
    async (backend) => {
      const seed = chooseSeed()
      const report = await runChaos({ seed, backend, faults, acks, freezeMs: [1_000, 3_000] })
      process.stdout.write(`chaos ${backend}: ${describeChaos(seed, report)}\n`)
      judge(report)
    },
  )
})
