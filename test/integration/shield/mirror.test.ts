// Copies for shadow consumers over a real NATS server: what is copied, when, and that whatever becomes of the copies
// changes nothing for clients.
import { connect, type NatsConnection } from '@nats-io/transport-node'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { JsonValue } from '../../../src/base/json.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import type { Link } from '../../../src/link/link.ts'
import { openNatsLink } from '../../../src/link/nats-link.ts'
import type { LiveRegistry } from '../../../src/schemas/live-registry.ts'
import { loadRegistry } from '../../../src/schemas/registry.ts'
import { defaultWireLimits } from '../../../src/wire/limits.ts'
import { decodeProtobuf } from '../../../src/wire/protobuf-codec.ts'
import { type EdgeLab, type EdgeLabOptions, startEdgeLab } from '../../support/edge-lab.ts'
import { esEncode, messageOf, sampleId } from '../../support/frames.ts'
import { natsServerOf } from '../../support/nats-address.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { setOf, userWithSecrets } from '../../unit/schemas/descriptors.ts'

/** Tax numbers and answers of users are secret. */
const schemas: LiveRegistry = {
  current: loadRegistry({
    map: Buffer.from(
      JSON.stringify({
        schemas: { 'v1.users': { message: 'acme.v1.UserCreated' } },
        rules: [
          { subject: 'out.t.acme.r.users.*', schema: 'v1.users' },
          { command: 'ping', schema: 'v1.users' },
        ],
      }),
    ),
    sets: new Map([['v1.users', setOf([userWithSecrets])]]),
  }),
  trouble: undefined,
  counts: { loaded: 1, refused: 0, unreadable: 0 },
  close: () => Promise.resolve(),
}

interface Shadow {
  readonly subject: string
  readonly bytes: Uint8Array
  readonly headers: Readonly<Record<string, string>>
}

