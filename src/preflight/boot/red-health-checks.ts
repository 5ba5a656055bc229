// Health that can turn red (L54). The live phase may not cut a store of a running system; here it is the candidate's own.
import type { JsonObject } from '../../base/json.ts'
import type { Finding } from '../../rules/rule.ts'
import { type Check, defineCheck, judgeAll } from '../check.ts'
import { word } from '../runtime/host.ts'
import { type CutCase, cutCases } from './cuts.ts'
import { redHealthWorlds } from './red-health-worlds.ts'
import type { Given } from './start-check.ts'
import { cutSystem } from './system.ts'

const fix = 'repair what the program reports of itself at /ready: whoever watches it is told nothing'

function faultsOf({ program, service, components }: CutCase, cuts: readonly JsonObject[]): Finding[] {
  const fault = (code: string, found: string): Finding[] => [{ code, variable: `${program} ${service}`, found, fix }]
  const cut = cuts.find((one) => one['program'] === program && one['service'] === service)
  if (cut === undefined) return fault('NOT_TRIED', `${service} was not cut off`)
  const { before, during, after, named } = cut
  if (before !== 'healthy') return fault('NOT_HEALTHY_BEFORE', `/ready said ${word(before)} with everything there`)
  if (during === 'healthy') return fault('STAYED_GREEN', `/ready said healthy with ${service} cut off`)
  const names = Array.isArray(named) ? named.map(word) : []
  if (!components.some((name) => names.includes(name))) {
    return fault(
      'NOT_NAMED',
      `/ready named [${names.join(', ')}], not ${components.join(' or ')}, with ${service} cut off`,
    )
  }
  return after === 'healthy' ? [] : fault('STAYED_RED', `/ready said ${word(after)} with ${service} back`)
}

export function redHealthCheck({ at, ...given }: Given): Check {
  return defineCheck({
    ...given,
    id: 'boot.health-turns-red',
    title: 'Health turns red when something is away, and green again',
    proves: `With Valkey, then Postgres and NATS cut off from the candidate, /ready of the bus leaves healthy within ${at.redMs / 1_000} s and names the part that is away, that of Shield for NATS too; once they are back, each is healthy again. An endpoint that is always green is found here.`,
    evidence: 'What /ready said before, with the service cut off, and after, and which components it named meanwhile.',
    fix: 'The finding names the program and the service: look at how it watches that service.',
    runbook: ['L54'],
    phase: 'boot',
    severity: 'blocker',
    class: 'regression',
    // Where there is one, the payload goes first: a cut would swallow it.
    requires: ['boot.starts-from-clean-tree', 'boot.routes-payload'],
    shape: { cuts: 'objects' },
    probe: async (ports, signal) => ({ cuts: await cutSystem({ ports, signal, host: at.host }, at) }),
    judge({ cuts }) {
      const findings = cutCases.flatMap((one) => faultsOf(one, cuts))
      const observed = cuts.map(
        ({ program, service, redMs }) => `${word(program)} without ${word(service)}: ${word(redMs)} ms`,
      )
      return judgeAll(findings, observed.join('; '), {
        cut: cutCases.map(({ program, service }) => `${program} ${service}`),
      })
    },
    worlds: redHealthWorlds,
  })
}
