// Payload schemas in a bucket of a real NATS server: pushed by the command line, picked up without a restart, served on
// while NATS is away, kept when what comes is bad; clients are told which field is wrong.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '@nats-io/transport-node'
import { Kvm } from '@nats-io/kv'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openSchemas, reportSchemas } from '../../../src/app/schemas.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { Secret } from '../../../src/config/secret.ts'
import type { LiveRegistry } from '../../../src/schemas/live-registry.ts'
import { startEdgeLab, type EdgeLab } from '../../support/edge-lab.ts'
import { runCommand } from '../../support/run-command.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { setOf, userCreated } from '../../unit/schemas/descriptors.ts'

const id = 'v1.events.user_created'
/** docs/schemas.md shows the same. */
const readerPermissions = [
  '$JS.API.STREAM.INFO.KV_ARQON_SCHEMAS',
  '$JS.API.STREAM.MSG.GET.KV_ARQON_SCHEMAS',
  '$JS.API.DIRECT.GET.KV_ARQON_SCHEMAS.>',
  '$JS.API.CONSUMER.CREATE.KV_ARQON_SCHEMAS.>',
  '$JS.API.CONSUMER.INFO.KV_ARQON_SCHEMAS.>',
  '$JS.API.CONSUMER.DELETE.KV_ARQON_SCHEMAS.>',
  '$JS.FC.>',
]
const jetStream = 'jetstream: { store_dir: "./js" }'

