import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createAuthenticator } from '../../../src/auth/authenticator.ts'
import { parseKeyFile, parseRemoteKeys } from '../../../src/auth/key-set.ts'
import { type Algorithm, secretKey } from '../../../src/auth/verification-key.ts'
import { isBusError } from '../../../src/base/errors.ts'
import { createManualClock } from '../../support/manual-clock.ts'
import { base64url, goodClaims, hs256, signedToken, testNow, testSecret } from '../../support/tokens.ts'

const clock = createManualClock(testNow * 1_000)
const ed = [1, 2, 3].map(() => generateKeyPairSync('ed25519'))
const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const weakRsa = generateKeyPairSync('rsa', { modulusLength: 1_024 })
const p384 = generateKeyPairSync('ec', { namedCurve: 'secp384r1' })

const jwk = ({ publicKey }: { publicKey: KeyObject }, more: object = {}): object => ({
  ...publicKey.export({ format: 'jwk' }),
  ...more,
})
const oct = (kid: string, secret: string): object => ({ kty: 'oct', k: base64url(secret), kid })
const file = (...keys: unknown[]): string => JSON.stringify({ keys })
const edFile = (): string => file(...ed.map((pair, index) => jwk(pair, { kid: `k${index}` })))

/** The index of the key that a token with that `kid`, signed by the key of that index, is accepted by. */
async function outcome(text: string, kid: string | undefined, signer: number): Promise<string> {
  const set = parseKeyFile(text, 'EdDSA')
  const authenticator = await createAuthenticator({
    algorithm: 'EdDSA',
    keys: { find: (name) => set.find(name) ?? 'unknown' },
    clock,
  })
  const header = kid === undefined ? {} : { kid }
  const result = await authenticator.authenticate(signedToken('EdDSA', ed[signer]!.privateKey, goodClaims, header))
  return result.ok ? 'accepted' : result.refusal
}

describe('a file of several keys', () => {
  it.each([
    ['k0', 0, 'accepted'],
    ['k2', 2, 'accepted'],
    ['k0', 1, 'AUTH_SIGNATURE'],
    ['k3', 0, 'AUTH_KEY_UNKNOWN'],
    ['', 0, 'AUTH_KEY_UNKNOWN'],
    ['K0', 0, 'AUTH_KEY_UNKNOWN'],
    ['__proto__', 0, 'AUTH_KEY_UNKNOWN'],
    ['constructor', 0, 'AUTH_KEY_UNKNOWN'],
    ['../k0', 0, 'AUTH_KEY_UNKNOWN'],
    [undefined, 0, 'AUTH_KEY_UNKNOWN'],
  ] as const)('kid %s, signed by key %s: %s', async (kid, signer, expected) => {
    expect(await outcome(edFile(), kid, signer)).toBe(expected)
  })

  it('of one key serves a token without a name, and no other name', async () => {
    const one = file(jwk(ed[0]!, { kid: 'k0' }))
    expect(await outcome(one, undefined, 0)).toBe('accepted')
    expect(await outcome(one, 'k1', 0)).toBe('AUTH_KEY_UNKNOWN')
  })

  it('holds secrets of HS256 beside the usual one', async () => {
    const other = 'another-secret-of-tests-that-has-forty-b'
    const set = parseKeyFile(file(oct('next', other)), 'HS256', { secret: secretKey(testSecret) })
    const find = (kid: string | undefined) => set.find(kid) ?? ('unknown' as const)
    const authenticator = await createAuthenticator({ algorithm: 'HS256', keys: { find }, clock })
    const refusalOf = async (token: string): Promise<unknown> => {
      const result = await authenticator.authenticate(token)
      return result.ok ? 'accepted' : result.refusal
    }
    expect(await refusalOf(hs256(goodClaims))).toBe('accepted')
    expect(await refusalOf(hs256(goodClaims, { kid: 'next' }, other))).toBe('accepted')
    expect(await refusalOf(hs256(goodClaims, { kid: 'next' }))).toBe('AUTH_SIGNATURE')
    expect(await refusalOf(hs256(goodClaims, {}, other))).toBe('AUTH_SIGNATURE')
    expect(await refusalOf(hs256(goodClaims, { kid: 'other' }))).toBe('AUTH_KEY_UNKNOWN')
  })
})

