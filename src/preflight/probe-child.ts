// A process that looks: told which check, it answers with facts. It is killed by its parent, never by itself.
import { systemClock } from '../base/clock.ts'
import { randomHex } from '../base/ids.ts'
import type { Profile } from '../config/shapes.ts'
import { createRuleContext } from '../rules/context.ts'
import { createCatalogue } from './catalogue.ts'
import { describeFault } from './build-report.ts'
import type { Answer, Check, CheckPorts } from './check.ts'
import { lookHere, type ProbeInputs, type ProbeRequest } from './prober.ts'
import { loadModuleCheck } from './plugins/module-file.ts'
import { ProbeStop } from './stops.ts'
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

/** A plug-in is loaded when its check is asked for, and only that one. */
async function checkOf(id: string, { plugins = [] }: ProbeInputs): Promise<Check | undefined> {
  const plugin = plugins.find(({ ids }) => ids.includes(id))
  return plugin === undefined ? catalogue.get(id) : await loadModuleCheck(plugin, id)
}

async function answerTo({ id, inputs, deadlineMs }: ProbeRequest): Promise<Answer> {
  try {
    const check = await checkOf(id, inputs)
    if (check !== undefined) return await lookHere({ ...check, deadlineMs }, portsOf(inputs))
    return { stopped: { code: 'THREW', observed: `no check is called ${id}` } }
  } catch (error) {
    if (error instanceof ProbeStop) return { stopped: error.stopped }
    return { stopped: { code: 'THREW', observed: describeFault(error) } }
  }
}

process.on('message', (request: ProbeRequest) => {
  void answerTo(request).then((found) => process.send?.(found))
})
process.on('disconnect', () => process.exit())
process.send?.('ready')
