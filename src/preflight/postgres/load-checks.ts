// Are the standbys there that were declared, and is there room for what will be started?
import type { Finding } from '../../rules/rule.ts'
import { type Check, type CheckResult, defineCheck, type FactsOf, judgeAll, passed } from '../check.ts'
import type { JudgePorts } from '../check.ts'
import * as probes from './load-probes.ts'
import * as worlds from './load-worlds.ts'
import { common, variable, wordOf } from './look.ts'
import { connectionsOf, partsInUse } from './needs.ts'

const role = `<the user of ${variable}>`
const maxLagSeconds = 10
const maxLagBytes = 64 * 1024 * 1024
/** Postgres stops taking writes near 2 thousand million. */
const maxXidAge = 1_500_000_000

export const loadChecks: readonly Check[] = [
  defineCheck({
    ...common,
    id: 'dep.postgres.replication',
    title: 'The standbys that were declared follow',
    proves:
      'As many standbys as the policy declares (postgresStandbys; 0 is a single node) stream, within 10 s and 64 MiB, and no slot has lost its log.',
    evidence: 'pg_stat_replication, pg_replication_slots.',
    fix: 'Bring the standby back, or correct postgresStandbys in the policy.',
    severity: 'high',
    requires: ['dep.postgres.writable'],
    shape: probes.replicationShape,
    probe: probes.probeReplication,
    judge: judgeReplication,
    worlds: worlds.replication,
  }),
  defineCheck({
    ...common,
    id: 'dep.postgres.headroom',
    title: 'Postgres has room for us',
    proves:
      'Connections are left for every process that will run (policy: instances), transaction ids are far from their end, and no index of ours is invalid.',
    evidence: 'Limits of server, database and user against what others use; age(datfrozenxid); pg_index.',
    fix: 'Raise the limit of the finding, VACUUM, or REINDEX.',
    severity: 'high',
    requires: ['dep.postgres.connect'],
    shape: probes.headroomShape,
    probe: probes.probeHeadroom,
    judge: judgeHeadroom,
    worlds: worlds.headroom,
  }),
]

function judgeReplication(facts: FactsOf<typeof probes.replicationShape>, { policy }: JudgePorts): CheckResult {
  const wanted = policy.postgresStandbys
  if (wanted === 0) return passed('a single node, declared', { standbys: 'none declared' })
  if (!facts.maySee) {
    const found = 'states and lags are hidden from this user'
    const fix = `GRANT pg_monitor TO ${role}`
    return { status: 'fail', findings: [{ code: 'NO_PERMISSION', variable, found, fix }], class: 'config' }
  }
  const findings: Finding[] = []
  const streaming = facts.standbys.filter(({ state }) => state === 'streaming')
  if (streaming.length < wanted) {
    const found = `${streaming.length} of ${wanted} standbys stream`
    const fix = 'bring the standby back, or correct postgresStandbys in the policy'
    findings.push({ code: 'TOO_FEW_STANDBYS', variable: 'postgresStandbys', found, fix })
  }
  for (const { lagBytes, lagSeconds } of streaming) {
    if (Number(lagSeconds) <= maxLagSeconds && Number(lagBytes) <= maxLagBytes) continue
    const found = `a standby is ${Number(lagSeconds)} s and ${Number(lagBytes)} bytes behind`
    const fix = 'look at what slows the standby: its disk, the network, long queries on it'
    findings.push({ code: 'LAGGING', variable: 'standby', found, fix })
  }
  for (const slot of facts.lostSlots) {
    const fix = 'make that standby anew; then drop the slot: SELECT pg_drop_replication_slot(…)'
    findings.push({ code: 'SLOT_LOST', variable: slot, found: 'its log is gone, or about to go', fix })
  }
  return judgeAll(findings, `${streaming.length} stream`, { standbys: 'as declared', lag: '<10s' })
}

const raise: Readonly<Record<string, string>> = {
  server: 'raise max_connections, or close connections of others',
  database: 'ALTER DATABASE <that of the address> CONNECTION LIMIT -1',
  user: `ALTER ROLE ${role} CONNECTION LIMIT -1`,
}

function judgeHeadroom(facts: FactsOf<typeof probes.headroomShape>, { ctx, policy }: JudgePorts): CheckResult {
  const needed = connectionsOf(partsInUse(ctx), policy.instances)
  const findings: Finding[] = []
  for (const { of, limit, used } of facts.connections) {
    const free = Number(limit) - Number(used)
    if (free >= needed) continue
    const found = `${free} of ${Number(limit)} are free, ${needed} are needed`
    findings.push({
      code: 'TOO_FEW_CONNECTIONS',
      variable: wordOf(of),
      found,
      fix: raise[wordOf(of)] ?? raise['server']!,
    })
  }
  if (facts.oldestXidAge >= maxXidAge) {
    const found = `age(datfrozenxid) is ${facts.oldestXidAge}`
    const fix = 'VACUUM (FREEZE) the database that is the oldest; look for old transactions and slots that hold it back'
    findings.push({ code: 'WRAPAROUND_NEAR', variable: 'datfrozenxid', found, fix })
  }
  for (const name of facts.invalidIndexes) {
    const fix = `REINDEX INDEX CONCURRENTLY ${name}`
    findings.push({ code: 'INVALID_INDEX', variable: name, found: 'not valid', fix })
  }
  return judgeAll(findings, `${needed} connections are needed, and free`, { connections: 'enough' })
}
