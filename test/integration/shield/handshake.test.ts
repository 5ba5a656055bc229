// What happens before a session exists: start-up that fails closed, upgrades that are refused with a reason.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { type EdgeLab, startEdgeLab } from '../../support/edge-lab.ts'

let lab: EdgeLab
beforeAll(async () => {
  lab = await startEdgeLab()
})
afterAll(() => lab.close())

const upgrade = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'sec-websocket-version': '13',
}
const token = { authorization: 'Bearer acme.alice' }

interface Answer {
  readonly status: number
  readonly body: string
  readonly headers: Readonly<Record<string, unknown>>
}

/** A raw request, of which `ws` would not let us get the details wrong. */
function ask(
  path: string,
  headers: Readonly<Record<string, string>>,
  method = 'GET',
  port = lab.shield.port,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, headers, method }, (response) => {
      let body = ''
      response.on('data', (chunk: Buffer) => (body += chunk.toString()))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body, headers: response.headers }))
    })
    sent.on('upgrade', (response, socket) => {
      socket.destroy()
      resolve({ status: response.statusCode ?? 0, body: '', headers: response.headers })
    })
    sent.on('error', reject)
    sent.end()
  })
}

describe('an upgrade', () => {
  test('with a good token becomes a WebSocket', async () => {
    expect(await ask('/ws', { ...upgrade, ...token })).toMatchObject({ status: 101 })
  })

  test.each([
    ['no header', {}, 'Missing Authorization header'],
    ['another scheme', { authorization: 'Basic YTpi' }, 'Authorization header is not Bearer token format'],
    ['lower case', { authorization: 'bearer acme.alice' }, 'Authorization header is not Bearer token format'],
    ['no space', { authorization: 'Beareracme.alice' }, 'Authorization header is not Bearer token format'],
    ['nothing after it', { authorization: 'Bearer ' }, 'Authorization header is not Bearer token format'],
    ['a bad token', { authorization: 'Bearer nonsense' }, 'JWT decode failed'],
    ['two spaces', { authorization: 'Bearer  .alice' }, 'JWT decode failed'],
  ])('with %s is refused with 401 before it is one', async (_name, headers, details) => {
    const answer = await ask('/ws', { ...upgrade, ...headers } as Record<string, string>)
    expect(answer.status).toBe(401)
    expect(JSON.parse(answer.body)).toEqual({ error: 'Unauthorized', details })
    expect(answer.headers['www-authenticate']).toBe('Bearer')
  })

  test('reads no token from the query or a subprotocol', async () => {
    const answer = await ask('/ws?token=acme.alice&access_token=acme.alice', {
      ...upgrade,
      'sec-websocket-protocol': 'arqon.v1, bearer.acme.alice',
    })
    expect(answer).toMatchObject({ status: 401, body: expect.stringContaining('Missing Authorization header') })
  })

  test('with too long a token is refused unread', async () => {
    expect(await ask('/ws', { ...upgrade, authorization: `Bearer ${'x'.repeat(9_000)}` })).toMatchObject({
      status: 431,
    })
  })

  test.each([
    ['a missing key', { 'sec-websocket-key': '' }, 400],
    ['a short key', { 'sec-websocket-key': 'abc' }, 400],
    ['an old version', { 'sec-websocket-version': '8' }, 400],
    ['another protocol', { upgrade: 'h2c' }, 400],
  ])('with %s is refused before the token is looked at', async (_name, headers, status) => {
    expect(await ask('/ws', { ...upgrade, ...headers })).toMatchObject({ status })
  })

  test.each(['/', '/wss', '/ws/', '/WS', '/ws%00', '//ws'])('to %s is not found', async (path) => {
    expect(await ask(path, { ...upgrade, ...token })).toMatchObject({ status: 404 })
  })

  test('by another method is not allowed, and a plain request is told to upgrade', async () => {
    expect(await ask('/ws', { ...upgrade, ...token }, 'POST')).toMatchObject({ status: 405 })
    expect(await ask('/ws', token, 'POST')).toMatchObject({ status: 405, headers: { allow: 'GET' } })
    expect(await ask('/ws', token)).toMatchObject({ status: 426 })
    expect(await ask('/metrics', token)).toMatchObject({ status: 404 })
  })

  test('from a foreign origin is refused', async () => {
    expect(await ask('/ws', { ...upgrade, ...token, origin: 'https://evil.example' })).toMatchObject({ status: 403 })
    expect(await ask('/ws', { ...upgrade, ...token, origin: 'null' })).toMatchObject({ status: 403 })
  })

  test('of half a request is ended, and others are served meanwhile', async () => {
    const half = connect(lab.shield.port, '127.0.0.1')
    half.write('GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n')
    await once(half, 'connect')
    expect(await ask('/ws', { ...upgrade, ...token })).toMatchObject({ status: 101 })
    half.destroy()
  })

  test('is refused with 503 while no bus answers', async () => {
    const alone = await startEdgeLab()
    await alone.stopBus()
    const client = new WebSocket(alone.url, { headers: token })
    client.on('error', () => undefined)
    const deadline = performance.now() + 5_000
    while (alone.shield.isBusReachable && performance.now() < deadline) await new Promise(setImmediate)
    expect(await ask('/ws', { ...upgrade, ...token }, 'GET', alone.shield.port)).toMatchObject({
      status: 503,
      body: expect.stringContaining('LINK_UNAVAILABLE'),
      headers: { 'retry-after': '1' },
    })
    await alone.close()
  })
})

describe('Shield does not start', () => {
  async function attempt(options: Parameters<EdgeLab['startShield']>[1]): Promise<unknown> {
    try {
      await lab.startShield('refused', options)
    } catch (error) {
      return error
    }
    return undefined
  }

  test('strict with a schema file that is missing, no descriptor, or has no envelope', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'arqonbus-shield-'))
    const junk = join(folder, 'junk.desc')
    await writeFile(junk, 'not a descriptor')
    const empty = join(folder, 'empty.desc')
    await writeFile(empty, '')
    for (const [schemaFile, reason] of [
      [join(folder, 'missing.desc'), 'SCHEMA_UNREADABLE'],
      [junk, 'SCHEMA_UNREADABLE'],
      [empty, 'SCHEMA_WITHOUT_ENVELOPE'],
    ] as const) {
      expect(await attempt({ schemaFile, schemaStrict: true })).toMatchObject({
        code: 'START_REFUSED',
        details: { reason },
      })
    }
    expect(await attempt({ schemaFile: junk, schemaStrict: false })).toBeUndefined()
    // A pin is no matter of strictness.
    const found = createHash('sha256').update('not a descriptor').digest('hex')
    const pin = 'ab'.repeat(32)
    for (const schemaStrict of [true, false]) {
      expect(await attempt({ schemaFile: junk, schemaStrict, env: { SHIELD_SCHEMA_SHA256: pin } })).toMatchObject({
        code: 'START_REFUSED',
        message: `The schema file's SHA-256 is ${found}, pinned is ${pin}`,
        details: { reason: 'SCHEMA_HASH' },
      })
    }
    expect(
      await attempt({ schemaFile: junk, schemaStrict: false, env: { SHIELD_SCHEMA_SHA256: found } }),
    ).toBeUndefined()
    await rm(folder, { recursive: true })
  })
})
