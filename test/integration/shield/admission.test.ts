// Who is counted as whom at Shield's door: addresses behind proxies, tenants by the rate of their handshakes, and tokens
// that are refused for a reason only the operator reads.
import { afterEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import type { AuthRefusal } from '../../../src/auth/identity.ts'
import { type EdgeLab, type EdgeLabOptions, labAuthenticator, startEdgeLab } from '../../support/edge-lab.ts'

let lab: EdgeLab
const open: WebSocket[] = []
afterEach(async () => {
  for (const ws of open.splice(0)) ws.terminate()
  await lab.close()
})
const start = async (options: EdgeLabOptions): Promise<void> => {
  lab = await startEdgeLab(options)
}

interface Outcome {
  readonly status: number
  readonly limit?: string
  readonly retryAfter?: string | undefined
}

/** Stays open when it is let in. */
function attempt(headers: Readonly<Record<string, string>>): Promise<Outcome> {
  const ws = new WebSocket(lab.url, { headers: { authorization: 'Bearer acme.alice', ...headers } })
  open.push(ws)
  return new Promise((resolve, reject) => {
    ws.once('open', () => resolve({ status: 101 }))
    ws.once('unexpected-response', (request, response) => {
      let body = ''
      response.on('data', (chunk: Buffer) => (body += chunk.toString()))
      response.on('end', () => {
        const { limit, code } = JSON.parse(body) as { limit?: string; code?: string }
        request.destroy()
        const named = limit ?? code
        resolve({
          status: response.statusCode ?? 0,
          ...(named !== undefined && { limit: named }),
          retryAfter: response.headers['retry-after'],
        })
      })
    })
    ws.on('error', reject)
  })
}

const from = (address: string): Record<string, string> => ({ 'x-forwarded-for': address })
const full = { status: 429, limit: 'connections-per-address', retryAfter: '5' }

describe('connections of one address', () => {
  test('behind a proxy of ours count by what it saw, whatever the client wrote before', async () => {
    await start({ shield: { env: { SHIELD_TRUSTED_PROXY_HOPS: '1' } }, limits: { maxConnectionsPerAddress: 2 } })
    expect(await attempt(from('1.1.1.1'))).toEqual({ status: 101 })
    expect(await attempt(from('6.6.6.6, 1.1.1.1'))).toEqual({ status: 101 })
    expect(await attempt(from('7.7.7.7, 1.1.1.1'))).toEqual(full)
    expect(await attempt(from('1.1.1.2'))).toEqual({ status: 101 })
  })

  test('of IPv6 count by their /64', async () => {
    await start({ shield: { env: { SHIELD_TRUSTED_PROXY_HOPS: '1' } }, limits: { maxConnectionsPerAddress: 2 } })
    expect(await attempt(from('2001:db8:1:2::1'))).toEqual({ status: 101 })
    expect(await attempt(from('2001:db8:1:2:ffff::2'))).toEqual({ status: 101 })
    expect(await attempt(from('[2001:db8:1:2:3::3]:443'))).toEqual(full)
    expect(await attempt(from('2001:db8:1:3::1'))).toEqual({ status: 101 })
  })

  test('without proxies cannot be split by a header', async () => {
    await start({ limits: { maxConnectionsPerAddress: 2 } })
    expect(await attempt(from('1.1.1.1'))).toEqual({ status: 101 })
    expect(await attempt(from('1.1.1.2'))).toEqual({ status: 101 })
    expect(await attempt(from('1.1.1.3'))).toEqual(full)
  })
})

test('handshakes of one tenant are bounded in a second, and those of another are not held up', async () => {
  await start({ shield: { env: { SHIELD_LIMIT_HANDSHAKES_PER_SECOND_PER_TENANT: '2' } } })
  const outcomes = await Promise.all(
    Array.from({ length: 10 }, (_, n) => attempt({ authorization: `Bearer acme.u${n}` })),
  )
  const refused = outcomes.filter(({ status }) => status === 429)
  expect(refused.length).toBeGreaterThanOrEqual(4)
  for (const one of refused) expect(one).toEqual({ status: 429, limit: 'handshakes-per-tenant', retryAfter: '1' })
  expect(await attempt({ authorization: 'Bearer globex.bob' })).toEqual({ status: 101 })
})

test.each<[AuthRefusal, Outcome]>([
  ['AUTH_SIGNATURE', { status: 401, retryAfter: undefined }],
  ['AUTH_KEYS_UNAVAILABLE', { status: 503, limit: 'KEYS_UNAVAILABLE', retryAfter: '5' }],
])(
  'a token refused with %s is answered with no more than it needs, and counted by reason',
  async (refusal, outcome) => {
    const authenticate = (token: string) =>
      token === 'bad' ? Promise.resolve({ ok: false as const, refusal }) : labAuthenticator.authenticate(token)
    await start({ shield: { authenticator: { authenticate } } })
    expect(await attempt({ authorization: 'Bearer bad' })).toEqual(outcome)
    expect(lab.shield.metrics.read('shield_auth_refusals_total', refusal)).toBe(1)
    const client = await lab.client('acme.alice')
    const response = await client.command('auth.refresh', { token: 'bad' })
    expect(response.error_code).toBe(refusal === 'AUTH_SIGNATURE' ? 'AUTHENTICATION_FAILED' : 'KEYS_UNAVAILABLE')
    expect(lab.shield.metrics.read('shield_auth_refusals_total', refusal)).toBe(2)
  },
)
