// 100,000 damaged tokens: none may be accepted, and none may make the authenticator throw. A string that is accepted
// must be the original, character for character: one token, one spelling (reliability 0.2, L16).
import { expect, it } from 'vitest'
import { createAuthenticator } from '../../../src/auth/authenticator.ts'
import { authRefusals } from '../../../src/auth/identity.ts'
import { createManualClock } from '../../support/manual-clock.ts'
import { base64url, goodClaims, hs256, testNow, testSecret } from '../../support/tokens.ts'

const total = 100_000
const batch = 2_000
/** Printed by a failure; put it here to see that failure again. */
const seed = Date.now() % 2 ** 31

/** mulberry32: small, seeded, good enough to choose damage. */
function createRandom(start: number): (below: number) => number {
  let state = start
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/. \n\0é'

it('accepts none of 100,000 damaged tokens', async () => {
  const random = createRandom(seed)
  const pick = <T>(items: readonly T[]): T => items[random(items.length)]!
  const tokens = [
    hs256(goodClaims),
    hs256({ ...goodClaims, sub: 'bob', role: 'admin' }),
    hs256({ ...goodClaims, tenant_id: 'other', permissions: ['channel_view'] }),
  ]
  const parts = tokens.map((token) => token.split('.'))
  const headers = ['none', 'None', 'NONE', 'hs256', 'Hs256', 'HS384', 'HS512', 'RS256', 'ES256', 'EdDSA', '', ' HS256']

  const damages: ((token: string) => string)[] = [
    // a bit of the text
    (token) => {
      const at = random(token.length)
      return token.slice(0, at) + String.fromCharCode(token.charCodeAt(at) ^ (1 << random(7))) + token.slice(at + 1)
    },
    // a bit of what a segment decodes to
    (token) => {
      const segments = token.split('.')
      const which = random(3)
      const bytes = Buffer.from(segments[which]!, 'base64url')
      bytes[random(bytes.length)]! ^= 1 << random(8)
      segments[which] = base64url(bytes)
      return segments.join('.')
    },
    // segments of several tokens, in any order
    () => [pick(parts)[random(3)]!, pick(parts)[random(3)]!, pick(parts)[random(3)]!].join('.'),
    // another algorithm, with the old signature or none
    (token) => {
      const [, body, signature] = token.split('.')
      return `${base64url(JSON.stringify({ alg: pick(headers), typ: 'JWT' }))}.${body}.${pick([signature, ''])}`
    },
    // characters put in, taken out, replaced
    (token) => {
      const at = random(token.length + 1)
      return token.slice(0, at) + alphabet.charAt(random(alphabet.length)) + token.slice(at + random(2))
    },
    (token) => {
      const at = random(token.length)
      return token.slice(0, at) + token.slice(at + 1 + random(4))
    },
    // the last character of a segment: spare bits
    (token) => {
      const segments = token.split('.')
      const which = random(3)
      segments[which] = segments[which]!.slice(0, -1) + alphabet.charAt(random(alphabet.length))
      return segments.join('.')
    },
    // claims changed, signature kept
    (token) => {
      const [head, , signature] = token.split('.')
      const claims = { ...goodClaims, [pick(['role', 'tenant_id', 'sub', 'exp'])]: pick(['admin', '*', 'x', 9e15]) }
      return `${head}.${base64url(JSON.stringify(claims))}.${signature}`
    },
  ]

  const clock = createManualClock(testNow * 1_000)
  const authenticator = await createAuthenticator({ algorithm: 'HS256', secret: testSecret, clock })
  const refusals = new Map<string, number>()
  const accepted: string[] = []
  let unchanged = 0
  for (let done = 0; done < total; ) {
    const mutants: string[] = []
    while (mutants.length < batch) {
      const mutant = pick(damages)(pick(tokens))
      if (tokens.includes(mutant)) unchanged++
      else mutants.push(mutant)
    }
    const results = await Promise.all(mutants.map((mutant) => authenticator.authenticate(mutant)))
    for (const [index, result] of results.entries()) {
      if (result.ok) accepted.push(mutants[index]!)
      else refusals.set(result.refusal, (refusals.get(result.refusal) ?? 0) + 1)
    }
    done += batch
  }
  expect(accepted, `seed ${seed}`).toEqual([])
  expect([...refusals.keys()].filter((code) => !authRefusals.some((known) => known === code))).toEqual([])
  // The damage reached every wall: spelling, algorithm and signature.
  for (const wall of ['AUTH_MALFORMED', 'AUTH_ALG_NOT_ALLOWED', 'AUTH_SIGNATURE'])
    expect(refusals.get(wall) ?? 0, `${wall}, seed ${seed}, ${unchanged} unchanged`).toBeGreaterThan(1_000)
  for (const token of tokens) expect(await authenticator.authenticate(token)).toMatchObject({ ok: true })
}, 30_000)
