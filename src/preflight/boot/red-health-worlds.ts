// Worlds of the cuts: each as it has to be, and every way in which one can be wrong.
import type { JsonObject } from '../../base/json.ts'
import type { FailingWorld, World, Worlds } from '../check.ts'
import { type CutCase, cutCases } from './cuts.ts'

interface Facts {
  readonly cuts: readonly JsonObject[]
}

const good = ({ program, service, components }: CutCase): JsonObject => ({
  program,
  service,
  before: 'healthy',
  during: 'unhealthy',
  named: [components[0]!],
  redMs: 300,
  after: 'healthy',
})
const all = cutCases.map(good)
const isOf =
  ({ program, service }: CutCase) =>
  (cut: JsonObject): boolean =>
    cut['program'] === program && cut['service'] === service
const but = (one: CutCase, changes: JsonObject): Facts => ({
  cuts: all.map((cut) => (isOf(one)(cut) ? { ...cut, ...changes } : cut)),
})
const failing = (one: CutCase, what: string, code: string, facts: Facts): FailingWorld<Facts> => ({
  name: `${one.program} without ${one.service}: ${what}`,
  facts,
  // A program and its service are one name; the code stands alone.
  expect: { code, findings: [`${one.program} ${one.service} ${code}`] },
})
const named = (name: string, one: CutCase, changes: JsonObject): World<Facts> => ({ name, facts: but(one, changes) })
const [first] = cutCases as readonly [CutCase, ...CutCase[]]

export const redHealthWorlds: Worlds<Facts> = {
  passes: [{ name: 'each is seen', facts: { cuts: all } }],
  fails: [
    ...cutCases.flatMap((one) => [
      failing(one, 'always green', 'STAYED_GREEN', but(one, { during: 'healthy', named: [] })),
      failing(one, 'green, though a component is not', 'STAYED_GREEN', but(one, { during: 'healthy' })),
      failing(one, 'red without a name', 'NOT_NAMED', but(one, { named: [] })),
      failing(one, 'another name', 'NOT_NAMED', but(one, { named: ['delivery'] })),
      failing(one, 'no answer', 'NOT_NAMED', but(one, { during: 'no answer', named: 'none' })),
      failing(one, 'red for ever', 'STAYED_RED', but(one, { after: 'unhealthy' })),
      failing(one, 'degraded for ever', 'STAYED_RED', but(one, { after: 'degraded' })),
      failing(one, 'red before', 'NOT_HEALTHY_BEFORE', but(one, { before: 'degraded' })),
      failing(one, 'not tried', 'NOT_TRIED', { cuts: all.filter((cut) => !isOf(one)(cut)) }),
    ]),
    {
      name: 'the candidate did not start',
      stopped: { code: 'NO_CANDIDATE', observed: 'bus and Shield did not both start' },
      expect: { status: 'error', code: 'NO_CANDIDATE', class: 'regression' },
    },
    {
      name: 'no program that could stand in',
      stopped: { code: 'NO_STAND_IN', observed: 'no nats-server was found' },
      expect: { status: 'error', code: 'NO_STAND_IN', class: 'dependency' },
    },
  ],
  ignores: [
    named('degraded is red enough', first, { during: 'degraded', redMs: 9_990 }),
    named('the last name of several', first, { named: ['delivery', first.components.at(-1)!] }),
  ],
  skips: [{ name: 'development', env: { ARQONBUS_ENVIRONMENT: 'development' } }],
}
