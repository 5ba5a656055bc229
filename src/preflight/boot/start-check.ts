// The other side of the refusals: without a fault the same candidate starts, with what the environment declares and
// nothing else. A program that never starts would refuse everything.
import type { JsonObject } from '../../base/json.ts'
import { version } from '../../base/version.ts'
import { type Check, defineCheck, type World } from '../check.ts'
import type { Host } from '../runtime/host.ts'
import { judgeStarts } from './start-judges.ts'
import { proveCleanStart, unborn } from './system.ts'

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

export type Given = Pick<Check, 'appliesWhen' | 'deadlineMs' | 'effects' | 'lane'> & {
  readonly at: { readonly host: Host; readonly redMs: number }
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
    probe: async (ports, signal) => ({ programs: await proveCleanStart({ ports, signal, host: at.host }) }),
    judge: judgeStarts,
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
