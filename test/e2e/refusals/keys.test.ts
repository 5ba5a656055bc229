// Keys that only show when they are opened: files that hold the wrong thing, providers that give none. The real commands
// refuse with a message of its own for each, show no key and no address, and never listen.
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { strongSecret } from '../../support/environments.ts'
import { findFreePorts } from '../../support/launch/free-ports.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { start } from '../../support/launch/watched-command.ts'

type Program = 'bus' | 'shield'
const isWithoutNats = skipWithout('nats')
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

let nats: NatsServerProcess | undefined
/** Shield reaches NATS before it opens keys; the bus does not need one. */
const linkOf = (program: Program): Record<string, string> => (program === 'bus' ? {} : { NATS_URL: nats!.url })
beforeAll(async () => {
  if (!isWithoutNats) nats = await startNatsServer({ config: 'max_payload: 2MB' })
})
afterAll(async () => {
  await nats?.close()
  rmSync(folder, { recursive: true, force: true })
})

describe.each<Program>(['bus', 'shield'])('%s', (program) => {
  const cases = program === 'bus' ? files : files.slice(0, 3)

  it.skipIf(program === 'shield' && isWithoutNats).each(cases)(
    'refuses a key file with %s: %s',
    async (title, reason, algorithm, content) => {
      const path = join(folder, `${program} ${title}`)
      const text = typeof content === 'string' ? content : JSON.stringify(content)
      writeFileSync(path, text, { mode: 0o600 })
      const variables = { ARQONBUS_AUTH_JWT_ALGORITHM: algorithm, ARQONBUS_AUTH_JWT_KEY_FILE: path }
      const run = start(program, { ...env, ...linkOf(program), ...variables }, folder)
      const { code, stdout, stderr, hasListened } = await run.ended
      expect({ code, stdout, hasListened }).toEqual({ code: 78, stdout: '', hasListened: false })
      expect(stderr).toContain(`CONFIG_INVALID (${reason}): Token verification: `)
      for (const part of [strongSecret, repeated, text]) if (part !== '') expect(stderr).not.toContain(part)
    },
  )

  it.skipIf(program === 'shield' && isWithoutNats)(
    'ends with 69 where the provider gives no keys, or is not there',
    async () => {
      const server = createServer((_request, response) => void response.end('{"keys":[]}')).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const [free] = (await findFreePorts(1)) as [number]
      for (const [port, reason] of [
        [(server.address() as AddressInfo).port, 'KEYS_UNUSABLE'],
        [free, 'KEYS_UNREACHABLE'],
      ] as const) {
        const at = `http://127.0.0.1:${port}`
        const variables = { ARQONBUS_AUTH_JWT_ALGORITHM: 'RS256', ARQONBUS_AUTH_JWKS_URL: `${at}/hunter-two` }
        const run = start(program, { ...env, ...linkOf(program), ...variables }, folder)
        const { code, stdout, stderr, hasListened } = await run.ended
        expect({ code, stdout, hasListened }).toEqual({ code: 69, stdout: '', hasListened: false })
        expect(stderr).toContain(`KEYS_UNAVAILABLE (${reason}): The keys at ${at} cannot be used`)
        expect(stderr).not.toContain('hunter-two')
      }
      server.close()
    },
  )
})
