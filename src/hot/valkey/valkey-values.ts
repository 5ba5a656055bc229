// Values in Valkey: one hash for each tenant, its bounds kept by the scripts that change it.
import { asList, asText, type ValkeyReply } from '../../valkey/replies.ts'
import type { ValueLimits, Values } from '../hot-state.ts'
import { tooMany } from '../value-rules.ts'
import type { Backend } from './backend.ts'
import { bytesField, keyOfField, namespacePrefix, valueField, valuesKey } from './keys.ts'

/** ARGV: field, text, bytes of the names, most keys, most bytes. Every text has at least one byte. */
const setScript = `
local before = redis.call('HSTRLEN', KEYS[1], ARGV[1])
local grown = #ARGV[2] - before
if before == 0 then
  if redis.call('HLEN', KEYS[1]) - 1 >= tonumber(ARGV[4]) then return 'store-keys' end
  grown = grown + tonumber(ARGV[3])
end
local bytes = tonumber(redis.call('HGET', KEYS[1], '${bytesField}') or '0')
if grown > 0 and bytes + grown > tonumber(ARGV[5]) then return 'store-bytes' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2], '${bytesField}', bytes + grown)
return before > 0 and 1 or 0`

/** ARGV: field, bytes of the names. */
const deleteScript = `
local before = redis.call('HSTRLEN', KEYS[1], ARGV[1])
if before == 0 then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
if redis.call('HINCRBY', KEYS[1], '${bytesField}', -before - tonumber(ARGV[2])) <= 0 then redis.call('DEL', KEYS[1]) end
return 1`

/** ARGV: the prefix of the namespace. Values are not touched. */
const listScript = `
local found = {}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, #ARGV[1]) == ARGV[1] then found[#found + 1] = string.sub(field, #ARGV[1] + 1) end
end
return found`

export interface ValkeyValuesPorts {
  readonly backend: Backend
  readonly limits: ValueLimits
  /** Runs an operation; what goes wrong with it becomes an error for clients. */
  readonly guard: (change: 'read' | 'write', run: () => Promise<ValkeyReply>) => Promise<ValkeyReply>
}

export function createValkeyValues({ backend, limits, guard }: ValkeyValuesPorts): Values {
  const evaluate = (script: string, tenant: string, ...args: string[]): Promise<ValkeyReply> =>
    backend.send(['EVAL', script, '1', valuesKey(tenant), ...args])

  return {
    async set(name, text) {
      const names = String(Buffer.byteLength(name.namespace) + Buffer.byteLength(name.key))
      const bounds = [String(limits.maxKeys), String(limits.maxBytes)]
      const reply = await guard('write', () =>
        evaluate(setScript, name.tenant, valueField(name), text, names, ...bounds),
      )
      if (typeof reply === 'number') return { updated: reply === 1 }
      throw asText(reply) === 'store-keys'
        ? tooMany('store-keys', limits.maxKeys)
        : tooMany('store-bytes', limits.maxBytes)
    },
    async get(name) {
      const reply = await guard('read', () => backend.send(['HGET', valuesKey(name.tenant), valueField(name)]))
      return reply === null ? undefined : asText(reply)
    },
    async delete(name) {
      const names = String(Buffer.byteLength(name.namespace) + Buffer.byteLength(name.key))
      return (await guard('write', () => evaluate(deleteScript, name.tenant, valueField(name), names))) === 1
    },
    async list(tenant, namespace) {
      const reply = await guard('read', () => evaluate(listScript, tenant, namespacePrefix(namespace)))
      const keys = asList(reply).map((field) => keyOfField(asText(field)))
      return keys.sort((a, b) => (a < b ? -1 : 1))
    },
  }
}
