// Policies in their place: after the token and the schema, before the link, for every frame of a client once.
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import type { Logger } from '../../../src/base/logger.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import type { LinkMessage } from '../../../src/link/link.ts'
import { openPolicies, type PolicyChain } from '../../../src/policy/policy-chain.ts'
import { type EdgeLab, startEdgeLab } from '../../support/edge-lab.ts'
import { build, buildUnmetered, chainBounds } from '../../support/policy-lab.ts'

let folder: string
let lab: EdgeLab | undefined
let chain: PolicyChain | undefined
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'arqonbus-edge-policies-'))
})
afterEach(async () => {
  await lab?.close()
  await chain?.close()
  lab = chain = undefined
  rmSync(folder, { recursive: true, force: true })
})

async function start(modules: Readonly<Record<string, Uint8Array>>, logger: Logger = silentLogger): Promise<EdgeLab> {
  const files = Object.entries(modules).map(([name, bytes]) => {
    const path = join(folder, `${name}.wasm`)
    writeFileSync(path, bytes)
    return path
  })
  chain = await openPolicies({ ...chainBounds, files }, { clock: systemClock, logger, metrics: undefined })
  lab = await startEdgeLab({ shield: { policy: chain } })
  return lab
}

const sample = (name: string): Buffer => readFileSync(join(import.meta.dirname, `../../../policies/${name}.wasm`))
/** Counts its frames of a tenant in a header. */
const counting = () =>
  build(
    `(i32.store8 (i32.const 2000) (i32.add (i32.load8_u (i32.const 2000)) (i32.const 1)))
     (drop (call $host_add_header (i32.const 1000) (i32.const 14) (i32.const 2000) (i32.const 1))) (i32.const 0)`,
    { more: '(data (i32.const 1000) "x-policy-count") (data (i32.const 2000) "@")' },
  )

async function listen(at: EdgeLab): Promise<LinkMessage[]> {
  const seen: LinkMessage[] = []
  const link = await at.connect('observer')
  link.subscribe('in.t.*.raw', (message) => void seen.push(message))
  return seen
}

describe('a frame at the edge', () => {
  it.each(['json', 'protobuf'] as const)('is refused with its id, and never travels on: %s', async (format) => {
    const at = await start({ 'block-empty': sample('block-empty'), words: sample('forbid-words') })
    const seen = await listen(lab!)
    const [client, reader] = [await at.client('acme.a', { format }), await at.client('acme.b')]
    await reader.join('ops', 'a')
    const before = seen.length
    const empty = client.send({ room: 'ops', channel: 'a', payload: {} })
    expect(await client.answerTo(empty)).toMatchObject({
      type: 'error',
      request_id: empty,
      error_code: 'POLICY_DENIED',
      payload: { reason: 'DENIED', policy: 'block-empty', retryable: false, outcome: 'not_stored' },
    })
    const word = client.send({ room: 'ops', channel: 'a', payload: { n: 1, text: 'a SECRET' } })
    expect(await client.answerTo(word)).toMatchObject({
      request_id: word,
      payload: { reason: 'the word secret', policy: 'words' },
    })
    expect((await client.publish('ops', 'a', { n: 2 })).type).toBe('message_response')
    await reader.received(1)
    expect(reader.numbers()).toEqual([2])
    expect(seen.length - before).toBe(1)
  })

  it.each(['json', 'protobuf'] as const)(
    'is put to each policy once, messages and commands alike: %s',
    async (format) => {
      const at = await start({ count: await counting() })
      const seen = await listen(lab!)
      const client = await at.client('acme.a', { format })
      await client.join('ops', 'a')
      await client.publish('ops', 'a', { n: 1 })
      await client.command('status')
      await client.command('leave_channel', { room: 'ops', channel: 'a' })
      const counts = seen.map(({ headers }) => headers['x-policy-count'])
      expect(counts).toEqual(['A', 'B', 'C', 'D'])
      expect(seen[0]!.headers['x-arqon-role']).toBe('user')
    },
  )

  it('that the schema refuses is put to no policy, nor is one of another tenant', async () => {
    const at = await start({ count: await counting() })
    const seen = await listen(lab!)
    const client = await at.client('acme.a')
    client.sendRaw('{"type":"message","no_such_key":1}')
    client.sendRaw(Buffer.from([0xff, 0xff]))
    expect(
      (await client.answerTo(client.send({ payload: { n: 1 }, metadata: { tenant_id: 'globex' } }))).error_code,
    ).toBe('TENANT_MISMATCH')
    await client.publish('ops', 'a', { n: 1 })
    expect(seen.map(({ headers }) => headers['x-policy-count'])).toEqual(['A'])
  })

  it('that takes its time keeps its place among the others', async () => {
    const at = await start({ slow: await buildUnmetered('(i32.const 0)') })
    const [client, reader] = [await at.client('acme.a'), await at.client('acme.b')]
    await reader.join('ops', 'a')
    for (let n = 1; n <= 50; n++) client.send({ room: 'ops', channel: 'a', payload: { n } })
    await reader.received(50)
    expect(reader.numbers()).toEqual(Array.from({ length: 50 }, (_, i) => i + 1))
  })
})