describe('a key file is refused', () => {
  const pem = ed[0]!.publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const many = (count: number): string =>
    file(...Array.from({ length: count }, (_, n) => jwk(ed[0]!, { kid: `k${n}` })))
  const cases: [string, string, Algorithm, string][] = [
    ['that is empty', 'KEY_UNREADABLE', 'EdDSA', ''],
    ['that is no JSON', 'KEY_UNREADABLE', 'EdDSA', '{"keys":'],
    ['without a list', 'KEY_UNREADABLE', 'EdDSA', '{"keys":{}}'],
    ['without a key', 'KEY_UNREADABLE', 'EdDSA', file()],
    ['with an entry that is no object', 'KEY_UNREADABLE', 'EdDSA', file(1)],
    ['with a member twice', 'KEY_UNREADABLE', 'EdDSA', edFile().replace('"kid":"k0"', '"kid":"k0","kid":"k9"')],
    ['of 17 keys', 'KEYS_TOO_MANY', 'EdDSA', many(17)],
    ['over 64 KiB', 'KEYS_TOO_LARGE', 'EdDSA', many(1).padEnd(65_537)],
    ['with a key without a name', 'KEY_UNNAMED', 'EdDSA', file(jwk(ed[0]!))],
    ['with an empty name', 'KEY_UNNAMED', 'EdDSA', file(jwk(ed[0]!, { kid: '' }))],
    ['with a name that is a number', 'KEY_UNNAMED', 'EdDSA', file(jwk(ed[0]!, { kid: 7 }))],
    ['with one name twice', 'KEY_DUPLICATE', 'EdDSA', file(jwk(ed[0]!, { kid: 'a' }), jwk(ed[1]!, { kid: 'a' }))],
    ['with a private key', 'KEY_PRIVATE', 'EdDSA', file({ ...ed[0]!.privateKey.export({ format: 'jwk' }), kid: 'a' })],
    ['with an RSA key for EdDSA', 'KEY_KIND', 'EdDSA', file(jwk(rsa, { kid: 'a' }))],
    ['with a key for encryption', 'KEY_KIND', 'EdDSA', file(jwk(ed[0]!, { kid: 'a', use: 'enc' }))],
    ['with a key for another algorithm', 'KEY_KIND', 'RS256', file(jwk(rsa, { kid: 'a', alg: 'RS512' }))],
    ['with a key that only signs', 'KEY_KIND', 'RS256', file(jwk(rsa, { kid: 'a', key_ops: ['sign'] }))],
    ['with an RSA key of 1024 bits', 'KEY_WEAK', 'RS256', file(jwk(weakRsa, { kid: 'a' }))],
    ['with P-384 for ES256', 'KEY_KIND', 'ES256', file(jwk(p384, { kid: 'a' }))],
    [
      'with a point that is on no curve',
      'KEY_UNREADABLE',
      'ES256',
      file({ kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA', kid: 'a' }),
    ],
    ['with a secret for RS256: never both', 'KEY_UNREADABLE', 'RS256', file(oct('a', testSecret))],
    ['with an RSA key for HS256: never both', 'KEY_KIND', 'HS256', file(jwk(rsa, { kid: 'a' }))],
    ['with a secret of 31 bytes', 'SECRET_TOO_SHORT', 'HS256', file(oct('a', 'x'.repeat(31)))],
    ['in PEM for HS256', 'KEY_UNREADABLE', 'HS256', pem],
    ['in PEM of another kind', 'KEY_KIND', 'RS256', pem],
  ]
  it.each(cases)('%s: %s', (_title, reason, algorithm, text) => {
    let error: unknown
    try {
      parseKeyFile(text, algorithm)
    } catch (thrown) {
      error = thrown
    }
    if (!isBusError(error, 'CONFIG_INVALID')) throw new Error('it was taken', { cause: error })
    expect(error.details['reason']).toBe(reason)
    expect(error.message).not.toContain(base64url(testSecret))
  })
})

describe('the keys of a provider', () => {
  it('are those of the algorithm; others, weak ones and secrets are passed over', () => {
    const text = file(
      jwk(rsa, { kid: 'good', use: 'sig', alg: 'RS256' }),
      jwk(weakRsa, { kid: 'weak' }),
      jwk(rsa, { kid: 'encryption', use: 'enc' }),
      jwk(ed[0]!, { kid: 'ed' }),
      oct('secret', testSecret),
      { kty: 'new', kid: 'unheard-of' },
      { ...rsa.privateKey.export({ format: 'jwk' }), kid: 'private' },
    )
    const keys = parseRemoteKeys(text, 'RS256')!
    expect(keys.size).toBe(1)
    expect(keys.find('good')).toBeDefined()
    for (const kid of ['weak', 'encryption', 'ed', 'secret', 'private', 'unheard-of']) {
      expect(keys.find(kid)).toBeUndefined()
    }
  })

  it.each([
    ['nothing', ''],
    ['no set', '[]'],
    ['no key of the algorithm', file(jwk(ed[0]!, { kid: 'a' }))],
    ['one name for two keys', file(jwk(rsa, { kid: 'a' }), jwk(rsa, { kid: 'a' }))],
    ['two keys without names', file(jwk(rsa), jwk(rsa))],
    ['17 keys', file(...Array.from({ length: 17 }, (_, n) => jwk(rsa, { kid: `k${n}` })))],
  ])('are not taken from an answer with %s', (_title, text) => {
    expect(parseRemoteKeys(text, 'RS256')).toBeUndefined()
  })

  it('may be a single one without a name', () => {
    expect(parseRemoteKeys(file(jwk(rsa)), 'RS256')!.find(undefined)).toBeDefined()
  })
})
