// The other side of the refusals: without a fault the same candidate starts, with what the environment declares and
// nothing else. A program that never starts would refuse everything.
import type { JsonObject } from '../../base/json.ts'
import { version } from '../../base/version.ts'
import type { Finding } from '../../rules/rule.ts'
import { type Check, defineCheck, judgeAll, type World } from '../check.ts'
import { listed, word } from '../runtime/host.ts'
import { proveSystem, servers, unborn } from './system.ts'

function faultsOf(program: string, facts: JsonObject | undefined): Finding[] {
  const findings: Finding[] = []
  const add = (code: string, found: string, fix: string): void =>
    void findings.push({ code, variable: program, found: `${program} ${found}`, fix })
  if (facts === undefined || facts['isUp'] !== true) {
    const reasons = Array.isArray(facts?.['reasons']) ? facts['reasons'].map(word) : []
    const why = reasons.length === 0 ? 'without a reason that is known' : `because of ${listed(reasons)}`
    add('DID_NOT_START', `did not start, ${why}`, 'read its standard error in the incident bundle')
    return findings
  }
  const { health, version: own, exit, signal, isLate } = facts
  if (health !== 200) add('NOT_HEALTHY', `answered /health with ${word(health)}`, 'see which component is down')
  if (own !== version) {
    add('OTHER_VERSION', `says that it is ${word(own)}`, 'start the preflight of the package that is deployed')
  }
  if (isLate === true || signal !== '' || exit !== 0) {
    const how = isLate === true ? 'did not end' : signal === '' ? `ended with ${word(exit)}` : `died of ${word(signal)}`
    add('BAD_END', `was asked to end and ${how}`, 'see what its drain waits for')
  }
  return findings
}

const good = (program: string): JsonObject => ({
  program,
  isUp: true,
  health: 200,
  version,
  exit: 0,
  signal: '',
  isLate: false,
  reasons: [],
})
const [bus, shield] = [good('bus'), good('shield')]
interface Facts {
  readonly programs: readonly JsonObject[]
}
const world = (name: string, ...programs: JsonObject[]): World<Facts> & { facts: Facts } => ({
  name,
  facts: { programs },
})
const fails = (name: string, code: string, program: 'bus' | 'shield', ...programs: JsonObject[]) => ({
  ...world(name, ...programs),
  expect: { code, findings: [`${program} ${code}`] },
})

export type Given = Pick<Check, 'appliesWhen' | 'deadlineMs' | 'effects'> & {
  readonly at: Parameters<typeof proveSystem>[2]
}

export function cleanStartCheck({ at, ...given }: Given): Check {
  return defineCheck({
    ...given,
    id: 'boot.starts-from-clean-tree',
    title: 'The candidate starts with what is declared, and nothing else',
    proves:
      'With the declared variables and PATH only, an empty data folder and stand-ins for Valkey, Postgres and NATS on loopback, bus and Shield of this package start, are healthy, are of this version and end when asked. As staging: production refuses addresses of its own machine. It says nothing of the services of production, which the phase deps asks.',
    evidence: 'What each said when it listened, /health, /version, and how it ended.',
    fix: 'The finding names the program; its whole output is in the incident bundle.',
    runbook: ['L65'],
    phase: 'boot',
    severity: 'blocker',
    class: 'regression',
    requires: ['meta.config-valid', 'runtime.tree-matches-lock'],
    shape: { programs: 'objects' },
    probe: async (ports, signal) => ({ programs: (await proveSystem(ports, signal, at)).programs }),
    judge({ programs }) {
      const findings = servers.flatMap((name) =>
        faultsOf(
          name,
          programs.find(({ program }) => program === name),
        ),
      )
      return judgeAll(findings, 'bus and shield started, answered and ended', { version })
    },
    worlds: {
      passes: [world('both start', bus, shield)],
      fails: [
        fails('the bus is missing', 'DID_NOT_START', 'bus', shield),
        fails('Shield is missing', 'DID_NOT_START', 'shield', bus),
        fails('the bus refuses', 'DID_NOT_START', 'bus', { ...bus, ...unborn, exit: 78, reasons: ['A B'] }, shield),
        fails('Shield is sick', 'NOT_HEALTHY', 'shield', bus, { ...shield, health: 503 }),
        fails('the bus is of another package', 'OTHER_VERSION', 'bus', { ...bus, version: '0.0.9' }, shield),
        fails('Shield does not end', 'BAD_END', 'shield', bus, { ...shield, isLate: true }),
        fails('Shield dies', 'BAD_END', 'shield', bus, { ...shield, signal: 'SIGSEGV' }),
        fails('Shield ends badly', 'BAD_END', 'shield', bus, { ...shield, exit: 1 }),
        {
          name: 'no program that could stand in',
          stopped: { code: 'NO_STAND_IN', observed: 'no nats-server was found' },
          expect: { status: 'error', code: 'NO_STAND_IN', class: 'dependency' },
        },
      ],
      ignores: [world('in another order, with warnings', { ...shield, reasons: ['A B'] }, bus)],
      skips: [{ name: 'development', env: { ARQONBUS_ENVIRONMENT: 'development' } }],
    },
  })
}