describe('a file that changes under load', () => {
  it.each([
    ['metered', build],
    ['in threads', buildUnmetered],
  ])('loses no frame and no order: %s', async (_name, make) => {
    const versions = await Promise.all(
      ['(i32.const 0)', '(i32.gt_u (local.get $at) (i32.const 0))'].map((body) => make(body)),
    )
    const at = await start({ p: versions[0]! })
    const [client, reader] = [await at.client('acme.a'), await at.client('acme.b')]
    await reader.join('ops', 'a')
    let sent = 0
    const burst = 50
    for (let n = 1; n <= 12; n++) {
      for (let i = 0; i < burst; i++) client.send({ room: 'ops', channel: 'a', payload: { n: ++sent } })
      const path = join(folder, 'p.wasm')
      writeFileSync(`${path}.new`, versions[n % 2]!)
      renameSync(`${path}.new`, path)
      await Promise.all([chain!.reload(), reader.received(sent)])
    }
    expect(chain!.meter.errors).toEqual({})
    expect(reader.numbers()).toEqual(Array.from({ length: sent }, (_, i) => i + 1))
    expect(client.frames.filter(({ type }) => type === 'error')).toEqual([])
  })
})

describe('what a policy learns', () => {
  it('is of the upgrade request, but no credential', async () => {
    const said: string[] = []
    const names = ['user-agent', 'authorization', 'cookie', 'x-request-id']
    const ask = names.map((name, i) => {
      const at = 1_000 + i * 32
      return `(local.set $n (call $host_get_header (i32.const ${at}) (i32.const ${name.length}) (i32.const 2000)))
        (if (i32.ge_s (local.get $n) (i32.const 0)) (then (drop (call $host_log (i32.const 2) (i32.const 2000) (local.get $n)))))`
    })
    const more = names.map((name, i) => `(data (i32.const ${1_000 + i * 32}) "${name}")`).join('')
    const logger: Logger = {
      ...silentLogger,
      info: (event, facts) => event === 'policy.said' && said.push(String(facts?.['text'])),
    }
    await start({ ask: await build(`(local $n i32) ${ask.join('')} (i32.const 0)`, { more }) }, logger)
    const client = await lab!.client('acme.a', {
      headers: { 'user-agent': 'probe/1', cookie: 'session=1', 'x-request-id': 'r-7' },
    })
    await client.publish('ops', 'a', { n: 1 })
    expect(said).toEqual(['probe/1', 'r-7'])
  })

  it('is not the token of a refresh, which goes no further either', async () => {
    const at = await start({ all: await build('(i32.gt_u (local.get $len) (i32.const 0))') })
    const client = await at.client('acme.a')
    expect((await client.publish('ops', 'a', { n: 1 })).error_code).toBe('POLICY_DENIED')
    expect((await client.command('auth.refresh', { token: 'acme.a' })).status).toBe('success')
    expect(chain!.meter.denials).toEqual({ all: 1 })
  })
})

describe('a client that is refused again and again', () => {
  it('is closed at the tenth time', async () => {
    const at = await start({ all: await build('(i32.const 1)') })
    const client = await at.client('acme.a')
    for (let n = 0; n < 10; n++) client.send({ payload: { n } })
    expect(await client.closed()).toBe(4503)
  })
})
