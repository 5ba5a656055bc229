// shield.schema-loads against folders and a bucket of a real NATS server.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '@nats-io/transport-node'
import { Kvm } from '@nats-io/kv'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Environment } from '../../../src/config/resolution.ts'
import type { Report } from '../../../src/preflight/report.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { runCommand } from '../../support/run-command.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { setOf, userCreated } from '../../unit/schemas/descriptors.ts'
import { probeHere } from '../../support/probe-here.ts'

const id = 'v1.events.user_created'
const map = {
  schemas: { [id]: { message: 'acme.v1.UserCreated', version: 1 } },
  rules: [{ subject: 'out.t.acme.r.users.*', schema: id, required: ['user_id'] }],
}

const run = (env: Environment): Promise<Report> =>
  runPreflight({ env, only: ['shield.schema-loads'], phases: ['static', 'deps'] }, { prober: probeHere() })

function outcomeOf({ canonical }: Report, check = 'shield.schema-loads'): string {
  const result = canonical.results.find((one) => one.id === check)!
  if (result.status === 'fail') return `${result.findings.map(({ code }) => code).join(' ')} (${result.class})`
  if (result.status === 'error') return `error ${result.code} (${result.class})`
  return result.status === 'skip' ? result.reason.kind : result.status
}

describe('schemas in a folder', () => {
  let dir: string
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'arqonbus-schemas-'))
    await write('schemas.json', JSON.stringify(map))
    await write(`${id}.binpb`, setOf([userCreated]))
  })
  afterEach(() => rm(dir, { recursive: true, force: true }))

  const write = (name: string, content: string | Uint8Array): Promise<void> => writeFile(join(dir, name), content)
  const outcome = async (): Promise<string> =>
    outcomeOf(await run({ SHIELD_SCHEMA_SOURCE: 'folder', SHIELD_SCHEMA_DIR: dir }))

  test('load, and judge their samples', async () => {
    const report = await run({ SHIELD_SCHEMA_SOURCE: 'folder', SHIELD_SCHEMA_DIR: dir })
    expect(outcomeOf(report)).toBe('pass')
    const { answer } = report.observations.results['shield.schema-loads']!
    expect(answer).toMatchObject({
      facts: {
        shapes: [
          { schema: id, samples: 22, refused: [] },
          { schema: id, samples: 23, accepted: [] },
        ],
      },
    })
  })

  test('are not looked at where none are configured', async () => {
    expect(outcomeOf(await run({}))).toBe('not-applicable')
  })

  test.each<[string, () => Promise<void>, string]>([
    ['the map is no JSON', () => write('schemas.json', '{'), 'SCHEMA_MAP_INVALID (regression)'],
    ['the map is missing', () => rm(join(dir, 'schemas.json')), 'SCHEMA_MAP_INVALID (regression)'],
    ['the map names no schema', () => write('schemas.json', '{}'), 'NO_SCHEMAS (regression)'],
    ['a set is missing', () => rm(join(dir, `${id}.binpb`)), 'SCHEMA_MISSING (regression)'],
    [
      'a set is cut off',
      () => write(`${id}.binpb`, setOf([userCreated]).subarray(0, 40)),
      'SCHEMA_UNREADABLE (regression)',
    ],
    [
      'a set has another message',
      () => write(`${id}.binpb`, setOf([{ name: 'Other', fields: [] }])),
      'SCHEMA_MISSING (regression)',
    ],
    [
      'a rule requires a field that is not there',
      () => write('schemas.json', JSON.stringify({ ...map, rules: [{ ...map.rules[0], required: ['no_such'] }] })),
      'SCHEMA_UNSUPPORTED (regression)',
    ],
    ['the folder is gone', () => rm(dir, { recursive: true }), 'FOLDER_UNREADABLE (config)'],
  ])('are refused where %s', async (_name, break_, expected) => {
    await break_()
    expect(await outcome()).toBe(expected)
  })

  test('are refused where nobody could ever send such a message', async () => {
    const next = { name: 'next', number: 1, type: '.acme.v1.UserCreated', label: 'LABEL_REQUIRED' as const }
    await write(`${id}.binpb`, setOf([{ name: 'UserCreated', fields: [next] }], { syntax: 'proto2' }))
    await write('schemas.json', JSON.stringify({ ...map, rules: [] }))
    expect(await outcome()).toBe('REFUSES_VALID (regression)')
  })
})

describe.skipIf(skipWithout('nats'))('schemas in a bucket', () => {
  let server: NatsServerProcess
  let dir: string
  beforeEach(async () => {
    server = await startNatsServer({ config: 'max_payload: 2MB\njetstream: { store_dir: "./js" }' })
    dir = await mkdtemp(join(tmpdir(), 'arqonbus-schemas-'))
    await writeFile(join(dir, 'user.binpb'), setOf([userCreated]))
  })
  afterEach(async () => {
    await server.close()
    await rm(dir, { recursive: true, force: true })
  })
  const look = (): Promise<Report> => run({ NATS_URL: server.url, SHIELD_SCHEMA_SOURCE: 'nats' })

  test('load after a push, and not when one key is bad', async () => {
    const rule = ['--subject', 'out.t.acme.r.users.*', '--required', 'user_id']
    const pushed = await runCommand(['schema', 'push', join(dir, 'user.binpb'), '--id', id, ...rule], {
      NATS_URL: server.url,
      JWT_SECRET: 'x'.repeat(8),
    })
    expect(pushed).toMatchObject({ exitCode: 0 })
    expect(outcomeOf(await look())).toBe('pass')
    const nc = await connect({ servers: server.url })
    await (await new Kvm(nc).open('ARQON_SCHEMAS')).put(id, 'not a set')
    await nc.close()
    expect(outcomeOf(await look())).toBe('SCHEMA_UNREADABLE (regression)')
  })

  test('wait on the bucket that nobody has made', async () => {
    const report = await look()
    expect(outcomeOf(report, 'dep.nats.streams')).toBe('STREAM_MISSING (dependency)')
    expect(outcomeOf(report)).toBe('blocked-by')
    expect(report.canonical.rootCauses).toEqual(['dep.nats.streams'])
  })
})
