// The Valkey chain, second half: what it throws away, what it keeps, how much room there is, what time it has.
import { type Check, failed, judgeAll, passed } from '../check.ts'
import { numberIn } from '../json-fields.ts'
import { probeEviction, probeHeadroom, probeLatency, probePersistence, probeSkew } from './valkey-capacity-probes.ts'
import {
  evictionWorlds,
  headroomWorlds,
  type Latency,
  latencyWorlds,
  persistenceWorlds,
  skewWorlds,
} from './valkey-capacity-worlds.ts'
import { chain, shownMs, variable } from './valkey-chain.ts'
import { keepsHistory } from './valkey-rights.ts'

const requires = ['dep.valkey.identity']
const retryOn = ['LOADING']

/** No answer: what is judged stands nowhere. */
const notTold = (code: string, observed: string) => ({ status: 'error', code, observed, class: 'dependency' }) as const

const eviction = chain({
  id: 'dep.valkey.eviction',
  title: 'Valkey throws nothing away',
  proves: 'A full server refuses writes; it evicts no key, for an evicted revocation is a token that works again.',
  evidence: 'maxmemory-policy, from INFO.',
  fix: 'CONFIG SET maxmemory-policy noeviction, or the same in the parameter group of a managed service.',
  severity: 'high',
  requires,
  retryOn,
  shape: { policy: 'string?', maxMemory: 'number?' },
  probe: probeEviction,
  judge({ policy, maxMemory }) {
    if (policy === undefined) {
      return notTold(
        'POLICY_NOT_TOLD',
        'INFO has no maxmemory_policy: read it in the parameter group of the service, which has to say noeviction',
      )
    }
    if (policy === 'noeviction') return passed(`noeviction, maxmemory ${maxMemory ?? 'not told'}`, { policy })
    return failed(
      policy.startsWith('volatile-') ? 'EVICTS_VOLATILE' : 'EVICTS',
      'maxmemory-policy',
      policy,
      'CONFIG SET maxmemory-policy noeviction, or the same in the parameter group of a managed service',
    )
  },
  worlds: evictionWorlds,
})

const persistence = chain({
  id: 'dep.valkey.persistence',
  title: 'Valkey outlives its own restart',
  proves:
    'It writes an append-only file or snapshots, and the last write worked; without either, strict storage is not what it says.',
  evidence: 'Which of the two is on, and whether the last write of each worked.',
  fix: 'appendonly yes; where a write failed, free disk space at the server.',
  severity: 'high',
  requires,
  retryOn,
  shape: {
    isAofOn: 'boolean',
    isAofWriting: 'boolean',
    snapshots: 'string',
    isSnapshotWell: 'boolean',
    sinceSaveS: 'number?',
  },
  probe: probePersistence,
  judge({ isAofOn, isAofWriting, snapshots, isSnapshotWell, sinceSaveS }, { ctx }) {
    const isStrict = ctx.resolution.values.storageMode === 'strict'
    if (isAofOn && !isAofWriting) {
      return failed('AOF_FAILS', 'appendonly', 'the last write failed', 'look at the log and the disk of the server')
    }
    if (snapshots === 'on' && !isSnapshotWell) {
      return failed('SNAPSHOT_FAILS', 'save', 'the last one failed', 'look at the log and the disk of the server')
    }
    if (!isAofOn && isStrict && snapshots === 'untold') {
      return notTold(
        'PERSISTENCE_NOT_TOLD',
        'no append-only file, and CONFIG GET save is refused: set appendonly yes, or let this user ask (+config|get)',
      )
    }
    if (!isAofOn && isStrict && snapshots !== 'on') {
      return failed(
        'NOTHING_KEPT',
        'appendonly',
        'neither an append-only file nor snapshots',
        'CONFIG SET appendonly yes, and the same in the configuration file',
      )
    }
    return passed(describeKept(isAofOn, snapshots, sinceSaveS))
  },
  worlds: persistenceWorlds,
})

function describeKept(isAofOn: boolean, snapshots: string, sinceSaveS: number | undefined): string {
  const age = sinceSaveS === undefined ? '' : `, last one ${sinceSaveS} s ago`
  const note = isAofOn || snapshots === 'on' ? '' : '; advice: set appendonly yes, or a restart loses everything'
  return `append-only file ${isAofOn ? 'on' : 'off'}, snapshots ${snapshots}${age}${note}`
}

const mostMemory = 0.85
const mostClients = 0.8
/** Where min-replicas-max-lag stands by default. */
const mostLagS = 10