describe.skipIf(skipWithout('nats'))('schemas in a bucket', () => {
  let server: NatsServerProcess
  let dir: string
  let lab: EdgeLab | undefined
  let live: LiveRegistry | undefined

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'arqonbus-schemas-'))
    await writeFile(join(dir, 'user.binpb'), setOf([userCreated]))
    const fields = userCreated.fields.filter(({ name }) => name !== 'age')
    await writeFile(join(dir, 'narrow.binpb'), setOf([{ ...userCreated, fields }]))
  })
  afterAll(() => rm(dir, { recursive: true, force: true }))
  beforeEach(async () => {
    server = await startNatsServer({ config: jetStream })
  })
  afterEach(async () => {
    await lab?.close()
    await live?.close()
    lab = undefined
    live = undefined
    await server.close()
  })

  const run = (...args: string[]) =>
    runCommand(['schema', ...args], { NATS_URL: server.url, JWT_SECRET: 'x'.repeat(8) })
  const push = (file: string, ...rest: string[]) => run('push', join(dir, file), '--id', id, ...rest)
  const rule = ['--subject', 'out.t.acme.r.users.*', '--required', 'user_id']

  async function startLab(schemaStrict = true): Promise<EdgeLab> {
    live = await openSchemas({ kind: 'nats', natsUrl: new Secret('NATS_URL', server.url) }, schemaStrict, silentLogger)
    lab = await startEdgeLab({ shield: { schemas: live, schemaStrict } })
    return lab
  }

  test('push, list and check speak of one bucket, and a breaking change needs --force', async () => {
    expect(await run('list')).toMatchObject({
      exitCode: 78,
      notes: [expect.stringContaining('no schema was pushed yet')],
    })
    expect(await push('user.binpb', ...rule)).toMatchObject({ exitCode: 0 })
    expect(await push('user.binpb', ...rule)).toMatchObject({ exitCode: 0, out: [`${id} is there already`] })
    const listed = JSON.parse((await run('list', '--json')).out[0]!) as object
    expect(listed).toMatchObject({
      source: 'bucket ARQON_SCHEMAS',
      schemas: { [id]: { message: 'acme.v1.UserCreated', version: 1 } },
      rules: [{ subject: 'out.t.acme.r.users.*', schema: id, required: ['user_id'] }],
    })
    const refused = await push('narrow.binpb', '--json')
    expect(refused.exitCode).toBe(1)
    expect(JSON.parse(refused.out[0]!)).toMatchObject({
      ok: false,
      pushed: false,
      breaking: [{ rule: 'FIELD_REMOVED', place: 'acme.v1.UserCreated.age' }],
    })
    expect((await run('check', join(dir, 'narrow.binpb'), '--id', id)).exitCode).toBe(1)
    expect((await run('check', join(dir, 'user.binpb'), '--id', id)).exitCode).toBe(0)
    expect((await push('narrow.binpb', '--force')).exitCode).toBe(0)
    expect((await run('list')).out[0]).toBe(`${id}  2  acme.v1.UserCreated`)
  })

  test('the value of a key is the gzip that the original keeps there', async () => {
    await push('user.binpb', ...rule)
    const nc = await connect({ servers: server.url })
    const entry = await (await new Kvm(nc).open('ARQON_SCHEMAS')).get(id)
    expect([...entry!.value.subarray(0, 2)]).toEqual([0x1f, 0x8b])
    await nc.close()
  })

  test('a message that does not fit is answered with its field, in either format, and counted', async () => {
    await push('user.binpb', ...rule)
    const lab = await startLab()
    for (const format of ['json', 'protobuf'] as const) {
      const one = await lab.client('acme.a', { format })
      expect(await one.publish('users', 'new', { user_id: 'u', age: 3 })).toMatchObject({ type: 'message_response' })
      expect(await one.publish('users', 'new', { user_id: 'u', address: { zip: 1 } })).toMatchObject({
        type: 'error',
        error_code: 'SCHEMA_VIOLATION',
        payload: { reason: 'UNKNOWN_FIELD', field: 'payload.address.zip', schema: id, schema_version: 1 },
      })
      expect(await one.publish('users', 'new', { age: 3 })).toMatchObject({
        error_code: 'SCHEMA_VIOLATION',
        payload: { reason: 'REQUIRED_FIELD', field: 'payload.user_id' },
      })
      // Elsewhere nothing is asked.
      expect(await one.publish('ops', 'new', { anything: 1 })).toMatchObject({ type: 'message_response' })
    }
    expect(lab.shield.metrics.read('shield_schema_violation_total', id)).toBe(4)
  })

  test('where it is not strict, it passes and is counted', async () => {
    await push('user.binpb', ...rule)
    const lab = await startLab(false)
    const one = await lab.client('acme.a')
    expect(await one.publish('users', 'new', { zip: 1 })).toMatchObject({ type: 'message_response' })
    expect(lab.shield.metrics.read('shield_schema_violation_total', id)).toBe(1)
  })

  test('a change is there without a restart; NATS away, the last one serves; bad ones are not taken', async () => {
    await push('user.binpb', ...rule)
    const lab = await startLab()
    const one = await lab.client('acme.a')
    const status = async (payload: Record<string, string | number>): Promise<string> => {
      const answer = await one.publish('users', 'new', payload)
      return answer.error_code ?? answer.type
    }
    expect(await status({ user_id: 'u', age: 1 })).toBe('message_response')
    await push('narrow.binpb', '--force')
    await expect.poll(() => status({ user_id: 'u', age: 1 }), { timeout: 5_000 }).toBe('SCHEMA_VIOLATION')

    await server.kill()
    await expect.poll(() => reportSchemas(live!).state, { timeout: 5_000 }).toBe('degraded')
    expect(await status({ user_id: 'u', age: 1 })).toBe('SCHEMA_VIOLATION')
    await server.restart()
    await expect.poll(() => reportSchemas(live!).state, { timeout: 10_000 }).toBe('up')

    const nc = await connect({ servers: server.url })
    const kv = await new Kvm(nc).open('ARQON_SCHEMAS')
    const digest = live!.current!.digest
    await kv.put(id, 'no gzip')
    await expect.poll(() => reportSchemas(live!).state, { timeout: 5_000 }).toBe('degraded')
    expect(live!.current!.digest).toBe(digest)
    expect(await status({ user_id: 'u' })).toBe('message_response')
    await nc.close()
    // What is bad can be put right from the command line.
    await push('user.binpb', '--force')
    await expect.poll(() => reportSchemas(live!).state, { timeout: 5_000 }).toBe('up')
    expect(await status({ user_id: 'u', age: 1 })).toBe('message_response')
  })

  test('the permissions of the docs are enough to read and to watch, and not to write', async () => {
    const restricted = await startNatsServer({
      config: `${jetStream}
authorization: { users: [
  { user: admin, password: pw },
  { user: gateway, password: pw, permissions: {
    publish: ${JSON.stringify(readerPermissions)}
    subscribe: ["_INBOX.>"]
  } }
] }`,
    })
    const urlOf = (user: string) => `nats://${user}:pw@127.0.0.1:${restricted.port}`
    const run = (user: string, file: string) =>
      runCommand(['schema', 'push', join(dir, file), '--id', id, '--force'], { NATS_URL: urlOf(user) })
    try {
      expect((await run('admin', 'user.binpb')).exitCode).toBe(0)
      const config = { kind: 'nats', natsUrl: new Secret('NATS_URL', urlOf('gateway')) } as const
      live = await openSchemas(config, true, silentLogger)
      expect(await run('gateway', 'narrow.binpb')).toMatchObject({
        exitCode: 77,
        notes: [expect.stringContaining('NATS denies the bucket')],
      })
      expect((await run('admin', 'narrow.binpb')).exitCode).toBe(0)
      await expect.poll(() => live!.current!.map.schemas[id]!.version, { timeout: 3_000 }).toBe(2)
    } finally {
      await live?.close()
      live = undefined
      await restricted.close()
    }
  })

  test('strict does not start where nothing was pushed, or where the server keeps nothing', async () => {
    const open = (url: string) =>
      openSchemas({ kind: 'nats', natsUrl: new Secret('NATS_URL', url) }, true, silentLogger)
    await expect(open(server.url)).rejects.toMatchObject({
      code: 'START_REFUSED',
      details: { reason: 'BUCKET_MISSING' },
    })
    const plain = await startNatsServer()
    try {
      await expect(open(plain.url)).rejects.toMatchObject({
        code: 'START_REFUSED',
        details: { reason: 'JETSTREAM_MISSING' },
      })
    } finally {
      await plain.close()
    }
  })
})
