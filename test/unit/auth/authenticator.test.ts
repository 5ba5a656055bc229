import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type AuthenticatorOptions, createAuthenticator } from '../../../src/auth/authenticator.ts'
import type { AuthRefusal, Identity } from '../../../src/auth/identity.ts'
import { isBusError } from '../../../src/base/errors.ts'
import { createManualClock } from '../../support/manual-clock.ts'
import { base64url, goodClaims, hmacToken, hs256, signedToken, testNow, testSecret } from '../../support/tokens.ts'

const clock = createManualClock(testNow * 1_000)
const bus: AuthenticatorOptions = { algorithm: 'HS256', secret: testSecret, clock }
const shield: AuthenticatorOptions = { ...bus, requireClaims: true }
const dated: AuthenticatorOptions = { ...bus, issuer: 'https://id.example', audience: 'arqonbus' }
const keyed: AuthenticatorOptions = { ...bus, keyId: 'k1' }

const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const weakRsa = generateKeyPairSync('rsa', { modulusLength: 1_024 })
const ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
const ecOther = generateKeyPairSync('ec', { namedCurve: 'secp384r1' })
const ed = generateKeyPairSync('ed25519')
const pem = (pair: { publicKey: KeyObject }): string =>
  pair.publicKey.export({ type: 'spki', format: 'pem' }).toString()

async function outcome(options: AuthenticatorOptions, token: string): Promise<Identity | AuthRefusal> {
  const result = await (await createAuthenticator(options)).authenticate(token)
  return result.ok ? result.identity : result.refusal
}

const claims = (changes: object): string => hs256({ ...goodClaims, ...changes })
/** JSON leaves out what is undefined. */
const without = (...names: (keyof typeof goodClaims)[]): string =>
  claims(Object.fromEntries(names.map((name) => [name, undefined])))
const text = (json: string): string => hs256(`{"sub":"alice","tenant_id":"acme",${json}}`)

const none = `${base64url('{"alg":"none"}')}.${base64url(JSON.stringify(goodClaims))}.`
const [head, body, signature] = hs256(goodClaims).split('.') as [string, string, string]
/** The same signature bytes with other spare bits in the last character. */
const slack = ((): string => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = alphabet.indexOf(signature.at(-1)!)
  return `${head}.${body}.${signature.slice(0, -1)}${alphabet[last ^ 1]!}`
})()

