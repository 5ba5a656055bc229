// The harness of e2e/durability for longer: two hundred kills. Not part of `npm test`.
import { expect, it } from 'vitest'
import { checkHistory } from '../support/history-checker.ts'
import { runKills } from '../support/launch/kill-run.ts'
import { describeLimits, raisedLimits } from '../support/launch/raised-limits.ts'
import { chooseSeed } from '../support/launch/seeded.ts'

const kills = 200

it('two hundred kill -9 under load lose, repeat and reorder nothing that was acknowledged', async () => {
  const seed = chooseSeed()
  process.stdout.write(`kill-nine soak: TEST_SEED=${seed}\n  ${describeLimits(raisedLimits)}\n`)
  let killed = 0
  const onKill = (kill: number, acks: number): void => {
    killed = kill
    if (kill % 20 === 0) process.stdout.write(`  ${kill} kills, ${acks} acknowledgements\n`)
  }
  const report = await runKills({
    seed,
    kills,
    backend: 'embedded',
    acksPerLife: [100, 400],
    acksAtEnd: 1_000,
    onKill,
  })
  const { events, missing: _, resent, ...figures } = report
  process.stdout.write(`  ${JSON.stringify({ ...figures, events: events.length, resent: resent.count })}\n`)
  expect(checkHistory(events, { isReadToEnd: true })).toEqual([])
  expect(report.missing).toEqual([])
  expect(resent.wrong).toEqual([])
  expect(report.refusedRecoveries).toBe(0)
  expect(report.exitCode).toBe(0)
  expect(killed).toBe(kills)
  expect(report.acks).toBeGreaterThanOrEqual(40_000)
})
