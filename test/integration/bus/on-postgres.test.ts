// A bus whose history and audit log are in Postgres: levels of acknowledgements, recovery over a restart, and what the
// audit log is told.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listAudit, verifyAudit } from '../../../src/audit/verify.ts'
import { mintToken } from '../../../src/auth/mint.ts'
import type { Role } from '../../../src/auth/identity.ts'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { startBusInProcess } from '../../support/launch/bus-in-process.ts'
import { positionOf } from '../../support/launch/wire-client.ts'
import { eventually, openPostgresLab, type PostgresLab } from '../../support/postgres-lab.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const secret = 'postgres-only-0123456789-abcdefghijklmno'

describe.skipIf(skipWithout('postgres'))('a bus on Postgres', () => {
  let lab: PostgresLab
  beforeAll(async () => {
    lab = await openPostgresLab()
  })
  afterAll(() => lab.close())

  const tokenOf = (subject: string, tenant: string, role: Role = 'user'): Promise<string> =>
    mintToken({ secret, subject, tenant, role, ttlSeconds: 600 })

  async function start(url: string) {
    const env = {
      ARQONBUS_STORAGE_BACKEND: 'postgres',
      ARQONBUS_POSTGRES_URL: url,
      ARQONBUS_ENABLE_AUTH: 'true',
      ARQONBUS_AUTH_JWT_SECRET: secret,
    }
    return await startBusInProcess({ env })
  }

  it('acknowledges at level disk, and keeps history and positions over a restart', async () => {
    const { url } = await lab.newDatabase()
    const first = await start(url)
    const alice = await first.client({ token: await tokenOf('alice', 'acme') })
    const key = { tenant: 'acme', room: 'lab', channel: 'general' }
    const ack = await alice.publish('lab', 'general', { n: 1 })
    expect(ack.metadata).toMatchObject({ level: 'disk', position: { sequence: 1 } })
    await first.close()

    const second = await start(url)
    try {
      const again = await second.client({ token: await tokenOf('alice', 'acme') })
      await again.join('lab', 'general', { ...positionOf(ack), sequence: 0 })
      const [recovered] = await again.received(1)
      expect([recovered!.id, recovered!.payload, positionOf(recovered!)]).toEqual([ack.id, { n: 1 }, positionOf(ack)])
      expect((await second.store!.head(key)).epoch).toBe(positionOf(ack).epoch)
      expect(second.store!.capabilities).toMatchObject({ backend: 'postgres', level: 'disk' })
    } finally {
      await second.close()
    }
  })

  it('delivers to members of a new channel what another bus has begun it with', async () => {
    const { url } = await lab.newDatabase()
    const [here, there] = [await start(url), await start(url)]
    try {
      const connect = async (bus: typeof here, subject: string) =>
        await bus.client({ token: await tokenOf(subject, 'acme') })
      const [reader, whole] = [await connect(here, 'reader'), await connect(here, 'whole')]
      await reader.join('lab', 'one')
      await whole.join('lab', '*')
      const [near, far] = [await connect(here, 'near'), await connect(there, 'far')]
      for (const channel of ['one', 'two']) {
        const acks = [await far.publish('lab', channel, { n: 1 }), await far.publish('lab', channel, { n: 2 })]
        acks.push(await near.publish('lab', channel, { n: 3 }))
        expect(acks.map((ack) => positionOf(ack).sequence)).toEqual([1, 2, 3])
        for (const member of channel === 'one' ? [reader, whole] : [whole]) {
          const messages = await member.received(3, channel)
          expect(messages.map(positionOf)).toEqual(acks.map(positionOf))
        }
      }
    } finally {
      await Promise.all([here.close(), there.close()])
    }
  })

  it('tells the audit log of commands of administrators, of attempts across tenants, and of HTTP', async () => {
    const { url } = await lab.newDatabase()
    const bus = await start(url)
    const address = parsePostgresAddress(url)
    try {
      const admin = await bus.client({ token: await tokenOf('root', 'acme', 'admin') })
      const args = { room: 'lab', channel: 'made' }
      await admin.command('create_channel', args)
      await admin.command('create_channel', args)
      await admin.command('channel_info', args)
      await admin.command('delete_channel', { ...args, tenant_id: 'other' })
      await admin.publish('lab', 'made', {}, { tenant_id: 'other' })
      admin.send({ type: 'command', command: 'auth.refresh', args: { token: await tokenOf('root', 'other', 'admin') } })
      expect((await admin.closed).code).toBe(4403)
      const http = `http://127.0.0.1:${bus.httpPort}`
      const headers = { authorization: `Bearer ${await tokenOf('bob', 'acme')}` }
      expect((await fetch(`${http}/storage/history?tenant=other`, { headers })).status).toBe(403)
      expect((await fetch(`${http}/admin/shutdown`, { method: 'POST', headers: { origin: 'https://x' } })).status).toBe(
        403,
      )

      const expected = [
        ['acme', 'root', 'command.create_channel', 'done'],
        ['acme', 'root', 'command.create_channel', 'CHANNEL_EXISTS'],
        ['acme', 'root', 'command.delete_channel', 'TENANT_MISMATCH'],
        ['acme', 'root', 'refused.TENANT_MISMATCH', 'TENANT_MISMATCH'],
        ['acme', 'root', 'refused.TENANT_MISMATCH', 'TENANT_MISMATCH'],
        ['acme', 'root', 'refused.REFRESH_FOR_ANOTHER', 'AUTHENTICATION_FAILED'],
        ['acme', 'bob', 'refused.TENANT_MISMATCH', 'TENANT_MISMATCH'],
        ['*', 'http', 'http.POST /admin/shutdown', '403'],
      ]
      await eventually(async () => (await listAudit(address, 100)).length === expected.length)
      const rows = await listAudit(address, 100)
      expect(rows.map(({ tenant, subject, action, outcome }) => [tenant, subject, action, outcome])).toEqual(expected)
      expect(JSON.parse(rows[0]!.details)).toEqual(args)
      expect((await verifyAudit(address)).broken).toBeUndefined()
      const metrics = await (await fetch(`${http}/metrics`)).text()
      expect(metrics).toMatch(/^arqonbus_audit_written_total 8$/m)
    } finally {
      await bus.close()
    }
  })

  it('serves on when the audit log cannot be written, and says so in its health', async () => {
    const database = await lab.newDatabase()
    const bus = await start(database.url)
    try {
      await database.query('DROP TABLE arqonbus_audit')
      const admin = await bus.client({ token: await tokenOf('root', 'acme', 'admin') })
      expect((await admin.command('create_channel', { room: 'lab', channel: 'made' })).status).toBe('success')
      await eventually(async () => {
        const ready = await (await fetch(`http://127.0.0.1:${bus.httpPort}/ready`)).json()
        const { components, ready: isReady } = ready as {
          ready: boolean
          components: { name: string; state: string }[]
        }
        return isReady && components.some(({ name, state }) => name === 'audit' && state === 'degraded')
      })
    } finally {
      await bus.close()
    }
  })
})
