// op.store.*: small values of a tenant by namespace and key (original-contract 4.1, except that a namespace never
// reaches into another tenant).
import { BusError, invalid } from '../../base/errors.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../../base/json.ts'
import type { ValueName } from '../../hot/hot-state.ts'
import { optionalText } from '../args.ts'
import type { Command } from '../command.ts'

const maxNameBytes = 256
/** The tenant of sessions whose token names none; the original knows them by no tenant at all. */
const unnamedTenant = 'default'

function namePart(args: JsonObject, field: 'key' | 'namespace'): string | undefined {
  const text = optionalText(args, field)?.trim()
  if (text === undefined || text === '') return undefined
  // A lone surrogate has no UTF-8: two such names would become one.
  if (!text.isWellFormed() || /\p{Cc}/u.test(text) || Buffer.byteLength(text) > maxNameBytes) {
    throw invalid('BAD_NAME', `${field} must be 1 to ${maxNameBytes} bytes of text without control characters`, {
      field,
    })
  }
  return text
}

function namespaceOf(args: JsonObject, tenant: string): string {
  return namePart(args, 'namespace') ?? (tenant === unnamedTenant ? unnamedTenant : `tenant:${tenant}`)
}

function nameOf(args: JsonObject, tenant: string): ValueName {
  const key = namePart(args, 'key')
  if (key === undefined) throw invalid('MISSING_ARGUMENT', 'key is missing', { field: 'key' })
  return { tenant, namespace: namespaceOf(args, tenant), key }
}

function valueText(value: JsonValue | undefined, maxBytes: number): string {
  if (value === undefined || value === null) throw invalid('MISSING_ARGUMENT', 'value is missing', { field: 'value' })
  const text = JSON.stringify(value)
  if (Buffer.byteLength(text) <= maxBytes) return text
  throw new BusError('LIMIT_EXCEEDED', `A value has at most ${maxBytes} bytes as JSON`, {
    limit: 'store-value',
    max: maxBytes,
  })
}

const nameArgs = {
  key: 'up to 256 bytes of text',
  namespace: 'up to 256 bytes of text, optional; it lies inside the tenant',
} as const

export const storeSet: Command = {
  summary: 'Keep a value under a key, in place of the one before',
  args: { ...nameArgs, value: 'any JSON but null' },
  permission: 'store_access',
  async run({ args, tenant }, { hot, maxStoreValueBytes }) {
    const { namespace, key, ...rest } = nameOf(args, tenant)
    const text = valueText(args['value'], maxStoreValueBytes)
    const { updated } = await hot.values.set({ ...rest, namespace, key }, text)
    return { message: updated ? 'Value replaced' : 'Value kept', data: { namespace, key, updated } }
  },
}

export const storeGet: Command = {
  summary: 'Read the value of a key; an absent key is a success with `found: false`',
  args: nameArgs,
  permission: 'store_access',
  async run({ args, tenant }, { hot }) {
    const name = nameOf(args, tenant)
    const text = await hot.values.get(name)
    const { namespace, key } = name
    const found = text !== undefined
    return {
      message: found ? 'Value found' : 'No value',
      data: { namespace, key, found, value: found ? parseKept(text) : null },
    }
  },
}

/** Written by `storeSet` alone; anything else there is somebody else's. */
function parseKept(text: string): JsonValue {
  try {
    const value: unknown = JSON.parse(text)
    if (isJsonObject(value) || Array.isArray(value) || ['string', 'number', 'boolean'].includes(typeof value)) {
      return value as JsonValue // JSON.parse makes nothing else
    }
  } catch {
    // told below
  }
  throw new BusError('EXECUTION_ERROR', 'The kept value is not one of ours', { reason: 'NOT_A_VALUE' })
}

export const storeDelete: Command = {
  summary: 'Remove a key; an absent key is a success with `deleted: false`',
  args: nameArgs,
  permission: 'store_access',
  async run({ args, tenant }, { hot }) {
    const name = nameOf(args, tenant)
    const deleted = await hot.values.delete(name)
    const { namespace, key } = name
    return { message: deleted ? 'Value removed' : 'No value', data: { namespace, key, deleted } }
  },
}

export const storeList: Command = {
  summary: 'List the keys of a namespace, sorted',
  args: { namespace: nameArgs.namespace },
  permission: 'store_access',
  async run({ args, tenant }, { hot }) {
    const namespace = namespaceOf(args, tenant)
    const keys = [...(await hot.values.list(tenant, namespace))]
    return { message: `${keys.length} keys`, data: { namespace, count: keys.length, keys } }
  },
}