describe('a token is accepted', () => {
  const cases: [string, string, Partial<Identity>, AuthenticatorOptions?][] = [
    [
      'with all claims',
      hs256(goodClaims),
      { tenant: 'acme', subject: 'alice', role: 'user', expiresAtMs: goodClaims.exp * 1_000 },
    ],
    ['29 s after its end', claims({ exp: testNow - 29, iat: testNow - 100 }), {}],
    ['29 s before nbf', claims({ nbf: testNow + 29 }), {}],
    ['29 s before iat', claims({ iat: testNow + 29 }), {}],
    ['with a lifetime of exactly 24 h', claims({ iat: testNow, exp: testNow + 86_400 }), {}],
    ['without iat, within 24 h', claims({ iat: undefined, exp: testNow + 86_400 }), {}],
    ['with a fractional exp on the bus', claims({ exp: testNow + 60.5 }), { expiresAtMs: (testNow + 60.5) * 1_000 }],
    ['without tenant_id, as tenant default on the bus', without('tenant_id'), { tenant: 'default' }],
    ['without role, as user', without('role'), { role: 'user' }],
    ['with role ADMIN in any case', claims({ role: 'aDmIn' }), { role: 'admin' }],
    ['of an operator', claims({ role: 'operator', tenant_id: '*' }), { role: 'operator', tenant: '*' }],
    ['with permissions', claims({ permissions: ['channel_view'] }), { permissions: ['channel_view'] }],
    ['with no permissions, an empty list', claims({ permissions: [] }), { permissions: [] }],
    ['with a subject of 256 characters', claims({ sub: 'x'.repeat(256) }), { subject: 'x'.repeat(256) }],
    ['with a tenant of 64 characters', claims({ tenant_id: 'a'.repeat(64) }), { tenant: 'a'.repeat(64) }],
    ['with an ordinary kid where none is configured', hs256(goodClaims, { kid: 'key-2026/1' }), {}],
    ['with the configured kid', hs256(goodClaims, { kid: 'k1' }), {}, keyed],
    ['without kid where one is configured', hs256(goodClaims), {}, keyed],
    [
      'with jku, x5u and jwk, which are never looked at',
      hs256(goodClaims, { jku: 'https://evil.example', x5u: 'https://evil.example', jwk: { kty: 'oct', k: 'AA' } }),
      {},
    ],
    ['of type at+jwt', hs256(goodClaims, { typ: 'at+jwt' }), {}],
    ['of type application/JWT', hs256(goodClaims, { typ: 'application/JWT' }), {}],
    ['without a type', hmacToken('{"alg":"HS256"}', JSON.stringify(goodClaims)), {}],
    ['with the configured iss and aud', claims({ iss: 'https://id.example', aud: 'arqonbus' }), {}, dated],
    ['with an aud list that holds ours', claims({ iss: 'https://id.example', aud: ['x', 'arqonbus'] }), {}, dated],
    ['with an aud nobody asked about, on the bus', claims({ aud: 'x' }), {}],
    ['with unknown claims', claims({ extra: { a: [1, { a: 2 }], b: 1 } }), {}],
    ['with escaped claim names', text(`"\\u0065xp":${goodClaims.exp}`), {}],
    ['at Shield with all it requires', hs256(goodClaims), { tenant: 'acme' }, shield],
    [
      'of a reserved tenant where allowed',
      claims({ tenant_id: 'arqon-preflight' }),
      { tenant: 'arqon-preflight' },
      { ...bus, allowReservedTenants: true },
    ],
    [
      'by RS256',
      signedToken('RS256', rsa.privateKey, goodClaims),
      { subject: 'alice' },
      { algorithm: 'RS256', publicKeyPem: pem(rsa), clock },
    ],
    [
      'by ES256',
      signedToken('ES256', ec.privateKey, goodClaims),
      { subject: 'alice' },
      { algorithm: 'ES256', publicKeyPem: pem(ec), clock },
    ],
    [
      'by EdDSA',
      signedToken('EdDSA', ed.privateKey, goodClaims),
      { subject: 'alice' },
      { algorithm: 'EdDSA', publicKeyPem: pem(ed), clock },
    ],
  ]
  it.each(cases)('%s', async (_title, token, identity, options = bus) => {
    expect(await outcome(options, token)).toMatchObject(identity)
  })
})

