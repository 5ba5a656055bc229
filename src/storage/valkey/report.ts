// What a server's own account of itself means for a history: the level of an acknowledgement, and what breaks it.
import type { AckLevel } from '../../envelope/envelope.ts'
import type { ServerFacts } from '../../valkey/facts.ts'
import type { StoreFault, StoreReport } from '../store.ts'

/** No proof means no claim. */
export function levelOf(facts: ServerFacts): AckLevel {
  if (!facts.isAofOn || !facts.isAofHealthy) return 'memory'
  if (facts.fsync === undefined) return needsProof(facts) ? 'disk' : 'memory'
  return isFsyncedFirst(facts) ? 'disk' : 'process'
}

/** Does the server fsync before it answers anybody? Then nothing that was ever seen is lost with its process. */
export function isFsyncedFirst({ isAofOn, isAofHealthy, fsync, skipsFsyncOnRewrite }: ServerFacts): boolean {
  return isAofOn && isAofHealthy && fsync === 'always' && !skipsFsyncOnRewrite
}

/** Does each append have to be proven to be on disk, since the server does not tell when it fsyncs? */
export function needsProof({ fsync, canProveFsync }: ServerFacts): boolean {
  return fsync === undefined && canProveFsync
}

export function reportOf(facts: ServerFacts, identity: string): StoreReport {
  return { level: levelOf(facts), identity: `valkey:${identity}`, faults: faultsOf(facts) }
}

function faultsOf(facts: ServerFacts): StoreFault[] {
  const faults: StoreFault[] = []
  if (facts.role === 'replica') {
    faults.push({
      code: 'READ_ONLY',
      found: 'role replica',
      fix: 'Give the address of the primary',
    })
  }
  if (!facts.isAofOn) {
    faults.push({
      code: 'NOT_PERSISTED',
      found: 'appendonly no',
      fix: 'Set appendonly yes and appendfsync always; a restart of the server loses every message now',
    })
  } else if (!facts.isAofHealthy) {
    faults.push({
      code: 'NOT_PERSISTED',
      found: 'aof_last_write_status err',
      fix: 'The last write to the append-only file failed: look at the disk of the server',
    })
  } else if (facts.fsync === undefined && !needsProof(facts)) {
    faults.push({
      code: 'NO_PROOF',
      found: 'CONFIG GET is refused',
      fix: 'Let this user run CONFIG GET, so that the store can say what an acknowledged message survives',
    })
  }
  if (facts.maxMemory > 0 && facts.evictionPolicy !== 'noeviction') {
    faults.push({
      code: 'EVICTS',
      found: `maxmemory-policy ${facts.evictionPolicy}`,
      fix: 'Set maxmemory-policy noeviction; the server throws stored messages away when its memory is full',
    })
  }
  return faults
}
