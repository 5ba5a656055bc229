// Keys that change while the process runs: a file that is written or replaced, and a provider on a real HTTP server
// that rotates, floods, redirects, hangs or goes away.
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createAuthenticator } from '../../../src/auth/authenticator.ts'
import { type LiveKeys, openFileKeys } from '../../../src/auth/file-keys.ts'
import { openRemoteKeys, type RemoteKeysTiming } from '../../../src/auth/remote-keys.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { createManualClock } from '../../support/manual-clock.ts'
import { goodClaims, signedToken, testNow } from '../../support/tokens.ts'

const [first, second] = [generateKeyPairSync('ed25519'), generateKeyPairSync('ed25519')]
type Pair = { readonly publicKey: KeyObject; readonly privateKey: KeyObject }
const jwks = (keys: Readonly<Record<string, Pair>>): string =>
  JSON.stringify({
    keys: Object.entries(keys).map(([kid, { publicKey }]) => ({ ...publicKey.export({ format: 'jwk' }), kid })),
  })
const pem = ({ publicKey }: Pair): string => publicKey.export({ type: 'spki', format: 'pem' }).toString()
const poll = { timeout: 5_000, interval: 10 }
/** Of the keys; tokens are judged at one moment. */
const clock = createManualClock(testNow * 1_000)
const frozen = createManualClock(testNow * 1_000)
const opened: LiveKeys[] = []

/** `accepted`, or why a token of that key and name was refused. */
async function judge(keys: LiveKeys, { privateKey }: Pair, kid?: string): Promise<string> {
  const authenticator = await createAuthenticator({ algorithm: 'EdDSA', keys, clock: frozen })
  const header = kid === undefined ? {} : { kid }
  const result = await authenticator.authenticate(signedToken('EdDSA', privateKey, goodClaims, header))
  return result.ok ? 'accepted' : result.refusal
}

afterEach(() => {
  for (const keys of opened.splice(0)) keys.close()
})

describe('a key file', () => {
  let folder: string
  let path: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'arqonbus-keys-'))
    path = join(folder, 'keys')
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))
  async function open(): Promise<LiveKeys> {
    const keys = await openFileKeys({ path, algorithm: 'EdDSA', logger: silentLogger, intervalMs: 20 })
    opened.push(keys)
    return keys
  }

  test('that is written anew counts, and the old key does not any more', async () => {
    await writeFile(path, pem(first))
    const keys = await open()
    expect(await judge(keys, first)).toBe('accepted')
    await writeFile(path, jwks({ two: second }))
    await expect.poll(() => judge(keys, second, 'two'), poll).toBe('accepted')
    expect(await judge(keys, first)).toBe('AUTH_SIGNATURE')
    expect(keys.state()).toEqual({ state: 'up' })
  })

  test('that is replaced, or a link that is turned, is seen too', async () => {
    await writeFile(join(folder, 'a'), pem(first))
    await writeFile(join(folder, 'b'), pem(second))
    await symlink('a', path)
    const keys = await open()
    await symlink('b', join(folder, 'next'))
    await rename(join(folder, 'next'), path)
    await expect.poll(() => judge(keys, second), poll).toBe('accepted')
    await writeFile(join(folder, 'c'), pem(first))
    await rename(join(folder, 'c'), path)
    await expect.poll(() => judge(keys, first), poll).toBe('accepted')
  })

  test('that becomes bad or goes away changes nothing and says so, until it is good again', async () => {
    await writeFile(path, pem(first))
    const keys = await open()
    await writeFile(path, 'half a k')
    await expect.poll(() => keys.state().state, poll).toBe('degraded')
    expect(await judge(keys, first)).toBe('accepted')
    await rm(path)
    await expect.poll(() => keys.state().detail, poll).toContain('cannot be read')
    expect(await judge(keys, first)).toBe('accepted')
    await writeFile(path, pem(second))
    await expect.poll(() => keys.state().state, poll).toBe('up')
    expect(await judge(keys, first)).toBe('AUTH_SIGNATURE')
  })

  test.each([
    ['is not there', undefined, 'KEY_FILE_UNREADABLE'],
    ['is too large', 'x'.repeat(70_000), 'KEY_FILE_UNREADABLE'],
    ['holds no key', 'nonsense', 'KEY_UNREADABLE'],
  ])('that %s refuses the start', async (_title, text, reason) => {
    if (text !== undefined) await writeFile(path, text)
    await expect(open()).rejects.toMatchObject({ code: 'CONFIG_INVALID', details: { reason } })
  })
})

