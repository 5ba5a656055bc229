// A gateway process with everything beside the live path switched on: schemas from the bucket, copies for a shadow, spans
// for a collector; what its metrics and health say of them.
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '@nats-io/transport-node'
import { describe, expect, test } from 'vitest'
import { mintToken } from '../../../src/auth/mint.ts'
import { strongSecret } from '../../support/environments.ts'
import { launchBus, launchShield, runCommand, runToEnd } from '../../support/launch/launch-linked.ts'
import { WireClient } from '../../support/launch/wire-client.ts'
import { startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { setOf, userWithSecrets } from '../../unit/schemas/descriptors.ts'

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'

describe.skipIf(skipWithout('nats'))('a gateway with schemas, mirroring and spans', () => {
  test('judges, copies, traces, and says so', async ({ onTestFinished }) => {
    const nats = await startNatsServer({ config: 'max_payload: 2MB\njetstream: { store_dir: "./js" }' })
    onTestFinished(() => nats.close())
    const dir = await mkdtemp(join(tmpdir(), 'arqonbus-e2e-schemas-'))
    onTestFinished(() => rm(dir, { recursive: true, force: true }))
    const spans: string[] = []
    const collector = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        spans.push(Buffer.concat(chunks).toString())
        response.end('{}')
      })
    }).listen(0, '127.0.0.1')
    await once(collector, 'listening')
    onTestFinished(() => void collector.close())

    const shared = { NATS_URL: nats.url, JWT_SECRET: strongSecret }
    const strict = { ...shared, SHIELD_PORT: '0', SHIELD_METRICS_PORT: '0', SHIELD_SCHEMA_SOURCE: 'nats' }
    const empty = await runToEnd('shield', strict)
    expect(empty).toMatchObject({ code: 78, stderr: expect.stringContaining('no schema was pushed yet') })

    const file = join(dir, 'user.binpb')
    await writeFile(file, setOf([userWithSecrets]))
    const rule = ['--subject', 'out.t.acme.r.users.*', '--required', 'user_id']
    expect((await runCommand(['schema', 'push', file, '--id', 'v1.users', ...rule], shared)).code).toBe(0)

    const bus = await launchBus({ ...shared, ARQONBUS_ENABLE_PERSISTENCE: 'true' })
    onTestFinished(() => void bus.stop())
    const shield = await launchShield({
      ...shared,
      SHIELD_SCHEMA_SOURCE: 'nats',
      SHIELD_MIRROR_RULES: 'in.t.acme.raw:1',
      ARQONBUS_CASIL_REDACTION_PATHS: 'mail',
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`,
    })
    onTestFinished(() => void shield.stop())
    const observer = await connect({ servers: nats.url })
    onTestFinished(() => observer.close())
    const copies: string[] = []
    const copied: string[] = []
    observer.subscribe('shadow.>', {
      callback(_error, { subject, data }) {
        copies.push(subject)
        copied.push(Buffer.from(data).toString('latin1'))
      },
    })
    await observer.flush()

    const token = await mintToken({ secret: strongSecret, subject: 'tester', tenant: 'acme', ttlSeconds: 600 })
    const traceparent = `00-${traceId}-00f067aa0ba902b7-01`
    const client = await WireClient.connect(shield.url, { token, format: 'protobuf', headers: { traceparent } })
    // One secret by its schema, one by the configuration.
    const user = { user_id: 'u', tags: ['in the clear'], tax_number: 'tax-1234', mail: 'a@b.example' }
    expect(await client.publish('users', 'new', user)).toMatchObject({ type: 'message_response' })
    expect(await client.publish('users', 'new', { user: 'u' })).toMatchObject({ error_code: 'SCHEMA_VIOLATION' })

    const metrics = async (): Promise<string> => (await fetch(`${shield.httpUrl}/metrics`)).text()
    await expect.poll(metrics, { timeout: 5_000 }).toContain('shield_mirror_traffic_total{outcome="sent"} 1')
    await expect.poll(metrics, { timeout: 5_000 }).toContain('shield_spans_total{outcome="sent"} 1')
    const text = await metrics()
    expect(text).toContain('shield_schema_violation_total{schema="v1.users"} 1')
    expect(text).toContain('shield_messages_total{direction="in"} 2')
    expect(text).toMatch(/shield_bytes_total\{direction="in"\} [1-9]/)
    expect(text).toMatch(/shield_bytes_total\{direction="out"\} [1-9]/)
    expect(text).toContain('shield_connections_total{outcome="opened"} 1')
    expect(text).toContain('shield_link_connected 1')
    expect(text).toContain('shield_schemas 1')
    expect(copies).toEqual(['shadow.in.t.acme.raw'])
    expect(copied[0]).toContain('in the clear')
    expect(copied[0]).not.toMatch(/tax-1234|a@b/)
    expect(text).toContain('shield_mirror_redacted_total 1')
    expect(spans.join('')).toContain(traceId)
    const health = await (await fetch(`${shield.httpUrl}/ready`)).text()
    expect(health).toContain('"schemas"')
    client.ws.terminate()
  }, 60_000)
})
