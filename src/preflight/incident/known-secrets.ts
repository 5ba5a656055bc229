// What the run knows to be secret: secret keys of the configuration, users and passwords in addresses, variables whose
// names look it, key files. Values stay in here and in the redactor.
import { allKeys } from '../../config/keys.ts'
import { parseServiceUrl } from '../../config/urls.ts'
import { isJsonObject } from '../../base/json.ts'
import type { RuleContext } from '../../rules/rule.ts'

export interface KnownSecret {
  /** The variable, or what it is: safe to show. */
  readonly name: string
  readonly value: string
  /** A user is hidden where an address names it; elsewhere it is an ordinary word. */
  readonly kind: 'secret' | 'user'
}

const secretKinds = new Map(allKeys.flatMap(({ names, secret }) => names.map((name) => [name, secret] as const)))
const secretName =
  /SECRET|PASSWORD|PASSWD|PASSPHRASE|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|SIGNING_?KEY|CREDENTIAL|COOKIE|_(?:KEY|PWD|PASS|AUTH|DSN|SALT)$/i
/** A path or a name of a secret, not the secret. */
const pointerName = /_(?:FILE|PATH|DIR|NAME|ID|TTL|ALGORITHM)$/i

/** Does a variable of this name hold a secret? A key that the configuration calls public does not. */
export function isSecretName(name: string): boolean {
  if (secretKinds.has(name)) return secretKinds.get(name) !== undefined
  return secretName.test(name) && !pointerName.test(name)
}

export function knownSecrets({ resolution, files }: Pick<RuleContext, 'resolution' | 'files'>): readonly KnownSecret[] {
  const found: KnownSecret[] = []
  for (const [name, { text }] of resolution.given) {
    if (secretKinds.get(name) !== 'url' && isSecretName(name)) found.push({ name, value: text, kind: 'secret' })
    found.push(...addressSecrets(name, text))
    if (text.includes('PRIVATE KEY-----')) found.push({ name, value: text, kind: 'secret' })
  }
  const { jwtAlgorithm, jwtKeyFile, shieldTlsKeyFile } = resolution.values
  if (jwtAlgorithm === 'HS256' && jwtKeyFile !== undefined) {
    found.push(...keyFileSecrets('ARQONBUS_AUTH_JWT_KEY_FILE', readText(files, jwtKeyFile)))
  }
  if (shieldTlsKeyFile !== undefined) {
    const value = readText(files, shieldTlsKeyFile)
    if (value !== undefined) found.push({ name: 'SHIELD_TLS_KEY_FILE', value, kind: 'secret' })
  }
  return unique(found)
}

/** Whatever the variable: what looks like an address with a user is one. A list of servers is many. */
export function addressSecrets(name: string, text: string): KnownSecret[] {
  if (!text.includes('://')) return []
  return text
    .split(/,(?=[a-z][a-z0-9+.-]*:\/\/)/i)
    .flatMap((address) => [
      ...userSecrets(name, address),
      ...[...address.matchAll(/[?&]([^=&#]+)=([^&#]+)/g)].flatMap(([, key = '', value = '']): KnownSecret[] =>
        secretName.test(key) || /pass|key|sig/i.test(key) ? [{ name, value, kind: 'secret' }] : [],
      ),
      ...pathSecrets(name, address),
    ])
}

/** Addresses of webhooks hold their secret in the path. */
function pathSecrets(name: string, address: string): KnownSecret[] {
  const { path = '' } = parseServiceUrl(address) ?? {}
  const isToken = (part: string): boolean => part.length >= 16 && /\d/.test(part) && /[a-z]/i.test(part)
  return path
    .split('/')
    .filter(isToken)
    .map((value) => ({ name, value, kind: 'secret' }))
}

function userSecrets(name: string, address: string): KnownSecret[] {
  const [, userinfo] = /^[a-z][a-z0-9+.-]*:\/\/(.*)@/i.exec(address) ?? []
  if (userinfo === undefined) return []
  // Each host of a list may bring a user of its own: `u:p@h1,u:p@h2`.
  const infos = [userinfo, ...userinfo.split(/@[^@,]*,/)]
  return infos.flatMap((info) => {
    const colon = info.indexOf(':')
    if (colon === -1) return [{ name, value: info, kind: 'secret' as const }] // a token
    const [user, password] = [info.slice(0, colon), info.slice(colon + 1)]
    // Without a password, `user:` is all there is, as with tokens of some services.
    return [
      { name: `${name}.user`, value: user, kind: password === '' ? ('secret' as const) : ('user' as const) },
      { name, value: decoded(password), kind: 'secret' as const },
      { name, value: password, kind: 'secret' as const },
    ]
  })
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const maxKeyFileBytes = 1024 * 1024

function readText(files: RuleContext['files'], path: string): string | undefined {
  const bytes = files.read?.(path, maxKeyFileBytes)
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8').trim()
}

/** Further HS256 keys: a JSON Web Key Set, or one secret as it stands. */
function keyFileSecrets(name: string, text: string | undefined): KnownSecret[] {
  if (text === undefined || text === '') return []
  const secrets: KnownSecret[] = [{ name, value: text, kind: 'secret' }]
  try {
    const document: unknown = JSON.parse(text)
    const keys = isJsonObject(document) && Array.isArray(document['keys']) ? document['keys'] : [document]
    for (const key of keys) {
      const value = isJsonObject(key) ? key['k'] : undefined
      if (typeof value !== 'string') continue
      secrets.push({ name, value, kind: 'secret' })
      secrets.push({ name, value: Buffer.from(value, 'base64url').toString('utf8'), kind: 'secret' })
    }
  } catch {
    // Not JSON: the whole text is the key, and listed.
  }
  return secrets
}

function unique(secrets: readonly KnownSecret[]): KnownSecret[] {
  const seen = new Set<string>()
  return secrets.filter(({ name, value, kind }) => {
    const id = JSON.stringify([name, value, kind])
    return value.trim() !== '' && !seen.has(id) && seen.add(id) !== undefined
  })
}