describe('a provider', () => {
  let server: Server
  let url: string
  let requests: number
  let answer: RequestListener
  const give =
    (text: string): RequestListener =>
    (_request, response) =>
      void response.end(text)

  beforeEach(async () => {
    requests = 0
    answer = give(jwks({ one: first }))
    server = createServer((request, response) => {
      requests++
      answer(request, response)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/secret-path/jwks?token=hunter-two`
  })
  afterEach(() => {
    server.closeAllConnections()
    server.close()
  })

  async function open(timing: Partial<RemoteKeysTiming> = {}): Promise<LiveKeys> {
    const keys = await openRemoteKeys({
      url,
      algorithm: 'EdDSA',
      maxStaleMs: 3_600_000,
      clock,
      logger: silentLogger,
      timing: { refreshMs: 1_000_000, timeoutMs: 300, betweenTriesMs: 1, ...timing },
    })
    opened.push(keys)
    return keys
  }

  test('that rotates is asked at the first token of the new key, and once per cooldown whatever comes', async () => {
    const keys = await open()
    expect(await judge(keys, first, 'one')).toBe('accepted')
    answer = give(jwks({ one: first, two: second }))
    // Asked a moment ago: a name nobody knows does not ask again.
    expect(await judge(keys, second, 'two')).toBe('AUTH_KEY_UNKNOWN')
    expect(requests).toBe(1)
    clock.advance(30_000)
    const outcomes = await Promise.all(Array.from({ length: 50 }, () => judge(keys, second, 'two')))
    expect(new Set(outcomes)).toEqual(new Set(['accepted']))
    expect(requests).toBe(2)
    for (let n = 0; n < 50; n++) expect(await judge(keys, second, `no-${n}`)).toBe('AUTH_KEY_UNKNOWN')
    expect(requests).toBe(2)
    clock.advance(30_000)
    await Promise.all(Array.from({ length: 50 }, (_, n) => judge(keys, second, `no-${n}`)))
    expect(requests).toBe(3)
  })

  test('that takes a key back is believed at the next refresh', async () => {
    const keys = await open({ refreshMs: 20 })
    answer = give(jwks({ two: second }))
    await expect.poll(() => judge(keys, first, 'one'), poll).toBe('AUTH_KEY_UNKNOWN')
    expect(await judge(keys, second, 'two')).toBe('accepted')
  })

  test('that goes away leaves its keys in force for a bound, then none, and all is well when it is back', async () => {
    const keys = await open({ refreshMs: 20, cooldownMs: 20 })
    answer = (_request, response) => void response.writeHead(500).end()
    await expect.poll(() => keys.state().state, poll).toBe('degraded')
    clock.advance(3_000_000)
    expect(await judge(keys, first, 'one')).toBe('accepted')
    clock.advance(700_000)
    expect(await judge(keys, first, 'one')).toBe('AUTH_KEYS_UNAVAILABLE')
    expect(keys.state()).toMatchObject({ state: 'down', detail: expect.stringContaining('every token is refused') })
    answer = give(jwks({ one: first }))
    await expect.poll(() => keys.state().state, poll).toBe('up')
    expect(await judge(keys, first, 'one')).toBe('accepted')
  })

  test.each<[string, string, RequestListener]>([
    ['answers 404', 'KEYS_STATUS', (_request, response) => void response.writeHead(404).end()],
    [
      'redirects',
      'KEYS_STATUS',
      ({ url: target }, response) =>
        void (target === '/good'
          ? response.end(jwks({ one: first }))
          : response.writeHead(302, { location: '/good' }).end()),
    ],
    ['floods', 'KEYS_TOO_LARGE', (_request, response) => void response.end(jwks({ one: first }).padEnd(70_000))],
    ['says nothing', 'KEYS_TIMEOUT', () => undefined],
    ['stops in the middle', 'KEYS_TIMEOUT', (_request, response) => void response.write('{"keys":[')],
    ['hangs up', 'KEYS_UNREACHABLE', ({ socket }) => void socket.destroy()],
    ['has no key for us', 'KEYS_UNUSABLE', (_request, response) => void response.end('{"keys":[]}')],
  ])(
    'that %s refuses the start after three tries, and shows no more than its origin',
    async (_title, reason, listener) => {
      answer = listener
      const error: unknown = await open().catch((cause: unknown) => cause)
      expect(error).toMatchObject({ code: 'KEYS_UNAVAILABLE', details: { reason } })
      expect(requests).toBe(3)
      expect((error as Error).message).toContain(new URL(url).origin)
      for (const hidden of ['secret-path', 'hunter-two']) expect((error as Error).message).not.toContain(hidden)
    },
  )

  test('that cannot be reached at first and then can lets the start go on', async () => {
    let isFirst = true
    answer = (request, response) => {
      if (isFirst) request.socket.destroy()
      else response.end(jwks({ one: first }))
      isFirst = false
    }
    expect(await judge(await open(), first, 'one')).toBe('accepted')
  })
})
