// Five thousand clients lose their Shield and come to another one within two seconds: with raised rates all are back
// within 15 s, with the default ones, and with a fifth of those, within two minutes. Whether the default ones refuse
// anybody depends on how fast the machine opens sockets; the fifth does, and tells when to come back.
import { expect, it } from 'vitest'
import { defaultRates, runStorm, stormRates } from '../support/launch/storm-run.ts'
import { describeLimits } from '../support/launch/raised-limits.ts'
import { skipWithout } from '../support/servers/neighbours.ts'

const count = 5_000
const good = { withoutRetryAfter: 0, violations: 0, gaps: 0, exitCodes: [0, 0] }

it.skipIf(skipWithout('nats')).each([
  ['raised rates', stormRates, 15_000],
  ['default rates', defaultRates, 120_000],
  ['low rates', { ...defaultRates, SHIELD_LIMIT_HANDSHAKES_PER_SECOND: '200' }, 120_000],
] as const)('a storm of five thousand with %s', async (name, rates, withinMs) => {
  const outcome = await runStorm(count, rates)
  process.stdout.write(`storm of ${count}, ${name} (${describeLimits(rates)}): ${JSON.stringify(outcome)}\n`)
  expect(outcome).toMatchObject(good)
  expect(outcome.tookMs).toBeLessThan(withinMs)
  if (name === 'raised rates') expect(outcome.refusals).toEqual({})
  if (name === 'low rates')
    expect(Object.values(outcome.refusals).reduce((sum, one) => sum + one, 0)).toBeGreaterThan(1_000)
})