describe('a token is refused', () => {
  const cases: [string, AuthRefusal, string, AuthenticatorOptions?][] = [
    ['when empty', 'AUTH_MISSING', ''],
    ['over 8 KiB', 'AUTH_TOO_LARGE', claims({ pad: 'x'.repeat(7_000) })],
    ['over 8 KiB before it is even split', 'AUTH_TOO_LARGE', 'x'.repeat(8_193)],
    ['of one segment', 'AUTH_MALFORMED', 'abc'],
    ['of two segments', 'AUTH_MALFORMED', `${head}.${body}`],
    ['of four segments', 'AUTH_MALFORMED', `${hs256(goodClaims)}.${signature}`],
    ['of five segments (encrypted)', 'AUTH_MALFORMED', 'a.b.c.d.e'],
    ['with padding', 'AUTH_MALFORMED', `${head}.${body}.${signature}=`],
    ['with the other base64 alphabet', 'AUTH_MALFORMED', `${head}.${body}.${signature.slice(0, -1)}+`],
    ['with spare bits set in the signature', 'AUTH_MALFORMED', slack],
    ['with white space', 'AUTH_MALFORMED', ` ${hs256(goodClaims)}`],
    ['with a line break', 'AUTH_MALFORMED', `${hs256(goodClaims)}\n`],
    ['with a header that is not JSON', 'AUTH_MALFORMED', hmacToken('alg', '{}')],
    ['with a header that is a list', 'AUTH_MALFORMED', hmacToken('["HS256"]', '{}')],
    [
      'with a header that names alg twice',
      'AUTH_MALFORMED',
      hmacToken('{"alg":"none","alg":"HS256"}', JSON.stringify(goodClaims)),
    ],
    [
      'with a header that is not UTF-8',
      'AUTH_MALFORMED',
      `${base64url(Buffer.from([0x7b, 0xff, 0x7d]))}.${body}.${signature}`,
    ],
    ['with claims that are not JSON', 'AUTH_MALFORMED', hs256('exp=1')],
    ['with claims that are a list', 'AUTH_MALFORMED', hs256('[]')],
    ['with claims that are null', 'AUTH_MALFORMED', hs256('null')],
    ['with a byte order mark before the claims', 'AUTH_MALFORMED', hs256(`\ufeff${JSON.stringify(goodClaims)}`)],
    ['with empty claims', 'AUTH_MALFORMED', `${head}..${signature}`],
    ['with crit', 'AUTH_MALFORMED', hs256(goodClaims, { crit: ['exp'] })],
    ['with b64', 'AUTH_MALFORMED', hs256(goodClaims, { b64: false })],
    ['without alg', 'AUTH_ALG_NOT_ALLOWED', hmacToken('{"typ":"JWT"}', JSON.stringify(goodClaims))],
    ['with alg none', 'AUTH_ALG_NOT_ALLOWED', none],
    ['with alg None', 'AUTH_ALG_NOT_ALLOWED', none.replace(base64url('{"alg":"none"}'), base64url('{"alg":"None"}'))],
    ['with alg hs256', 'AUTH_ALG_NOT_ALLOWED', hmacToken('{"alg":"hs256"}', JSON.stringify(goodClaims))],
    [
      'with alg HS512',
      'AUTH_ALG_NOT_ALLOWED',
      hmacToken('{"alg":"HS512"}', JSON.stringify(goodClaims), testSecret, 'sha512'),
    ],
    ['with alg as a list', 'AUTH_ALG_NOT_ALLOWED', hmacToken('{"alg":["HS256"]}', JSON.stringify(goodClaims))],
    ['by RS256 where HS256 is configured', 'AUTH_ALG_NOT_ALLOWED', signedToken('RS256', rsa.privateKey, goodClaims)],
    [
      'by HS256 with the RS256 public key as secret',
      'AUTH_ALG_NOT_ALLOWED',
      hs256(goodClaims, {}, pem(rsa)),
      { algorithm: 'RS256', publicKeyPem: pem(rsa), clock },
    ],
    [
      'by another RSA key',
      'AUTH_SIGNATURE',
      signedToken('RS256', weakRsa.privateKey, goodClaims),
      { algorithm: 'RS256', publicKeyPem: pem(rsa), clock },
    ],
    ['with kid ../../etc/passwd', 'AUTH_KEY_UNKNOWN', hs256(goodClaims, { kid: '../../etc/passwd' })],
    ['with kid /dev/null', 'AUTH_KEY_UNKNOWN', hs256(goodClaims, { kid: '/dev/null' })],
    ['with a kid that is a query', 'AUTH_KEY_UNKNOWN', hs256(goodClaims, { kid: "' OR 1=1 --" })],
    ['with a kid of 2,000 characters', 'AUTH_KEY_UNKNOWN', hs256(goodClaims, { kid: 'k'.repeat(2_000) })],
    ['with a kid of 10 KB', 'AUTH_TOO_LARGE', hs256(goodClaims, { kid: 'k'.repeat(10_000) })],
    ['of type JOSE', 'AUTH_TYPE_NOT_ALLOWED', hs256(goodClaims, { typ: 'JOSE' })],
    [
      'of type dpop+jwt, which is a proof and no token',
      'AUTH_TYPE_NOT_ALLOWED',
      hs256(goodClaims, { typ: 'dpop+jwt' }),
    ],
    ['with a type that is a list', 'AUTH_TYPE_NOT_ALLOWED', hs256(goodClaims, { typ: ['JWT'] })],
    ['with a kid that is an address', 'AUTH_KEY_UNKNOWN', hs256(goodClaims, { kid: 'https://evil.example/jwks' })],
    ['with a kid of statements', 'AUTH_KEY_UNKNOWN', hs256(goodClaims, { kid: "k1' UNION SELECT 'key" })],
    ['with kid __proto__ among named keys', 'AUTH_KEY_UNKNOWN', hs256(goodClaims, { ['kid']: '__proto__' }), keyed],
    ['with kid constructor among named keys', 'AUTH_KEY_UNKNOWN', hs256(goodClaims, { kid: 'constructor' }), keyed],
    ['with kid toString among named keys', 'AUTH_KEY_UNKNOWN', hs256(goodClaims, { kid: 'toString' }), keyed],
    ['with kid null', 'AUTH_KEY_UNKNOWN', hs256(goodClaims, { kid: null })],
    ['with a kid that is a number', 'AUTH_KEY_UNKNOWN', hs256(goodClaims, { kid: 1 })],
    ['with an unknown kid', 'AUTH_KEY_UNKNOWN', hs256(goodClaims, { kid: 'k2' }), keyed],
    ['with another secret', 'AUTH_SIGNATURE', hs256(goodClaims, {}, 'b'.repeat(40))],
    ['with an empty signature', 'AUTH_SIGNATURE', `${head}.${body}.`],
    ['with a short signature', 'AUTH_SIGNATURE', `${head}.${body}.AA`],
    [
      'with claims of another token',
      'AUTH_SIGNATURE',
      `${head}.${base64url(JSON.stringify({ ...goodClaims, role: 'admin' }))}.${signature}`,
    ],
    ['before its bad claims are believed', 'AUTH_SIGNATURE', hs256({}, {}, 'b'.repeat(40))],
    ['without exp', 'AUTH_EXP_REQUIRED', without('exp')],
    ['with exp null', 'AUTH_EXP_INVALID', claims({ exp: null })],
    ['with exp as text', 'AUTH_EXP_INVALID', claims({ exp: `${goodClaims.exp}` })],
    ['with exp 1e308', 'AUTH_EXP_INVALID', text('"exp":1e308')],
    ['with exp 1e400, which is infinite', 'AUTH_EXP_INVALID', text('"exp":1e400')],
    ['with a negative exp', 'AUTH_EXP_INVALID', claims({ exp: -1, iat: undefined })],
    ['with a lifetime over 24 h', 'AUTH_EXP_INVALID', claims({ iat: testNow, exp: testNow + 86_401 })],
    ['with 24 h and 1 s to go and no iat', 'AUTH_EXP_INVALID', claims({ iat: undefined, exp: testNow + 86_401 })],
    ['that ends before it was issued', 'AUTH_EXP_INVALID', claims({ iat: testNow + 10, exp: testNow + 5 })],
    ['with a fractional exp at Shield', 'AUTH_EXP_INVALID', claims({ exp: testNow + 60.5 }), shield],
    ['31 s after its end', 'AUTH_EXPIRED', claims({ exp: testNow - 31, iat: testNow - 100 })],
    ['31 s before nbf', 'AUTH_NOT_YET_VALID', claims({ nbf: testNow + 31 })],
    ['31 s before iat', 'AUTH_NOT_YET_VALID', claims({ iat: testNow + 31 })],
    ['with nbf as text', 'AUTH_CLAIMS_INVALID', claims({ nbf: '1' })],
    ['with iat as text', 'AUTH_CLAIMS_INVALID', claims({ iat: '1' })],
    ['with iat null', 'AUTH_CLAIMS_INVALID', claims({ iat: null })],
    ['without iat at Shield', 'AUTH_CLAIMS_INVALID', without('iat'), shield],
    ['without tenant_id at Shield', 'AUTH_CLAIMS_INVALID', without('tenant_id'), shield],
    ['without sub', 'AUTH_CLAIMS_INVALID', without('sub')],
    ['with an empty sub', 'AUTH_CLAIMS_INVALID', claims({ sub: '' })],
    ['with a sub of 257 characters', 'AUTH_CLAIMS_INVALID', claims({ sub: 'x'.repeat(257) })],
    ['with a sub that is a number', 'AUTH_CLAIMS_INVALID', claims({ sub: 7 })],
    ['with a line break in sub', 'AUTH_CLAIMS_INVALID', claims({ sub: 'a\nb' })],
    ['with half a surrogate pair in sub', 'AUTH_CLAIMS_INVALID', hs256(`{"sub":"\\ud800","exp":${goodClaims.exp}}`)],
    ['with a duplicate tenant_id', 'AUTH_CLAIMS_INVALID', text(`"exp":${goodClaims.exp},"tenant_id":"evil"`)],
    [
      'with a duplicate tenant_id behind an escape',
      'AUTH_CLAIMS_INVALID',
      text(`"exp":${goodClaims.exp},"tenant\\u005fid":"evil"`),
    ],
    [
      'with a duplicate key deep inside',
      'AUTH_CLAIMS_INVALID',
      text(`"exp":${goodClaims.exp},"x":[{"a":{"b":1,"b":2}}]`),
    ],
    ['with a tenant_id that is a number', 'AUTH_CLAIMS_INVALID', claims({ tenant_id: 1 })],
    ['with tenant_id null', 'AUTH_CLAIMS_INVALID', claims({ tenant_id: null })],
    ['with an empty tenant_id', 'AUTH_CLAIMS_INVALID', claims({ tenant_id: '' })],
    ['with a dot in tenant_id', 'AUTH_CLAIMS_INVALID', claims({ tenant_id: 'acme.eu' })],
    ['with CR LF in tenant_id', 'AUTH_CLAIMS_INVALID', claims({ tenant_id: 'a\r\nPUB x' })],
    ['with tenant_id >', 'AUTH_CLAIMS_INVALID', claims({ tenant_id: '>' })],
    ['with a tenant_id of 65 characters', 'AUTH_CLAIMS_INVALID', claims({ tenant_id: 'a'.repeat(65) })],
    ['with tenant_id * for an admin', 'AUTH_CLAIMS_INVALID', claims({ tenant_id: '*', role: 'admin' })],
    ['with tenant_id * for a user', 'AUTH_CLAIMS_INVALID', claims({ tenant_id: '*' })],
    ['of an operator of one tenant', 'AUTH_CLAIMS_INVALID', claims({ role: 'operator' })],
    ['of an operator without tenant_id', 'AUTH_CLAIMS_INVALID', claims({ role: 'operator', tenant_id: undefined })],
    ['of a reserved tenant', 'AUTH_CLAIMS_INVALID', claims({ tenant_id: 'arqon-canary' })],
    ['with an unknown role', 'AUTH_CLAIMS_INVALID', claims({ role: 'root' })],
    ['with a role that is a list', 'AUTH_CLAIMS_INVALID', claims({ role: ['admin'] })],
    ['with an empty role', 'AUTH_CLAIMS_INVALID', claims({ role: '' })],
    ['with a role of lookalike letters', 'AUTH_CLAIMS_INVALID', claims({ role: 'admın' })],
    ['with permissions as text', 'AUTH_CLAIMS_INVALID', claims({ permissions: 'channel_view' })],
    ['with permissions that are not all text', 'AUTH_CLAIMS_INVALID', claims({ permissions: ['a', 1] })],
    ['with permissions null', 'AUTH_CLAIMS_INVALID', claims({ permissions: null })],
    ['with another iss', 'AUTH_ISSUER', claims({ iss: 'https://evil.example', aud: 'arqonbus' }), dated],
    ['without iss', 'AUTH_ISSUER', claims({ aud: 'arqonbus' }), dated],
    ['with another aud', 'AUTH_AUDIENCE', claims({ iss: 'https://id.example', aud: 'x' }), dated],
    ['with an aud list of others', 'AUTH_AUDIENCE', claims({ iss: 'https://id.example', aud: ['x', 'y'] }), dated],
    ['without aud', 'AUTH_AUDIENCE', claims({ iss: 'https://id.example' }), dated],
    ['with an aud at a Shield that has none', 'AUTH_AUDIENCE', claims({ aud: 'x' }), shield],
  ]
  it.each(cases)('%s: %s', async (_title, refusal, token, options = bus) => {
    expect(await outcome(options, token)).toBe(refusal)
  })

  it('covers more than 60 tokens and every refusal but those that others make', () => {
    const seen = new Set(cases.map(([, refusal]) => refusal))
    expect(cases.length).toBeGreaterThan(60)
    expect([...seen].sort()).toEqual(
      [
        'AUTH_MISSING',
        'AUTH_MALFORMED',
        'AUTH_TOO_LARGE',
        'AUTH_ALG_NOT_ALLOWED',
        'AUTH_TYPE_NOT_ALLOWED',
        'AUTH_KEY_UNKNOWN',
        'AUTH_SIGNATURE',
        'AUTH_EXP_REQUIRED',
        'AUTH_EXP_INVALID',
        'AUTH_EXPIRED',
        'AUTH_NOT_YET_VALID',
        'AUTH_CLAIMS_INVALID',
        'AUTH_ISSUER',
        'AUTH_AUDIENCE',
      ].sort(),
    )
  })
})

