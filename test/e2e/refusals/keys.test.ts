// Keys that only show when they are opened: files that hold the wrong thing, providers that give none. The real commands
// refuse with a message of its own for each, show no key and no address, and never listen.
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { strongSecret } from '../../support/environments.ts'
import { findFreePorts } from '../../support/launch/free-ports.ts'
import { start } from '../../support/launch/watched-command.ts'

const folder = mkdtempSync(join(tmpdir(), 'arqonbus-keys-'))
const env = {
  ARQONBUS_ENABLE_AUTH: 'true',
  ARQONBUS_SERVER_PORT: '0',
  ARQONBUS_HTTP_PORT: '0',
  ARQONBUS_TELEMETRY_PORT: '0',
  SHIELD_PORT: '0',
  SHIELD_METRICS_PORT: '0',
  JWT_SECRET: strongSecret,
}
const weak = generateKeyPairSync('rsa', { modulusLength: 1_024 })
const good = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const jwk = (more: object = {}): object => ({ ...good.publicKey.export({ format: 'jwk' }), kid: 'a', ...more })
const published = Buffer.from('your-256-bit-secret'.padEnd(32, '\0')).toString('base64url')
const repeated = Buffer.alloc(48, 'ab').toString('base64url')

const files: [string, string, string, object | string][] = [
  ['an RSA key of 1024 bits', 'KEY_WEAK', 'RS256', weak.publicKey.export({ type: 'spki', format: 'pem' }).toString()],
  ['a private key', 'KEY_PRIVATE', 'RS256', good.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()],
  [
    'a private key in a set',
    'KEY_PRIVATE',
    'RS256',
    { keys: [{ ...good.privateKey.export({ format: 'jwk' }), kid: 'a' }] },
  ],
  ['a key of another kind', 'KEY_KIND', 'ES256', { keys: [jwk()] }],
  ['one name twice', 'KEY_DUPLICATE', 'RS256', { keys: [jwk(), jwk()] }],
  ['no name', 'KEY_UNNAMED', 'RS256', { keys: [jwk({ kid: undefined })] }],
  ['17 keys', 'KEYS_TOO_MANY', 'RS256', { keys: Array.from({ length: 17 }, (_, n) => jwk({ kid: `k${n}` })) }],
  ['nothing', 'KEY_UNREADABLE', 'EdDSA', ''],
  ['a short secret', 'SECRET_TOO_SHORT', 'HS256', { keys: [{ kty: 'oct', k: published.slice(0, 20), kid: 'a' }] }],
  ['a secret that repeats', 'SECRET_WEAK', 'HS256', { keys: [{ kty: 'oct', k: repeated, kid: 'a' }] }],
]

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe.each(['bus', 'shield'] as const)('%s', (program) => {
  it.concurrent.each(files)('refuses a key file with %s: %s', async (title, reason, algorithm, content) => {
    const path = join(folder, `${program} ${title}`)
    const text = typeof content === 'string' ? content : JSON.stringify(content)
    writeFileSync(path, text, { mode: 0o600 })
    const variables = { ...env, ARQONBUS_AUTH_JWT_ALGORITHM: algorithm, ARQONBUS_AUTH_JWT_KEY_FILE: path }
    const { code, stdout, stderr, hasListened } = await start(program, needing(program, variables), folder).ended
    expect({ code, stdout, hasListened }).toEqual({ code: 78, stdout: '', hasListened: false })
    expect(stderr).toContain(`CONFIG_INVALID (${reason}): Token verification: `)
    for (const part of [strongSecret, repeated, text]) if (part !== '') expect(stderr).not.toContain(part)
  })
})

describe('a provider', () => {
  let server: Server
  let origin: string
  beforeAll(async () => {
    server = createServer((_request, response) => void response.end('{"keys":[]}')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterAll(() => server.close())

  it.each(['bus', 'shield'] as const)('without keys, or that is not there, refuses %s with 69', async (program) => {
    const [free] = (await findFreePorts(1)) as [number]
    for (const [at, reason] of [
      [origin, 'KEYS_UNUSABLE'],
      [`http://127.0.0.1:${free}`, 'KEYS_UNREACHABLE'],
    ] as const) {
      const variables = { ...env, ARQONBUS_AUTH_JWT_ALGORITHM: 'RS256', ARQONBUS_AUTH_JWKS_URL: `${at}/hunter-two` }
      const { code, stdout, stderr, hasListened } = await start(program, needing(program, variables), folder).ended
      expect({ code, stdout, hasListened }).toEqual({ code: 69, stdout: '', hasListened: false })
      expect(stderr).toContain(`KEYS_UNAVAILABLE (${reason}): The keys at ${at} cannot be used`)
      expect(stderr).not.toContain('hunter-two')
    }
  })
})

/** Shield asks for NATS before it opens keys; the bus does not need one. */
function needing(program: 'bus' | 'shield', variables: Readonly<Record<string, string>>): Record<string, string> {
  return program === 'bus' ? { ...variables } : { ...variables, NATS_URL: 'nats://127.0.0.1:1' }
}
