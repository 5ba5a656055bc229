// Hot state inside the process: shared with nobody, and gone with it, but for revocations where there is a file.
import type { Clock } from '../../base/clock.ts'
import { BusError } from '../../base/errors.ts'
import type { HotState, KnownRevocations, ValueLimits, ValueName, Values } from '../hot-state.ts'
import { tooMany, valueBytes } from '../value-rules.ts'
import { createMemoryCounters } from './memory-counters.ts'
import type { RevocationFile } from './revocation-file.ts'

export interface MemoryHotStateOptions {
  readonly clock: Clock
  readonly limits: ValueLimits
  readonly revocations: KnownRevocations
  /** Where revocations outlive the process; without it they end with it. */
  readonly file?: RevocationFile
}

export function createMemoryHotState({ clock, limits, revocations, file }: MemoryHotStateOptions): HotState {
  const failures = { values: 0, presence: 0, revocations: 0, counters: 0 }
  let isClosed = false

  function requireOpen(): void {
    if (isClosed) throw new BusError('STORE_UNAVAILABLE', 'Hot state is closed', { reason: 'CLOSED' })
  }

  return {
    backend: 'memory',
    values: createValues(limits, requireOpen),
    presence: {
      others: 0,
      follow: () => undefined, // there are no others who could see it
      changed: () => undefined,
      elsewhere: async () => ({ members: [], isPartial: false }),
    },
    revocations: {
      async add(revocation) {
        requireOpen()
        try {
          await file?.add(revocation)
        } catch (error) {
          failures.revocations++
          throw error
        } finally {
          revocations.revoke(revocation) // closed is the safe side
        }
      },
    },
    counters: createMemoryCounters(clock),
    report: () => ({ state: 'up', failures }),
    async close() {
      isClosed = true
      await file?.close()
    },
  }
}

interface TenantValues {
  readonly namespaces: Map<string, Map<string, string>>
  keys: number
  bytes: number
}

function createValues(limits: ValueLimits, requireOpen: () => void): Values {
  const tenants = new Map<string, TenantValues>()

  function find({ tenant, namespace, key }: ValueName): string | undefined {
    return tenants.get(tenant)?.namespaces.get(namespace)?.get(key)
  }

  function remove(name: ValueName, text: string): void {
    const tenant = tenants.get(name.tenant)!
    const keys = tenant.namespaces.get(name.namespace)!
    keys.delete(name.key)
    tenant.keys--
    tenant.bytes -= valueBytes(name, text)
    if (keys.size === 0) tenant.namespaces.delete(name.namespace)
    if (tenant.keys === 0) tenants.delete(name.tenant)
  }

  return {
    async set(name, text) {
      requireOpen()
      const before = find(name)
      const tenant = tenants.get(name.tenant) ?? { namespaces: new Map(), keys: 0, bytes: 0 }
      if (before === undefined && tenant.keys >= limits.maxKeys) throw tooMany('store-keys', limits.maxKeys)
      const grown = valueBytes(name, text) - (before === undefined ? 0 : valueBytes(name, before))
      if (grown > 0 && tenant.bytes + grown > limits.maxBytes) throw tooMany('store-bytes', limits.maxBytes)
      let keys = tenant.namespaces.get(name.namespace)
      if (keys === undefined) {
        keys = new Map()
        tenant.namespaces.set(name.namespace, keys)
      }
      keys.set(name.key, text)
      tenant.bytes += grown
      if (before === undefined) tenant.keys++
      tenants.set(name.tenant, tenant)
      return { updated: before !== undefined }
    },
    async get(name) {
      requireOpen()
      return find(name)
    },
    async delete(name) {
      requireOpen()
      const text = find(name)
      if (text === undefined) return false
      remove(name, text)
      return true
    },
    async list(tenant, namespace) {
      requireOpen()
      const keys = [...(tenants.get(tenant)?.namespaces.get(namespace)?.keys() ?? [])]
      return keys.sort((a, b) => (a < b ? -1 : 1))
    },
  }
}
