// Lines of the runbook that ask for a whole service: names for the checks that prove it, without a fault of their own.
// Whatever they require that did not pass keeps its own name in the report, and these wait on it.
import { type Check, passed } from './check.ts'

type RollUp = Pick<Check, 'id' | 'title' | 'proves' | 'runbook' | 'severity' | 'requires'> & Partial<Check>

export function rollUp(spec: RollUp): Check {
  return {
    phase: 'deps',
    class: 'dependency',
    evidence: 'The checks it waits on.',
    fix: 'What the check says that it waits on.',
    appliesWhen: { name: 'always', test: () => ({ holds: true, because: 'always' }) },
    deadlineMs: 1_000,
    effects: [],
    isRollUp: true,
    shape: {},
    judge: () => passed(),
    worlds: { passes: [], fails: [], ignores: [] },
    ...spec,
  }
}

const valkey = ['connect', 'ping', 'identity', 'roundtrip'].map((name) => `dep.valkey.${name}`)
const postgres = ['connect', 'version', 'writable', 'privileges', 'roundtrip', 'migrations'].map(
  (name) => `dep.postgres.${name}`,
)
const nats = ['connect', 'identity', 'pubsub', 'permissions', 'jetstream'].map((name) => `dep.nats.${name}`)
const ollama = ['reachable', 'model-present'].map((name) => `dep.ollama.${name}`)

export const rollUps: readonly Check[] = [
  rollUp({
    id: 'bus.valkey-reachable',
    title: 'Valkey or Redis is there and does what is needed',
    proves: 'The chain of Valkey, from the address to a round trip.',
    runbook: ['L22', 'L64'],
    severity: 'blocker',
    requires: ['bus.valkey-url-configured', ...valkey],
  }),
  rollUp({
    id: 'bus.postgres-reachable',
    title: 'Postgres is there and does what is needed',
    proves: 'The chain of Postgres, from the address to the migrations.',
    runbook: ['L23', 'L64'],
    severity: 'blocker',
    requires: ['bus.postgres-url-configured', ...postgres],
  }),
  rollUp({
    id: 'shield.nats-reachable',
    title: 'NATS is there and does what is needed',
    proves: 'The chain of NATS, with the credentials that Shield uses.',
    runbook: ['L33'],
    severity: 'blocker',
    requires: ['shield.nats-url-configured', ...nats],
  }),
  rollUp({
    id: 'dep.all-reachable',
    title: 'Every service that is needed can be reached',
    proves: 'Valkey, Postgres and NATS, and Ollama where it is enabled, each passed their chain.',
    runbook: ['L13'],
    severity: 'blocker',
    requires: [...valkey, ...postgres, ...nats, ...ollama],
  }),
]
