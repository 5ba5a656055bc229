// A hundred clients of two tenants on one running system, in both wire formats, at the bus and through Shield, with the
// same names of rooms and channels: each gets exactly its tenant's messages, once, in order, and never its own.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { mintToken } from '../../../src/auth/mint.ts'
import type { JsonObject } from '../../../src/base/json.ts'
import { createTempDir, type LaunchedUp, launchUp, removeTempDir } from '../../support/launch/launch-up.ts'
import { describeLimits, raisedLimits } from '../../support/launch/raised-limits.ts'
import { chooseSeed, createSeeded } from '../../support/launch/seeded.ts'
import { dataOf, positionOf, WireClient } from '../../support/launch/wire-client.ts'

/** Random, because `up` refuses to start with a secret that could be guessed. */
const secret = randomBytes(48).toString('base64')
const tenants = ['acme', 'globex'] as const
const room = 'lab'
const channels = ['alpha', 'beta', 'gamma'] as const
const perTenant = 50
const publishesEach = 8

type Tenant = (typeof tenants)[number]

interface Member {
  readonly name: string
  readonly tenant: Tenant
  readonly client: WireClient
  readonly channels: ReadonlySet<string>
}

let dataDir: string
let up: LaunchedUp

beforeAll(async () => {
  dataDir = await createTempDir()
  up = await launchUp({
    dataDir,
    env: { ...raisedLimits, ARQONBUS_ENABLE_AUTH: 'true', ARQONBUS_AUTH_JWT_SECRET: secret, JWT_SECRET: secret },
  })
})
afterAll(async () => {
  expect(await up.stop()).toBe(0)
  await removeTempDir(dataDir)
})

async function open(tenant: Tenant, index: number): Promise<Member> {
  const name = `${tenant}-${index}`
  // Every combination of way, format and membership comes about as often as any other.
  const url = index % 2 === 0 ? up.busUrl : up.shieldUrl
  const format = index % 4 < 2 ? 'json' : 'protobuf'
  const token = await mintToken({ secret, subject: name, tenant, ttlSeconds: 3_600 })
  const client = await WireClient.connect(url, { token, format, deadlineMs: 60_000 })
  const joined: readonly string[] = [['*'], ['alpha'], ['beta', 'gamma'], ['*', 'alpha'], ['gamma', '*']][
    Math.floor(index / 4) % 5
  ]!
  for (const channel of joined) {
    const answer = await client.join(room, channel)
    expect(answer).toMatchObject({ status: 'success' })
    expect(dataOf(answer)['room']).toBe(room)
  }
  return { name, tenant, client, channels: new Set(joined.includes('*') ? channels : joined) }
}

it('a hundred clients of two tenants get exactly their tenant’s messages', async () => {
  const seed = chooseSeed()
  const random = createSeeded(seed)
  const members = await Promise.all(
    tenants.flatMap((tenant) => Array.from({ length: perTenant }, (_, index) => open(tenant, index))),
  )
  /** What the log of each tenant's channel holds, by the acknowledgements. */
  const logs = new Map<string, { sequence: number; id: string; sender: string; payload: JsonObject }[]>()
  for (const tenant of tenants) for (const channel of channels) logs.set(`${tenant}/${channel}`, [])

  await Promise.all(
    members.map(async ({ name, tenant, client }) => {
      const plan = Array.from({ length: publishesEach }, (_, n) => ({ n, channel: random.pick(channels) }))
      await Promise.all(
        plan.map(async ({ n, channel }) => {
          const payload = { from: name, n }
          const ack = await client.publish(room, channel, payload)
          expect(ack, `${name} ${JSON.stringify(ack)}`).toMatchObject({ type: 'message_response', status: 'success' })
          const { sequence } = positionOf(ack)
          logs.get(`${tenant}/${channel}`)!.push({ sequence, id: ack.id, sender: client.id, payload })
        }),
      )
    }),
  )
  let published = 0
  for (const log of logs.values()) {
    log.sort((a, b) => a.sequence - b.sequence)
    expect(log.map(({ sequence }) => sequence)).toEqual(log.map((_, index) => index + 1))
    published += log.length
  }
  expect(published).toBe(2 * perTenant * publishesEach)

  const expectedOf = ({ tenant, client }: Member, channel: string): unknown[] =>
    logs
      .get(`${tenant}/${channel}`)!
      .filter(({ sender }) => sender !== client.id)
      .map(({ sequence, id, payload, sender }) => ({ sequence, id, payload, sender }))
  let delivered = 0
  for (const member of members) {
    const { name, client } = member
    const wanted = [...member.channels].reduce((sum, channel) => sum + expectedOf(member, channel).length, 0)
    await client.received(wanted)
    // Whatever were too much would have been written before this answer.
    await client.command('ping')
    delivered += wanted
    for (const channel of channels) {
      const got = client.messages(channel).map((frame) => ({
        sequence: positionOf(frame).sequence,
        id: frame.id,
        payload: frame.payload,
        sender: frame.sender,
      }))
      expect(got, `${name} in ${channel}, seed ${seed}`).toEqual(
        member.channels.has(channel) ? expectedOf(member, channel) : [],
      )
    }
    expect(client.messages()).toHaveLength(wanted)
    // A protobuf client is never given JSON, nor the other way round, once it has spoken.
    expect(client.isBinary.slice(1)).toEqual(client.isBinary.slice(1).fill(client.format === 'protobuf'))
  }
  process.stdout.write(
    `tenants: TEST_SEED=${seed} clients=${members.length} published=${published} delivered=${delivered}\n` +
      `  ${describeLimits(raisedLimits)}\n`,
  )

  for (const tenant of tenants) {
    const own = members.find((member) => member.tenant === tenant)!
    const history = dataOf(await own.client.command('op.history.get', { room, limit: 1_000 }))
    expect(new Set((history['entries'] as JsonObject[]).map((entry) => tenantOfEntry(entry)))).toEqual(
      new Set([tenant]),
    )
    for (const channel of channels) {
      const present = dataOf(await own.client.command('presence', { room, channel }))['members'] as JsonObject[]
      const subjects = new Set(present.map((one) => one['subject']))
      const expected = members.filter((one) => one.tenant === tenant && one.channels.has(channel))
      expect(subjects).toEqual(new Set(expected.map((one) => one.name)))
    }
  }
  for (const { client } of members) await client.terminate()
})

it('no tenant reaches another by naming it, by a client id, or by a token of another secret', async () => {
  const [own, foreign] = await Promise.all([open('acme', 0), open('globex', 1)])
  const named = await own.client.publish(room, 'alpha', { a: 1 }, { tenant_id: 'globex' })
  expect(named).toMatchObject({ type: 'error', error_code: 'TENANT_MISMATCH' })
  const command = await own.client.command('op.history.get', { room, tenant_id: 'globex' })
  expect(command).toMatchObject({ status: 'error', error_code: 'TENANT_MISMATCH' })
  const direct = await own.client.ask({ to_client: foreign.client.id, payload: { a: 1 } })
  expect(direct).toMatchObject({ type: 'error', error_code: 'TARGET_NOT_FOUND' })
  const forged = await mintToken({ secret: `${secret}-another`, subject: 'x', tenant: 'acme', ttlSeconds: 60 })
  for (const url of [up.busUrl, up.shieldUrl]) {
    await expect(WireClient.connect(url, { token: forged })).rejects.toThrow('closed with 1006')
  }
  await own.client.terminate()
  await foreign.client.terminate()
})

function tenantOfEntry(entry: JsonObject): string {
  const { payload } = entry['envelope'] as { payload: { from: string } }
  return payload.from.split('-')[0]!
}
