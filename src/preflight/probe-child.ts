// A process that looks: told which check, it answers with facts. It is killed by its parent, never by itself.
import { systemClock } from '../base/clock.ts'
import { randomHex } from '../base/ids.ts'
import type { Profile } from '../config/shapes.ts'
import { createRuleContext } from '../rules/context.ts'
import { createCatalogue } from './catalogue.ts'
import type { Answer, CheckPorts } from './check.ts'
import { lookHere, type ProbeInputs, type ProbeRequest } from './prober.ts'
import { targetsOf } from './targets.ts'

const catalogue = new Map(createCatalogue().map((check) => [check.id, check]))

function portsOf({ env, asked, targets, policy, now, runId }: ProbeInputs): CheckPorts {
  return {
    ctx: createRuleContext(env, asked === undefined ? {} : { asked: asked as Profile }), // as the parent checked it
    targets: targetsOf(targets),
    policy,
    now,
    clock: systemClock,
    nonce: () => randomHex(16),
    runId,
  }
}

process.on('message', ({ id, inputs, deadlineMs }: ProbeRequest) => {
  const check = catalogue.get(id)
  const answer: Promise<Answer> =
    check === undefined
      ? Promise.resolve({ stopped: { code: 'THREW', observed: `no check is called ${id}` } })
      : lookHere({ ...check, deadlineMs }, portsOf(inputs))
  void answer.then((found) => process.send?.(found))
})
process.on('disconnect', () => process.exit())
process.send?.('ready')
