// The fingerprint of a start environment: a keyed hash of every variable that can change what a server does. Values can
// be guessed from plain hashes, so the key of the installation is in each, and each variable has its own: what differs
// later can be named, and nothing else is told.
import { createHmac } from 'node:crypto'
import { digestOf } from '../base/canonical-json.ts'
import { allKeys } from '../config/keys.ts'
import { foreignNames, ownPrefix, presenceNames } from '../config/other-names.ts'
import type { Resolution } from '../config/resolution.ts'
import { existingKey, type InstallationKey } from './installation-key.ts'

export interface VariableMac {
  readonly name: string
  /** 32 hex digits. */
  readonly mac: string
}

export interface EnvironmentFingerprint {
  /** Tells one installation's key from another's, and nothing of it. */
  readonly key: string
  /** Of `variables`. */
  readonly fingerprint: string
  /** By name, sorted. */
  readonly variables: readonly VariableMac[]
}

/**
 * Not of the configuration that was judged: what names the certificate itself, and what a candidate of the preflight is
 * started with. NODE_COMPILE_CACHE and the two of node:child_process say nothing about what is run.
 */
const leftOut: ReadonlySet<string> = new Set([
  'ARQONBUS_PREFLIGHT_CERTIFICATE',
  'ARQONBUS_PREFLIGHT_BREAK_GLASS',
  'ARQONBUS_PREFLIGHT_PERMIT_FD',
  'NODE_COMPILE_CACHE',
  'NODE_CHANNEL_FD',
  'NODE_UNIQUE_ID',
])

/** Read by Node, by its libraries, by the drivers or by the loader, whatever our table knows. */
const runtimePrefix = /^(?:JWT_|NATS_|POLICY_|OTEL_|NODE_|OPENSSL_|SSL_CERT_|LD_|UV_|PG[A-Z]|(?:https?|no)_proxy$)/i
const known: ReadonlySet<string> = new Set(allKeys.flatMap(({ names }) => [...names]))

/** Does this variable belong to what a certificate is for? */
export function isCovered(name: string): boolean {
  if (leftOut.has(name) || foreignNames.has(name)) return false
  return known.has(name) || presenceNames.has(name) || ownPrefix.test(name) || runtimePrefix.test(name)
}

const hexDigits = 32
const macOf = (key: Buffer, ...words: readonly string[]): string =>
  createHmac('sha256', key)
    .update(['arqonbus/environment/1', ...words].join('\0'))
    .digest('hex')
    .slice(0, hexDigits)

/** Of the environment and of the file that it names; the environment wins, as at a start. */
export function fingerprintOf({ given }: Pick<Resolution, 'given'>, key: Buffer): EnvironmentFingerprint {
  const variables = [...given]
    .filter(([name, { source }]) => isCovered(name) && source.kind !== 'overlay')
    .map(([name, { text }]) => ({ name, mac: macOf(key, 'variable', name, text) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  return { key: macOf(key, 'key'), fingerprint: digestOf(variables), variables }
}

/** The fingerprint, or why there is none. */
export type Fingerprinted = EnvironmentFingerprint | { readonly because: string }

/**
 * Only where ARQONBUS_DATA_DIR is named: a folder that depends on where a program was called is no installation.
 * `keyOf` makes a key where there is none yet, or leaves it at that.
 */
export function fingerprintAt(
  resolution: Resolution,
  keyOf: (dataDir: string) => InstallationKey = existingKey,
): Fingerprinted {
  if (resolution.sources.get('dataDir')?.kind === 'default') return { because: 'ARQONBUS_DATA_DIR is not set' }
  const { key, scope, because = '' } = keyOf(resolution.values.dataDir)
  return scope === 'installation' ? fingerprintOf(resolution, key) : { because: `ARQONBUS_DATA_DIR: ${because}` }
}

/** `changed NAME`, `added NAME`, `removed NAME`, by name. */
export function differences(before: readonly VariableMac[], after: readonly VariableMac[]): string[] {
  const [was, is] = [before, after].map((list) => new Map(list.map(({ name, mac }) => [name, mac])))
  return [...new Set([...was!.keys(), ...is!.keys()])].sort().flatMap((name) => {
    if (was!.get(name) === is!.get(name)) return []
    if (!was!.has(name)) return [`${name} (added)`]
    return is!.has(name) ? [`${name} (changed)`] : [`${name} (removed)`]
  })
}
