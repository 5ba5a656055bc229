// Worlds of gate.isolated.
import type { JsonObject, Worlds } from '../check.ts'
import { attestation, attestedFails } from './attestation-worlds.ts'
import type { IsolationFacts } from './isolation-probes.ts'

const at = (service: string, identity: string): JsonObject => ({ service, server: `${service} of the world`, identity })
const silent: JsonObject = { service: 'valkey', server: 'ARQONBUS_VALKEY_URL', code: 'ECONNREFUSED', observed: 'none' }

const apart: IsolationFacts = {
  by: 'run',
  subject: { commit: 'ab', lock: 'cd', node: '24.0.0', suites: 'ef' },
  production: [at('valkey', 'v1'), at('postgres', 'p1'), at('nats', 'n1')],
  disposable: [],
  leaks: [],
  named: [],
}

export const isolationWorlds: Worlds<IsolationFacts> = {
  passes: [
    { name: 'suites that start servers of their own', facts: apart },
    {
      name: 'servers of their own, by address',
      facts: { ...apart, disposable: [at('valkey', 'v2'), at('nats', 'n2')] },
    },
    { name: 'attested', facts: { ...apart, by: 'attestation', attestation, production: [] } },
  ],
  ignores: [
    { name: 'no store at all', facts: { ...apart, production: [] } },
    {
      name: 'attested, with a production nobody reads',
      facts: { ...apart, by: 'attestation', attestation, production: [silent] },
    },
  ],
  fails: [
    ...attestedFails(apart),
    {
      name: 'the same server under another address',
      facts: { ...apart, disposable: [at('valkey', 'v2'), at('postgres', 'p1')] },
      expect: { code: 'SAME_SERVER', findings: ['ARQONBUS_TEST_POSTGRES_URL SAME_SERVER'] },
    },
    {
      name: 'a server for suites that cannot be read',
      facts: { ...apart, disposable: [silent] },
      expect: { code: 'DISPOSABLE_UNREADABLE', findings: ['ARQONBUS_TEST_VALKEY_URL DISPOSABLE_UNREADABLE'] },
    },
    {
      name: 'neither can be read',
      facts: { ...apart, production: [silent], disposable: [silent] },
      expect: { code: 'DISPOSABLE_UNREADABLE', findings: ['ARQONBUS_TEST_VALKEY_URL DISPOSABLE_UNREADABLE'] },
    },
    {
      name: 'an address of production offered to suites',
      facts: { ...apart, leaks: ['ARQONBUS_TEST_NATS_URL'] },
      expect: { code: 'PRODUCTION_IN_ENVIRONMENT', findings: ['ARQONBUS_TEST_NATS_URL PRODUCTION_IN_ENVIRONMENT'] },
    },
    {
      name: 'an address of production in a suite',
      facts: { ...apart, named: ['test/e2e/x.test.ts'] },
      expect: { code: 'PRODUCTION_IN_SOURCES', findings: ['sources PRODUCTION_IN_SOURCES'] },
    },
    {
      name: 'a production that cannot be read',
      facts: { ...apart, production: [at('postgres', 'p1'), silent] },
      expect: { status: 'error', code: 'PRODUCTION_UNREADABLE', class: 'dependency' },
    },
  ],
}
