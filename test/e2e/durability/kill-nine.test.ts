// P1 to P4 of reliability.md: kill -9 of the whole system under load loses, repeats and reorders nothing that was
// acknowledged, and every recovery is complete. And the test that this test can fail.
import { expect, it } from 'vitest'
import { checkHistory, type HistoryEvent } from '../../support/history-checker.ts'
import { type KillReport, runKills } from '../../support/launch/kill-run.ts'
import { describeLimits, raisedLimits } from '../../support/launch/raised-limits.ts'
import { chooseSeed } from '../../support/launch/seeded.ts'

function print(title: string, seed: number, report: KillReport): void {
  const { acks, unknown, duplicates, recoveries, replayed, resent } = report
  process.stdout.write(
    `${title}: TEST_SEED=${seed} acks=${acks} unknown=${unknown} duplicates=${duplicates} recoveries=${recoveries} ` +
      `replayed=${replayed} resent=${resent.count} events=${report.events.length}\n  ${describeLimits(raisedLimits)}\n`,
  )
}

/** Half a minute on a machine of its own; most of it are starts, which slow down with everything else on the machine. */
const timeoutMs = 300_000

it('twenty kill -9 under load lose, repeat and reorder nothing that was acknowledged', {
  timeout: timeoutMs,
}, async () => {
  const seed = chooseSeed()
  let kills = 0
  const onKill = (): void => void kills++
  const report = await runKills({
    seed,
    kills: 20,
    backend: 'embedded',
    acksPerLife: [200, 400],
    acksAtEnd: 600,
    onKill,
  })
  print('kill-nine', seed, report)

  expect(checkHistory(report.events, { isReadToEnd: true })).toEqual([])
  expect(report.missing).toEqual([])
  expect(report.refusedRecoveries).toBe(0)
  expect(report.resent.wrong).toEqual([])
  expect(report.exitCode).toBe(0)

  // A run in which too little happened proves nothing.
  expect(kills).toBeGreaterThanOrEqual(20)
  expect(report.acks).toBeGreaterThanOrEqual(5_000)
  expect(report.unknown).toBeGreaterThanOrEqual(100)
  expect(report.resent.count).toBeGreaterThanOrEqual(500)
  expect(report.recoveries).toBeGreaterThanOrEqual(20 * 8)
  expect(report.replayed).toBeGreaterThanOrEqual(20)
})

it('the same run against a store that keeps nothing is found out', async () => {
  const seed = chooseSeed()
  const report = await runKills({ seed, kills: 1, backend: 'memory', acksPerLife: [600, 600], acksAtEnd: 0 })
  print('memory', seed, report)

  expect(report.missing.length).toBeGreaterThan(100)
  expect(report.refusedRecoveries).toBeGreaterThan(0)
  // The epoch rose, so nobody was deceived: judged with it, the loss was announced.
  expect(checkHistory(report.events, { isReadToEnd: true })).toEqual([])
  // A store that lies goes on in the same epoch, as if nothing had happened.
  // Judged by the log alone: what readers got before the kill was not lost to them.
  const told = report.events.filter((event) => !('reader' in event) || event.reader === 'log').map(inOneEpoch)
  const found = new Set(checkHistory(told, { isReadToEnd: true }).map(({ rule }) => rule))
  expect(found).toContain('C1')
  expect(found).toContain('C4')
})

const inOneEpoch = (event: HistoryEvent): HistoryEvent => ('epoch' in event ? { ...event, epoch: 1 } : event)
