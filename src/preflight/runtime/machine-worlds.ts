// Worlds of machine-checks.ts.
import type { JsonObject, Worlds } from '../check.ts'

const addons = (...list: JsonObject[]) => ({ modules: '137', addons: list })

export const addonWorlds: Worlds<{ readonly modules: string; readonly addons: readonly JsonObject[] }> = {
  passes: [{ name: 'one that loads', facts: addons({ path: 'node_modules/bufferutil', trouble: '' }) }],
  fails: [
    {
      name: 'one for another Node',
      facts: addons({ path: 'node_modules/bufferutil', trouble: 'compiled against NODE_MODULE_VERSION 115' }),
      expect: { code: 'DOES_NOT_LOAD', findings: ['node_modules/bufferutil DOES_NOT_LOAD'] },
    },
  ],
  ignores: [{ name: 'no add-on is installed', facts: addons() }],
}

interface ResourceFacts {
  readonly nofile?: number
  readonly diskMib?: number
  readonly memoryMib?: number
  readonly defaultHeapMib: number
}
const room: ResourceFacts = { nofile: 65_536, diskMib: 10_000, memoryMib: 4_096, defaultHeapMib: 2_096 }
const few = { ARQONBUS_MAX_CONNECTIONS: '100', SHIELD_LIMIT_MAX_CONNECTIONS: '50' }

export const resourceWorlds: Worlds<ResourceFacts> = {
  passes: [
    { name: 'room for all', facts: room },
    { name: 'files for exactly the connections', env: few, facts: { ...room, nofile: 456 } },
    { name: 'the least disk', facts: { ...room, diskMib: 512 } },
    { name: 'a heap of three quarters', facts: { ...room, memoryMib: 1_024, defaultHeapMib: 768 } },
  ],
  fails: [
    {
      name: 'one file too few',
      env: few,
      facts: { ...room, nofile: 455 },
      expect: { code: 'NOFILE_LOW', findings: ['LimitNOFILE NOFILE_LOW'] },
    },
    {
      name: 'too few for Shield',
      env: { ...few, SHIELD_LIMIT_MAX_CONNECTIONS: '101' },
      facts: { ...room, nofile: 457 },
      expect: { code: 'NOFILE_LOW' },
    },
    {
      name: 'a full disk',
      facts: { ...room, diskMib: 511 },
      expect: { code: 'DISK_LOW', findings: ['ARQONBUS_DATA_DIR DISK_LOW'] },
    },
    {
      name: 'a heap above three quarters',
      facts: { ...room, memoryMib: 1_024, defaultHeapMib: 769 },
      expect: { code: 'HEAP_OVER_LIMIT', findings: ['NODE_OPTIONS HEAP_OVER_LIMIT'] },
    },
    {
      name: 'a heap that was asked for',
      env: { NODE_OPTIONS: '--max-old-space-size=4000' },
      facts: room,
      expect: { code: 'HEAP_OVER_LIMIT' },
    },
  ],
  ignores: [
    { name: 'no limits', facts: { defaultHeapMib: 100_000 } },
    {
      name: 'a heap made small for the group',
      env: { NODE_OPTIONS: '--max_old_space_size 512' },
      facts: { ...room, memoryMib: 1_024 },
    },
  ],
}