describe.skipIf(skipWithout('nats'))('mirroring', () => {
  let live: NatsServerProcess
  let shadow: NatsServerProcess
  let lab: EdgeLab | undefined
  let watcher: NatsConnection
  const links: Link[] = []
  const seen: Shadow[] = []

  const open = async (server: NatsServerProcess, name: string): Promise<Link> => {
    const link = await openNatsLink({ servers: [natsServerOf(server)], name, logger: silentLogger })
    links.push(link)
    return link
  }

  beforeEach(async () => {
    ;[live, shadow] = await Promise.all([startNatsServer({ config: 'max_payload: 2MB' }), startNatsServer()])
    watcher = await connect({ servers: shadow.url })
    watcher.subscribe('shadow.>', {
      callback(_error, { subject, data, headers }) {
        const entries = [...(headers ?? [])].map(([name, [value = '']]) => [name, value] as const)
        seen.push({ subject, bytes: data.slice(), headers: Object.fromEntries(entries) })
      },
    })
    await watcher.flush()
  })
  afterEach(async () => {
    await lab?.close()
    lab = undefined
    for (const link of links.splice(0)) await link.close()
    await watcher.close()
    await Promise.all([live.close(), shadow.close()])
    seen.length = 0
  })

  async function startLab(
    rules: string | undefined,
    mirrorLink?: () => Link | undefined,
    more: EdgeLabOptions['shield'] = {},
  ): Promise<EdgeLab> {
    const link = mirrorLink === undefined ? await open(shadow, 'mirror') : undefined
    lab = await startEdgeLab({
      connect: (name) => open(live, name),
      shield: {
        ...more,
        env: { ...(rules !== undefined && { SHIELD_MIRROR_RULES: rules }), ...more.env },
        mirrorLink: mirrorLink ?? (() => link),
      },
    })
    return lab
  }
  const outcomes = ({ shield }: EdgeLab, name: string): number =>
    shield.metrics.read('shield_mirror_traffic_total', name)

  test('copies the bytes of what the bus took, marked as a shadow, and of nothing else', async () => {
    const lab = await startLab('in.t.acme.raw:1')
    const [acme, other] = await Promise.all([
      lab.client('acme.a', { format: 'protobuf' }),
      lab.client('other.a', { format: 'protobuf' }),
    ])
    await other.publish('ops', 'a', { n: 1 })
    const id = acme.send({ room: 'ops', channel: 'a', payload: { n: 2 } })
    await acme.answerTo(id)
    // Refused by the bus: the id is used again for another payload.
    const conflict = acme.send({ id, room: 'ops', channel: 'a', payload: { n: 3 } })
    await acme.until((frame) => frame.error_code === 'ID_CONFLICT', `the conflict of ${conflict}`)
    // Laid out as nothing of ours would: a copy that was written anew would show.
    const frame = esEncode(messageOf({ room: 'ops', channel: 'a', payload: { n: 4 } }), { headers: true })
    acme.sendRaw(frame)
    await acme.answerTo(sampleId)
    await expect.poll(() => seen.length).toBe(2)
    expect(Buffer.from(seen[1]!.bytes).equals(frame)).toBe(true)
    const payloads = seen.map(({ bytes }) => decodeProtobuf(bytes, defaultWireLimits).payload)
    expect(payloads).toEqual([{ n: 2 }, { n: 4 }])
    expect(seen[0]).toMatchObject({
      subject: 'shadow.in.t.acme.raw',
      headers: { 'x-arqon-shadow': 'true', traceparent: expect.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/) },
    })
    // No identity travels with a copy.
    expect(Object.keys(seen[0]!.headers).sort()).toEqual(['traceparent', 'x-arqon-shadow', 'x-arqon-trace'])
  })

  test('no planted secret is seen on a shadow subject, from whatever client, wherever it stands', async () => {
    const marker = 'zQ7-planted-'
    const lab = await startLab('>:1', undefined, { env: { SHIELD_MIRROR_SECRET_FIELDS: 'password,ssn' }, schemas })
    const clients = await Promise.all([
      lab.client('acme.a', { format: 'protobuf' }),
      lab.client('acme.b', { format: 'json' }),
    ])
    const key = fc.constantFrom('password', 'PassWord', 'pass_word', 'SSN', 'user.ssn')
    const leaf = fc.nat().map((n): JsonValue => `${marker}${n}`)
    const secret = fc.oneof(
      leaf,
      fc.array(leaf, { maxLength: 3 }),
      leaf.map((a): JsonValue => ({ a: [{ b: a }] })),
    )
    const { tree } = fc.letrec<{ tree: JsonValue }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 6, depthSize: 'large' },
        fc.dictionary(key, secret, { minKeys: 1, maxKeys: 2 }),
        fc.array(tie('tree'), { minLength: 1, maxLength: 3 }),
        fc.dictionary(fc.stringMatching(/^[a-z]{1,3}$/), tie('tree'), { minKeys: 1, maxKeys: 3 }),
        fc.tuple(key, leaf).map(([name, value]) => JSON.stringify({ a: [{ [name]: value }] })),
      ),
    }))
    const trees = fc.sample(tree, 120)
    const answers = trees.map((payload, n) => {
      const client = clients[n % 2]!
      const inside = { room: 'ops', channel: 'a', metadata: { note: { password: `${marker}m` } } }
      return client.answerTo(client.send({ payload: { n, payload }, ...inside }))
    })
    for (const answer of await Promise.all(answers)) expect(answer.type).toBe('message_response')
    // By its schema, in a message and in the args of a command.
    const user = { user_id: 'kept', friends: [{ taxNumber: `${marker}t`, answers: [`${marker}u`] }] }
    for (const client of clients) {
      expect(await client.publish('users', 'a', user)).toMatchObject({ type: 'message_response' })
      expect(await client.command('ping', user)).toMatchObject({ type: 'response', status: 'success' })
    }
    await expect.poll(() => outcomes(lab, 'sent') + outcomes(lab, 'withheld')).toBe(trees.length + 4)
    await expect.poll(() => seen.length).toBe(outcomes(lab, 'sent'))
    expect(outcomes(lab, 'withheld')).toBe(0)
    for (const { bytes, headers } of seen) {
      expect(Buffer.from(bytes).includes(marker)).toBe(false)
      expect(JSON.stringify(headers)).not.toContain(marker)
      expect(Number(headers['x-arqon-redacted'])).toBeGreaterThan(0)
      expect(Buffer.from(bytes).includes('***REDACTED***')).toBe(true)
    }
    expect(lab.shield.metrics.read('shield_mirror_redacted_total')).toBe(seen.length)
    expect(seen.filter(({ bytes }) => Buffer.from(bytes).includes('kept'))).toHaveLength(4)
  })

  test('what cannot be redacted surely is withheld and counted, and its client notices nothing', async () => {
    const lab = await startLab('>:1', undefined, { schemas, schemaStrict: false })
    const one = await lab.client('acme.a', { format: 'protobuf' })
    // The secret stands in the clear beside its field; a payload is not what its schema describes.
    const twice = { password: 'correct horse', note: 'correct horse!' }
    expect(await one.publish('ops', 'a', twice)).toMatchObject({ type: 'message_response' })
    expect(await one.publish('users', 'a', { wrapped: { tax_number: '1' } })).toMatchObject({
      type: 'message_response',
    })
    expect(await one.publish('ops', 'a', { n: 1 })).toMatchObject({ type: 'message_response' })
    await expect.poll(() => seen.length).toBe(1)
    expect(decodeProtobuf(seen[0]!.bytes, defaultWireLimits).payload).toEqual({ n: 1 })
    expect(outcomes(lab, 'withheld')).toBe(2)
  })

  test('is off without rules', async () => {
    const lab = await startLab(undefined)
    const one = await lab.client('acme.a')
    await one.publish('ops', 'a', { n: 1 })
    expect(outcomes(lab, 'sent')).toBe(0)
    expect(seen).toEqual([])
  })

  test('takes the same share of traces everywhere, and rooms by where messages go', async () => {
    const lab = await startLab('out.t.acme.r.ops.*:0.5')
    const trace = (share: string) => `00-000000000000000000${'a'}${share}-00f067aa0ba902b7-00`
    const low = trace('2000000000000')
    const high = trace('9000000000000')
    const one = await lab.client('acme.a')
    for (const traceparent of [low, high, low]) await one.publish('ops', 'a', { n: 1 }, { traceparent })
    await one.publish('lab', 'a', { n: 2 }, { traceparent: low })
    await expect.poll(() => seen.length).toBe(2)
    expect(new Set(seen.map(({ headers }) => headers['x-arqon-trace']))).toEqual(new Set([low.slice(3, 35)]))
  })

  test('the shadow server frozen, killed or never there: every client is answered as before', async () => {
    const link = await open(shadow, 'mirror')
    let current: Link | undefined = link
    const lab = await startLab('>:1', () => current)
    const one = await lab.client('acme.a', { format: 'protobuf' })
    const round = async (count: number): Promise<number> => {
      const startedMs = performance.now()
      for (let n = 0; n < count; n++) {
        expect(await one.publish('ops', 'a', { n })).toMatchObject({ type: 'message_response' })
      }
      return performance.now() - startedMs
    }
    const quietMs = await round(300)
    await shadow.freeze()
    // Beyond what the queue holds: the oldest are forgotten, none is waited for.
    const frozenMs = await round(1_500)
    expect(frozenMs / 1_500).toBeLessThan(Math.max((quietMs / 300) * 3, quietMs / 300 + 5))
    shadow.thaw()
    await shadow.kill()
    await expect.poll(() => link.state, { timeout: 5_000 }).toBe('disconnected')
    await round(1_200)
    expect(outcomes(lab, 'dropped')).toBeGreaterThan(0)
    current = undefined
    await round(50)
    await shadow.restart()
    current = link
    // And it comes back by itself.
    const sent = outcomes(lab, 'sent')
    await expect.poll(() => outcomes(lab, 'sent'), { timeout: 10_000 }).toBeGreaterThan(sent)
    expect(lab.shield.metrics.read('shield_frames_total', 'LINK_TIMEOUT')).toBe(0)
  })
})
