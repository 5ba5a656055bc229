// Whom a certificate has to be for: the name, or the address, that the operator wrote into NATS_URL. The link and the
// probe of the preflight are held to the same.
import { readFileSync } from 'node:fs'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { dialAny, type NatsServer } from '../../../src/link/nats-dial.ts'
import { probeNats } from '../../../src/link/nats-probe.ts'
import { type Certificates, makeCertificates } from '../../support/certificates.ts'
import { startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const options = { name: 'test', timeoutMs: 5_000 }
/** In each way they come to a connection: `connected`, or the code of why not. */
const ways: readonly [string, (server: NatsServer) => Promise<string>][] = [
  [
    'the link',
    async (server) => {
      try {
        const connection = await dialAny([server], options)
        await connection.close()
        return 'connected'
      } catch (error) {
        return (error as { details: { reason: string } }).details.reason
      }
    },
  ],
  [
    'the probe',
    async (server) => {
      try {
        const probe = await probeNats(server, options)
        probe.close()
        return probe.isEncrypted ? 'connected' : 'connected in the clear'
      } catch (error) {
        return (error as { code: string }).code
      }
    },
  ],
]

describe.skipIf(skipWithout('nats'))('the certificate of a NATS server', () => {
  const forName = new Map<string, Certificates>()
  const before = getCACertificates('default')
  const closing: (() => unknown)[] = []

  beforeAll(async () => {
    for (const name of ['127.0.0.1', '127.0.0.2', 'localhost']) forName.set(name, await makeCertificates(name))
    setDefaultCACertificates([
      ...before,
      ...[...forName.values()].map(({ authority }) => readFileSync(authority, 'utf8')),
    ])
  })
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close()
  })
  afterAll(async () => {
    setDefaultCACertificates(before)
    for (const made of forName.values()) await made.close()
  })

  async function serverWith(certificateFor: string): Promise<number> {
    const { certificate, key } = forName.get(certificateFor)!
    const server = await startNatsServer({ config: `tls: { cert_file: "${certificate}", key_file: "${key}" }` })
    closing.push(() => server.close())
    return server.port
  }

  test.each([
    ['127.0.0.1', '127.0.0.1', 'connected'],
    ['127.0.0.1', '127.0.0.2', 'ERR_TLS_CERT_ALTNAME_INVALID'],
    // What stands for an address must not stand for the name that Node takes where it knows none.
    ['127.0.0.1', 'localhost', 'ERR_TLS_CERT_ALTNAME_INVALID'],
    ['localhost', 'localhost', 'connected'],
    ['localhost', '127.0.0.1', 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ])('asked for %s, with one for %s: %s', async (host, certificateFor, outcome) => {
    const port = await serverWith(certificateFor)
    // Asked for, and taken because it is offered.
    for (const isTls of [true, false]) {
      const found = await Promise.all(ways.map(async ([way, reach]) => [way, await reach({ host, port, isTls })]))
      expect(found).toEqual(ways.map(([way]) => [way, outcome]))
    }
  })
})
