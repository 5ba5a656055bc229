// Tokens over separate processes and a real NATS server: keys that rotate without a restart, a refresh that an
// independent observer of every subject never sees, a revocation that ends live sessions at every Shield within a second.
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { closeTable } from '../../../src/base/close-codes.ts'
import { strongSecret } from '../../support/environments.ts'
import { type LaunchedProgram, launchBus, launchShield } from '../../support/launch/launch-linked.ts'
import { WireClient } from '../../support/launch/wire-client.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { signedToken } from '../../support/tokens.ts'

type Pair = { readonly publicKey: KeyObject; readonly privateKey: KeyObject }
const [first, second] = [generateKeyPairSync('ed25519'), generateKeyPairSync('ed25519')]
const jwks = (keys: Readonly<Record<string, Pair>>): string =>
  JSON.stringify({
    keys: Object.entries(keys).map(([kid, { publicKey }]) => ({ ...publicKey.export({ format: 'jwk' }), kid })),
  })
const poll = { timeout: 8_000, interval: 50 }

describe.skipIf(skipWithout('nats'))('tokens of separate processes', () => {
  let folder: string
  let keyFile: string
  let nats: NatsServerProcess
  let observer: NatsConnection
  let bus: LaunchedProgram
  let near: LaunchedProgram
  let far: LaunchedProgram
  const seen: string[] = []
  const subjects = new Set<string>()
  const clients: WireClient[] = []

  function tokenOf(
    subject: string,
    options: { key?: Pair; kid?: string; tenant?: string; role?: string } = {},
  ): string {
    const { key = first, kid = 'one', tenant = 'acme', role = 'user' } = options
    const iat = Math.floor(Date.now() / 1_000)
    return signedToken('EdDSA', key.privateKey, { sub: subject, tenant_id: tenant, role, iat, exp: iat + 600 }, { kid })
  }
  async function client(at: LaunchedProgram, token: string): Promise<WireClient> {
    const one = await WireClient.connect(at.url, { token })
    clients.push(one)
    return one
  }
  const opens = (token: string): Promise<boolean> =>
    WireClient.connect(near.url, { token }).then(
      (one) => one.close().then(() => true),
      () => false,
    )

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'arqonbus-e2e-tokens-'))
    keyFile = join(folder, 'keys.json')
    await writeFile(keyFile, jwks({ one: first }))
    nats = await startNatsServer({ config: 'max_payload: 2MB' })
    const env = {
      NATS_URL: nats.url,
      JWT_SECRET: strongSecret,
      ARQONBUS_AUTH_JWT_ALGORITHM: 'EdDSA',
      ARQONBUS_AUTH_JWT_KEY_FILE: keyFile,
      ARQONBUS_DATA_DIR: folder,
    }
    bus = await launchBus(env)
    // After the bus, which takes a listener on every subject that does not answer for another bus.
    observer = await connect({ servers: nats.url })
    const subscription = observer.subscribe('>', {
      callback: (_error, message) => {
        subjects.add(message.subject)
        const headers = [...(message.headers?.keys() ?? [])].map((name) => `${name}: ${message.headers?.get(name)}`)
        seen.push(`${message.subject}\n${headers.join('\n')}\n${Buffer.from(message.data).toString('latin1')}`)
      },
    })
    expect(subscription.isClosed()).toBe(false)
    await observer.flush()
    ;[near, far] = await Promise.all([launchShield(env), launchShield(env)])
  }, 60_000)

  afterAll(async () => {
    for (const one of clients) await one.terminate()
    for (const program of [near, far, bus]) await program?.kill()
    await observer?.close()
    await nats?.close()
    await rm(folder, { recursive: true, force: true })
  })

  test('keys rotate without a restart: both for a while, then the old one no more', async () => {
    const renewed = tokenOf('alice', { key: second, kid: 'two' })
    expect(await opens(tokenOf('alice'))).toBe(true)
    expect(await opens(renewed)).toBe(false)
    await writeFile(keyFile, jwks({ one: first, two: second }))
    await expect.poll(() => opens(renewed), poll).toBe(true)
    expect(await opens(tokenOf('alice'))).toBe(true)
    await writeFile(keyFile, jwks({ two: second }))
    await expect.poll(() => opens(tokenOf('alice')), poll).toBe(false)
    await writeFile(keyFile, jwks({ one: first, two: second }))
    await expect.poll(() => opens(tokenOf('alice')), poll).toBe(true)
  })

  test('a refresh ends at Shield: neither the old token nor the new one is ever on NATS', async () => {
    const [old, renewed] = [tokenOf('carol'), tokenOf('carol', { key: second, kid: 'two' })]
    const carol = await client(near, old)
    await carol.join('ops', 'a')
    const response = await carol.command('auth.refresh', { token: renewed })
    expect(response.status).toBe('success')
    // Its membership was judged again and holds: what others publish still comes.
    const dave = await client(far, tokenOf('dave'))
    expect((await dave.publish('ops', 'a', { n: 1 })).type).toBe('message_response')
    await carol.received(1, 'a')
    await observer.flush()
    expect([...subjects].some((subject) => subject === 'in.t.acme.raw')).toBe(true)
    expect(seen.some((text) => text.includes('carol'))).toBe(true)
    const parts = [old, renewed].flatMap((token) => [token, ...token.split('.').slice(1)])
    for (const part of parts) {
      expect(seen.filter((text) => text.includes(part) || text.includes(Buffer.from(part).toString('base64')))).toEqual(
        [],
      )
    }
    expect(seen.filter((text) => text.includes('auth.refresh'))).toEqual([])
  })

  test.each([
    ['another subject', { subject: 'mallory' }],
    ['another tenant', { tenant: 'globex' }],
  ])(
    'a refresh with a token of %s closes the session',
    async (_title, { subject = 'erin', tenant }: Record<string, string>) => {
      const erin = await client(near, tokenOf('erin'))
      const response = await erin.command('auth.refresh', {
        token: tokenOf(subject!, { ...(tenant !== undefined && { tenant }) }),
      })
      expect(response.error_code).toBe('AUTHENTICATION_FAILED')
      expect((await erin.closed).code).toBe(closeTable.TOKEN_REVOKED.code)
    },
  )

  test('a revoked subject is out at every Shield within a second, and cannot come back; others stay', async () => {
    const root = await client(near, tokenOf('root', { role: 'admin' }))
    const victims = [await client(near, tokenOf('frank')), await client(far, tokenOf('frank'))]
    const namesake = await client(far, tokenOf('frank', { tenant: 'globex' }))
    const startedAt = performance.now()
    expect((await root.command('auth.revoke', { subject: 'frank' })).status).toBe('success')
    const closes = await Promise.all(victims.map(({ closed }) => closed))
    const tookMs = performance.now() - startedAt
    process.stdout.write(`revocation of a subject reached two Shields within ${Math.round(tookMs)} ms\n`)
    expect(closes.map(({ code }) => code)).toEqual([closeTable.TOKEN_REVOKED.code, closeTable.TOKEN_REVOKED.code])
    expect(tookMs).toBeLessThan(1_000)
    expect(await opens(tokenOf('frank'))).toBe(false)
    expect((await namesake.command('ping')).status).toBe('success')
    expect((await root.command('ping')).status).toBe('success')
  })

  test('a revoked tenant is out within a second, its admin included; another tenant stays', async () => {
    const root = await client(near, tokenOf('root', { tenant: 'initech', role: 'admin' }))
    const victims = [
      await client(near, tokenOf('gina', { tenant: 'initech' })),
      await client(far, tokenOf('hugo', { tenant: 'initech' })),
    ]
    const other = await client(far, tokenOf('gina'))
    const startedAt = performance.now()
    expect((await root.command('auth.revoke', { everyone: true })).status).toBe('success')
    const closes = await Promise.all([root, ...victims].map(({ closed }) => closed))
    expect(performance.now() - startedAt).toBeLessThan(1_000)
    expect(new Set(closes.map(({ code }) => code))).toEqual(new Set([closeTable.TOKEN_REVOKED.code]))
    expect((await other.command('ping')).status).toBe('success')
  })
})
