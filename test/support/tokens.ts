// Tokens of every kind for tests, good and bad, spelled by hand: no library decides what may be in them.
import { createHmac, type KeyObject, sign } from 'node:crypto'

export const testSecret = 'a-secret-of-tests-that-is-40-bytes-long!'
/** 2026-11-23T12:00:00Z, in seconds. */
export const testNow = 1_795_435_200

export const base64url = (text: string | Buffer): string => Buffer.from(text).toString('base64url')

export function hmacToken(header: string, payload: string, secret = testSecret, hash = 'sha256'): string {
  const signed = `${base64url(header)}.${base64url(payload)}`
  return `${signed}.${createHmac(hash, secret).update(signed).digest('base64url')}`
}

/** Claims as an object, or as JSON text where JSON.stringify could not make it. */
export function hs256(claims: object | string, header: object = {}, secret = testSecret): string {
  const payload = typeof claims === 'string' ? claims : JSON.stringify(claims)
  return hmacToken(JSON.stringify({ alg: 'HS256', typ: 'JWT', ...header }), payload, secret)
}

export function signedToken(
  alg: 'RS256' | 'ES256' | 'EdDSA',
  key: KeyObject,
  claims: object,
  header: object = {},
): string {
  const signed = `${base64url(JSON.stringify({ alg, ...header }))}.${base64url(JSON.stringify(claims))}`
  const hash = alg === 'EdDSA' ? null : 'sha256'
  const signature = sign(hash, Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' })
  return `${signed}.${base64url(signature)}`
}

/** Claims that every server accepts at `testNow`. */
export const goodClaims = {
  sub: 'alice',
  tenant_id: 'acme',
  role: 'user',
  iat: testNow - 10,
  exp: testNow + 3_600,
}