const headroom = chain({
  id: 'dep.valkey.headroom',
  title: 'Valkey has room for us',
  proves: 'Memory and connections leave room for every bus that will run, and the replicas of the policy keep up.',
  evidence: 'Shares of memory and connections in use; replicas and their lag.',
  fix: 'Raise maxmemory or maxclients, or bring replicas back.',
  severity: 'high',
  // A server that is full, or lacks replicas, refuses writes: told once, by the round trip.
  requires: ['dep.valkey.roundtrip'],
  retryOn,
  shape: {
    usedMemory: 'number?',
    maxMemory: 'number?',
    clients: 'number?',
    maxClients: 'number?',
    replicas: 'objects',
  },
  probe: probeHeadroom,
  judge({ usedMemory, maxMemory, clients, maxClients, replicas }, ports) {
    if (usedMemory === undefined || maxMemory === undefined || clients === undefined || maxClients === undefined) {
      return notTold('HEADROOM_NOT_TOLD', 'INFO lacks used_memory, maxmemory, connected_clients or maxclients')
    }
    const { instances, valkeyReplicas } = ports.policy
    // A bus holds one connection for hot state, and one more for history where that is kept here.
    const wanted = instances * (keepsHistory(ports) ? 2 : 1)
    const online = replicas.filter(({ isOnline }) => isOnline === true)
    const lagging = online.filter(({ lagS }) => Number(lagS) > mostLagS)
    const findings = [
      ...(maxMemory > 0 && usedMemory >= maxMemory * mostMemory
        ? [
            {
              code: 'MEMORY_SHORT',
              variable: 'maxmemory',
              found: `${percent(usedMemory / maxMemory)} of it used`,
              fix: `raise maxmemory, or free keys, until less than ${percent(mostMemory)} are used`,
            },
          ]
        : []),
      ...(clients >= maxClients * mostClients || maxClients - clients < wanted
        ? [
            {
              code: 'CONNECTIONS_SHORT',
              variable: 'maxclients',
              found: `${clients} of ${maxClients} used, ${wanted} wanted`,
              fix: 'raise maxclients: less than 80 % used, and room for two connections of each bus',
            },
          ]
        : []),
      ...(online.length < valkeyReplicas
        ? [
            {
              code: 'REPLICAS_MISSING',
              variable: 'valkeyReplicas',
              found: `${online.length} replicas online, ${valkeyReplicas} wanted`,
              fix: 'bring the replicas back, or correct valkeyReplicas in the policy',
            },
          ]
        : []),
      ...(online.length >= valkeyReplicas && online.length - lagging.length < valkeyReplicas
        ? [
            {
              code: 'REPLICAS_LAG',
              variable: 'valkeyReplicas',
              found: `${lagging.length} replicas more than ${mostLagS} s behind`,
              fix: 'look at the load of the replicas and the way to them',
            },
          ]
        : []),
    ]
    const memory = describeMemory(usedMemory, maxMemory)
    return judgeAll(findings, `${memory}, ${clients} of ${maxClients} clients, ${online.length} replicas`)
  },
  worlds: headroomWorlds,
})

const describeMemory = (used: number, max: number): string =>
  max > 0 ? `${percent(used / max)} of maxmemory` : 'no maxmemory'

const percent = (share: number): string => `${Math.floor(share * 100)} %`

const mostSkewMs = 2_000

const skew = chain({
  id: 'dep.valkey.skew',
  title: "Valkey's clock agrees with ours",
  proves:
    'The two clocks differ by 2 seconds at most: windows of limits and leases are kept by the server, expiry of tokens here.',
  evidence: 'Offset and uncertainty of the quickest of five samples.',
  fix: 'Mend the time service of this host and of the server.',
  severity: 'high',
  requires,
  retryOn,
  shape: { offsetMs: 'number', uncertaintyMs: 'number' },
  probe: probeSkew,
  judge({ offsetMs, uncertaintyMs }) {
    const found = `${Math.round(offsetMs)} ms, within ${Math.ceil(uncertaintyMs)} ms`
    return Math.abs(offsetMs) - uncertaintyMs > mostSkewMs
      ? failed('SKEWED', 'clock', found, 'mend the time service (chronyc tracking) of this host and of the server')
      : passed(found, { offset: '<=2s' })
  },
  worlds: skewWorlds,
})

const mostP99Ms = 50

/** Beside the last green run, where there is one: for people, and never judged. Such times move by the load of a machine. */
function describeLatency({ p50Ms, p99Ms, green }: Latency): string {
  const was = (name: string): number | undefined => (green === undefined ? undefined : numberIn(green, name))
  const describe = (ms: number, wasMs = 0): string =>
    wasMs === 0
      ? shownMs(ms)
      : `${shownMs(ms)} (${shownMs(wasMs)} when last green${ms > 2 * wasMs ? ': more than twice' : ''})`
  return `p50 ${describe(p50Ms, was('p50Ms'))}, p99 ${describe(p99Ms, was('p99Ms'))}`
}

const latency = chain({
  id: 'dep.valkey.latency',
  title: 'Valkey answers quickly',
  proves:
    '99 of 100 answers take 50 ms at most. Percentiles are shown beside those of the last green run, and not judged by them.',
  evidence: 'Median and 99th percentile of 50 answers, now and when it was green last.',
  fix: 'Look at the way between, and at SLOWLOG and LATENCY DOCTOR of the server.',
  severity: 'advisory',
  requires,
  retryOn,
  effects: [
    { kind: 'net', what: 'Valkey' },
    { kind: 'file', what: 'the history of the preflight in ARQONBUS_DATA_DIR' },
  ],
  shape: { samples: 'number', p50Ms: 'number', p99Ms: 'number', green: 'object?' },
  probe: probeLatency,
  judge(facts) {
    const found = `${facts.samples} answers: ${describeLatency(facts)}`
    return facts.p99Ms > mostP99Ms
      ? failed('SLOW', variable, found, 'look at the way between, and at SLOWLOG and LATENCY DOCTOR of the server')
      : passed(found)
  },
  worlds: latencyWorlds,
})

export const valkeyCapacityChecks: readonly Check[] = [eviction, persistence, headroom, skew, latency]