describe('an authenticator is not created', () => {
  const cases: [string, string, AuthenticatorOptions][] = [
    ['without a secret', 'KEY_MISSING', { algorithm: 'HS256', clock }],
    ['with a secret of 31 bytes', 'SECRET_TOO_SHORT', { algorithm: 'HS256', secret: 'x'.repeat(31), clock }],
    ['with an empty secret', 'SECRET_TOO_SHORT', { algorithm: 'HS256', secret: '', clock }],
    ['with a PEM key as a secret', 'KEY_KIND', { algorithm: 'HS256', secret: pem(rsa), clock }],
    ['with an RSA key of 1024 bits', 'KEY_WEAK', { algorithm: 'RS256', publicKeyPem: pem(weakRsa), clock }],
    ['with an EC key for RS256', 'KEY_KIND', { algorithm: 'RS256', publicKeyPem: pem(ec), clock }],
    ['with a P-384 key for ES256', 'KEY_KIND', { algorithm: 'ES256', publicKeyPem: pem(ecOther), clock }],
    ['with an RSA key for EdDSA', 'KEY_KIND', { algorithm: 'EdDSA', publicKeyPem: pem(rsa), clock }],
    ['without a public key', 'KEY_MISSING', { algorithm: 'ES256', secret: testSecret, clock }],
    ['with what is no PEM', 'KEY_UNREADABLE', { algorithm: 'RS256', publicKeyPem: 'nonsense', clock }],
    [
      'with a private key',
      'KEY_PRIVATE',
      { algorithm: 'EdDSA', publicKeyPem: ed.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), clock },
    ],
  ]
  it.each(cases)('%s', async (_title, reason, options) => {
    const error: unknown = await createAuthenticator(options).catch((cause: unknown) => cause)
    if (!isBusError(error, 'CONFIG_INVALID')) throw new Error('it was created', { cause: error })
    expect(error.details['reason']).toBe(reason)
    const key = options.secret ?? options.publicKeyPem
    if (key) expect(error.message).not.toContain(key)
  })

  it('but is with 32 bytes, counted in bytes and not in characters', async () => {
    await expect(createAuthenticator({ algorithm: 'HS256', secret: 'é'.repeat(16), clock })).resolves.toBeDefined()
  })
})
