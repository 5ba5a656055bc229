// A reconnect storm of some hundred clients; `test/soak` has the one of five thousand. Rates are set so low that the
// default case refuses: what is small here is the number, not what is tested.
import { describe, expect, test } from 'vitest'
import { runStorm, stormRates } from '../../support/launch/storm-run.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const count = 400

describe.skipIf(skipWithout('nats'))('a reconnect storm', () => {
  test('with raised rates: all are back at once, nobody is refused, no acknowledgement is lost', async () => {
    const outcome = await runStorm(count, stormRates)
    process.stdout.write(`storm of ${count}, raised rates: ${JSON.stringify(outcome)}\n`)
    expect(outcome).toMatchObject({ refusals: {}, lost: 0, violations: 0, gaps: 0, exitCodes: [0, 0] })
    expect(outcome.tookMs).toBeLessThan(15_000)
  })

  test('with rates below it: the others are told when to come back, and all are', async () => {
    const outcome = await runStorm(count, {
      SHIELD_LIMIT_HANDSHAKES_PER_SECOND: '70',
      SHIELD_LIMIT_HANDSHAKES_PER_SECOND_PER_TENANT: '10', // of five: fewer than the gateway takes, so both bounds refuse
    })
    process.stdout.write(`storm of ${count}, low rates: ${JSON.stringify(outcome)}\n`)
    expect(outcome).toMatchObject({ withoutRetryAfter: 0, lost: 0, violations: 0, gaps: 0, exitCodes: [0, 0] })
    expect(outcome.refusals['503']).toBeGreaterThan(0)
    expect(outcome.refusals['429']).toBeGreaterThan(0)
    expect(outcome.tookMs).toBeLessThan(60_000)
  })
})
