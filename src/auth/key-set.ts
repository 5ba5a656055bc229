// The keys that tokens are verified with, all of one algorithm: a single one, or up to sixteen with names (`kid`). A
// name is looked up in a map and nowhere else: never a path, an address or a query.
import { createPublicKey, createSecretKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { BusError } from '../base/errors.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../base/json.ts'
import { hasDuplicateKeys } from './json-keys.ts'
import { type Algorithm, keyFault, minSecretBytes, openVerificationKey } from './verification-key.ts'

/** Bounds of one set (reliability 2.2, 1). */
export const maxKeys = 16
export const maxKeySetBytes = 64 * 1_024

export interface KeySet {
  readonly size: number
  /** `kid` of the token, which may have none. Undefined: no key is meant by it. */
  find(kid: string | undefined): KeyObject | undefined
}

interface SetParts {
  readonly named?: ReadonlyMap<string, KeyObject>
  /** Serves tokens without a name, and where no key has a name those with any harmless one. */
  readonly unnamed?: KeyObject
}

export function createKeySet({ named = new Map(), unnamed }: SetParts): KeySet {
  const size = named.size + (unnamed === undefined ? 0 : 1)
  // A token without a name can only mean the one key there is.
  const usual = unnamed ?? (size === 1 ? [...named.values()][0] : undefined)
  return {
    size,
    find(kid) {
      if (kid === undefined) return usual
      if (named.size === 0) return isPlainKeyId(kid) ? unnamed : undefined
      return named.get(kid)
    },
  }
}

/** Where no key is named, a `kid` chooses nothing; one that looks like a path or a URL is still refused. */
function isPlainKeyId(kid: string): boolean {
  return /^[\w=+@/.-]{1,256}$/.test(kid) && !kid.includes('..') && !kid.startsWith('/')
}

/** What is particular to HS256. */
export interface SecretRules {
  /** The key of tokens without a name. */
  readonly secret?: KeyObject
  /** Why a secret of the file must not be used although it is long enough: it is published, or easily guessed. */
  readonly weaknessOf?: (secret: string) => string | undefined
}

/**
 * The text of a key file: one public key in PEM, or a JSON Web Key Set. Strict: every key must be a good one of the
 * algorithm. Throws `CONFIG_INVALID` with a reason, and shows none of it.
 */
export function parseKeyFile(text: string, algorithm: Algorithm, rules: SecretRules = {}): KeySet {
  const { secret } = rules
  const unnamed = secret === undefined ? {} : { unnamed: secret }
  if (text.length > maxKeySetBytes) throw bad('KEYS_TOO_LARGE', `the key file is larger than ${maxKeySetBytes} bytes`)
  if (!text.trimStart().startsWith('{')) {
    if (algorithm === 'HS256') throw bad('KEY_UNREADABLE', 'a key file for HS256 is a JSON Web Key Set of `oct` keys')
    return createKeySet({ unnamed: openVerificationKey({ algorithm, publicKeyPem: text }) })
  }
  const entries = entriesOf(text)
  if (entries === undefined || entries.length === 0) throw bad('KEY_UNREADABLE', 'the key file holds no list `keys`')
  if (entries.length > maxKeys)
    throw bad('KEYS_TOO_MANY', `the key file has ${entries.length} keys, at most ${maxKeys}`)
  const named = new Map<string, KeyObject>()
  for (const [index, entry] of entries.entries()) {
    const { kid } = entry
    if (typeof kid !== 'string' || kid === '' || kid.length > 256)
      throw bad('KEY_UNNAMED', `key ${index + 1} of the file has no \`kid\` of 1 to 256 characters`)
    if (named.has(kid)) throw bad('KEY_DUPLICATE', `key ${index + 1} of the file has the \`kid\` of another one`)
    const read = readKey(entry, algorithm, rules)
    if ('fault' in read) throw bad(read.reason, `key ${index + 1} of the file: ${read.fault}`)
    named.set(kid, read.key)
  }
  return createKeySet({ named, ...unnamed })
}

/**
 * A JSON Web Key Set as an identity provider publishes it: what is not for this algorithm is passed over, so that a
 * provider may publish keys of several kinds. Undefined when it holds no usable key, or too many.
 */
export function parseRemoteKeys(text: string, algorithm: Algorithm): KeySet | undefined {
  const named = new Map<string, KeyObject>()
  const unnamed: KeyObject[] = []
  for (const entry of entriesOf(text) ?? []) {
    const read = readKey(entry, algorithm)
    if ('fault' in read || read.key.type === 'secret') continue
    const { kid } = entry
    if (kid === undefined) unnamed.push(read.key)
    // Two keys of one name: which of them is meant cannot be known.
    else if (typeof kid !== 'string' || named.has(kid)) return undefined
    else named.set(kid, read.key)
  }
  if (named.size === 0 && unnamed.length === 1) return createKeySet({ unnamed: unnamed[0]! })
  return named.size > 0 && named.size <= maxKeys ? createKeySet({ named }) : undefined
}

function entriesOf(text: string): JsonObject[] | undefined {
  let value: JsonValue
  try {
    value = JSON.parse(text) as JsonValue
  } catch {
    return undefined
  }
  if (!isJsonObject(value) || !Array.isArray(value['keys']) || hasDuplicateKeys(text)) return undefined
  return value['keys'].every(isJsonObject) ? value['keys'] : undefined
}

type ReadKey = { readonly key: KeyObject } | { readonly fault: string; readonly reason: string }

function readKey(entry: JsonObject, algorithm: Algorithm, rules: SecretRules = {}): ReadKey {
  const { alg, use, key_ops: operations } = entry
  const isForVerifying =
    (alg === undefined || alg === algorithm) &&
    (use === undefined || use === 'sig') &&
    (operations === undefined || (Array.isArray(operations) && operations.includes('verify')))
  if (!isForVerifying) return { fault: `it is not for verifying ${algorithm}`, reason: 'KEY_KIND' }
  if (algorithm === 'HS256') return readSecret(entry, rules)
  if (entry['d'] !== undefined) return { fault: 'it is a private key', reason: 'KEY_PRIVATE' }
  try {
    const key = createPublicKey({ key: entry as JsonWebKey, format: 'jwk' })
    const fault = keyFault(key, algorithm)
    return fault === undefined ? { key } : { fault: fault.message, reason: fault.reason }
  } catch {
    return { fault: 'it cannot be read', reason: 'KEY_UNREADABLE' }
  }
}

function readSecret({ kty, k }: JsonObject, { weaknessOf }: SecretRules): ReadKey {
  if (kty !== 'oct' || typeof k !== 'string') return { fault: 'HS256 needs an `oct` key', reason: 'KEY_KIND' }
  const bytes = Buffer.from(k, 'base64url')
  if (bytes.length < minSecretBytes)
    return { fault: `it has ${bytes.length} bytes; at least ${minSecretBytes} are needed`, reason: 'SECRET_TOO_SHORT' }
  const weakness = weaknessOf?.(bytes.toString('latin1'))
  return weakness === undefined ? { key: createSecretKey(bytes) } : { fault: weakness, reason: 'SECRET_WEAK' }
}

function bad(reason: string, message: string): BusError {
  return new BusError('CONFIG_INVALID', `Token verification: ${message}`, { reason })
}
