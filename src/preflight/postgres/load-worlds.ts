// Worlds of load-checks.ts.
import type { FactsOf, Worlds } from '../check.ts'
import type * as probes from './load-probes.ts'

const two = { postgresStandbys: 2 }
const follows = { state: 'streaming', lagBytes: 0, lagSeconds: 0 }
const following = { maySee: true, standbys: [follows, follows], lostSlots: [] }
const mib64 = 64 * 1024 * 1024

export const replication: Worlds<FactsOf<typeof probes.replicationShape>> = {
  passes: [
    { name: 'two of two', policy: two, facts: following },
    {
      name: 'as far behind as they may be',
      policy: two,
      facts: { ...following, standbys: [follows, { state: 'streaming', lagBytes: mib64, lagSeconds: 10 }] },
    },
    { name: 'a single node, declared', facts: { ...following, standbys: [] } },
  ],
  fails: [
    {
      name: 'one of two',
      policy: two,
      facts: { ...following, standbys: [follows] },
      expect: { code: 'TOO_FEW_STANDBYS', findings: ['postgresStandbys TOO_FEW_STANDBYS'] },
    },
    {
      name: 'one catches up',
      policy: two,
      facts: { ...following, standbys: [follows, { ...follows, state: 'catchup' }] },
      expect: { code: 'TOO_FEW_STANDBYS' },
    },
    {
      name: 'one is more than 10 s behind',
      policy: two,
      facts: { ...following, standbys: [follows, { ...follows, lagSeconds: 10.1 }] },
      expect: { code: 'LAGGING', findings: ['standby LAGGING'] },
    },
    {
      name: 'one is more than 64 MiB behind',
      policy: two,
      facts: { ...following, standbys: [follows, { ...follows, lagBytes: mib64 + 1 }] },
      expect: { code: 'LAGGING' },
    },
    {
      name: 'a slot was lost',
      policy: two,
      facts: { ...following, lostSlots: ['s1'] },
      expect: { code: 'SLOT_LOST', findings: ['s1 SLOT_LOST'] },
    },
    {
      name: 'the user may not see',
      policy: { postgresStandbys: 1 },
      facts: { ...following, maySee: false },
      expect: { code: 'NO_PERMISSION', findings: ['ARQONBUS_POSTGRES_URL NO_PERMISSION'], class: 'config' },
    },
  ],
  ignores: [
    { name: 'no pg_monitor at a single node', facts: { maySee: false, standbys: [], lostSlots: [] } },
    { name: 'a standby more than declared', policy: { postgresStandbys: 1 }, facts: following },
    { name: 'a lost slot of others at a single node', facts: { maySee: true, standbys: [], lostSlots: ['s1'] } },
  ],
}

const lane = { ARQONBUS_PROJECTOR_ENABLED: 'true' }
const history = { ARQONBUS_STORAGE_BACKEND: 'postgres' }
const roomy = { connections: [{ of: 'server', limit: 97, used: 5 }], oldestXidAge: 1_499_999_999, invalidIndexes: [] }
const leaves = (free: number, of = 'server') => ({ ...roomy, connections: [{ of, limit: 40, used: 40 - free }] })

export const headroom: Worlds<FactsOf<typeof probes.headroomShape>> = {
  passes: [
    { name: 'much room', facts: roomy },
    { name: 'the audit log and a command', facts: leaves(2) },
    { name: 'the lane too', env: lane, facts: leaves(6) },
    { name: 'history too, three times', env: history, policy: { instances: 3 }, facts: leaves(18) },
    {
      name: 'and the table of earlier systems',
      env: { ...history, ARQONBUS_POSTGRES_MIRROR: 'true' },
      facts: leaves(7),
    },
  ],
  fails: [
    {
      name: 'one too few',
      facts: leaves(1),
      expect: { code: 'TOO_FEW_CONNECTIONS', findings: ['server TOO_FEW_CONNECTIONS'] },
    },
    { name: 'one too few for the lane', env: lane, facts: leaves(5), expect: { code: 'TOO_FEW_CONNECTIONS' } },
    {
      name: 'one too few for three with history',
      env: history,
      policy: { instances: 3 },
      facts: leaves(17),
      expect: { code: 'TOO_FEW_CONNECTIONS' },
    },
    {
      name: 'one too few for the table of earlier systems',
      env: { ...history, ARQONBUS_POSTGRES_MIRROR: 'true' },
      facts: leaves(6),
      expect: { code: 'TOO_FEW_CONNECTIONS' },
    },
    {
      name: 'the user has a limit',
      facts: leaves(1, 'user'),
      expect: { code: 'TOO_FEW_CONNECTIONS', findings: ['user TOO_FEW_CONNECTIONS'] },
    },
    {
      name: 'old ids',
      facts: { ...roomy, oldestXidAge: 1_500_000_000 },
      expect: { code: 'WRAPAROUND_NEAR', findings: ['datfrozenxid WRAPAROUND_NEAR'] },
    },
    { name: 'a broken index', facts: { ...roomy, invalidIndexes: ['arqonbus_x'] }, expect: { code: 'INVALID_INDEX' } },
  ],
  ignores: [
    {
      name: 'a limit that others have nearly reached',
      facts: { ...roomy, connections: [{ of: 'server', limit: 97, used: 95 }] },
    },
  ],
}
