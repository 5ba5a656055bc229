// A whole bus with the projector on: its commands on the wire, its channel of events, and the walls between tenants.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Role } from '../../../src/auth/identity.ts'
import { mintToken } from '../../../src/auth/mint.ts'
import { listAudit } from '../../../src/audit/verify.ts'
import type { JsonObject } from '../../../src/base/json.ts'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { startBusInProcess } from '../../support/launch/bus-in-process.ts'
import { dataOf, type WireClient } from '../../support/launch/wire-client.ts'
import { eventually, type LabDatabase, openPostgresLab, type PostgresLab } from '../../support/postgres-lab.ts'
import { byKey, makeEvent, modelRows, projectionRows, timeAt } from '../../support/projector-model.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const secret = 'projector-only-0123456789-abcdefghijklmno'
const ops = 'op.continuum.projector'

it('the commands say that the projector is off where it is', async () => {
  const bus = await startBusInProcess()
  const client = await bus.client()
  for (const tail of ['status', 'project_event', 'get', 'list', 'dlq.list', 'dlq.replay', 'backfill']) {
    const answer = await client.command(`${ops}.${tail}`, {})
    expect(answer).toMatchObject({
      status: 'error',
      error_code: expect.stringMatching(/FEATURE_DISABLED|AUTHORIZATION/),
    })
  }
  await bus.close()
})

describe.skipIf(skipWithout('postgres'))('a bus with the projector', () => {
  let lab: PostgresLab
  const opened: { close(): Promise<void> }[] = []
  beforeAll(async () => {
    lab = await openPostgresLab({ fsync: 'off' })
  })
  afterEach(async () => {
    for (const one of opened.splice(0).toReversed()) await one.close()
  })
  afterAll(() => lab.close())

  const tokenOf = (role: Role, tenant = 'acme'): Promise<string> =>
    mintToken({ secret, subject: `${role}-${tenant}`, tenant, role, ttlSeconds: 600 })

  async function start(database: LabDatabase, env: Record<string, string> = {}) {
    const bus = await startBusInProcess({
      env: {
        ARQONBUS_PROJECTOR_ENABLED: 'true',
        ARQONBUS_POSTGRES_URL: database.url,
        ARQONBUS_ENABLE_AUTH: 'true',
        ARQONBUS_AUTH_JWT_SECRET: secret,
        ...env,
      },
    })
    opened.push(bus)
    return bus
  }

  const call = async (client: WireClient, tail: string, args: object = {}): Promise<JsonObject> => {
    const answer = await client.command(`${ops}.${tail}`, args as JsonObject)
    return answer.status === 'error'
      ? { refused: answer.error_code!, ...(answer.payload as JsonObject) }
      : dataOf(answer)
  }

  const event = (n: number, more: object = {}) => ({ ...makeEvent(n), agent_id: 'a', episode_id: 'e', ...more })

  it('projects, reads, buries, mends and rebuilds, in the words of the original', async () => {
    const database = await lab.newDatabase()
    const bus = await start(database)
    const admin = await bus.client({ token: await tokenOf('admin') })
    const key = { agent_id: 'a', episode_id: 'e' }
    expect(await call(admin, 'get', key)).toEqual({ found: false, tenant_id: 'acme', ...key })
    expect(await call(admin, 'project_event', { event: event(5) })).toEqual({
      status: 'projected',
      event_id: 'event-5',
      projection_key: ['acme', 'a', 'e'],
      deleted: false,
    })
    expect(await call(admin, 'project_event', { event: event(5) })).toMatchObject({ status: 'duplicate' })
    expect(await call(admin, 'project_event', { event: event(4) })).toMatchObject({
      status: 'stale_rejected',
      existing_last_event_ts: timeAt(5),
    })
    expect(await call(admin, 'get', key)).toMatchObject({
      found: true,
      projection: { tags: ['a', 'tag-5'], last_event_id: 'event-5', deleted: false },
    })
    const bad = await call(admin, 'project_event', { event: event(6, { event_type: 'x' }) })
    expect(bad).toMatchObject({ status: 'dlq_queued', error: expect.stringMatching(/^BAD_EVENT_TYPE: /) })
    expect(await call(admin, 'dlq.list')).toMatchObject({
      count: 1,
      limit: 100,
      items: [{ dlq_id: bad['dlq_id'], topic: 'continuum.episode.dlq.v1', event: { event_id: 'event-6' } }],
    })
    expect(await call(admin, 'dlq.replay', { dlq_id: 'nothing' })).toMatchObject({
      replayed: false,
      reason: 'not_found',
    })
    expect(await call(admin, 'dlq.replay', { dlq_id: bad['dlq_id'] })).toMatchObject({
      refused: 'VALIDATION_ERROR',
      reason: 'BAD_EVENT_TYPE',
    })
    const mended = await call(admin, 'dlq.replay', { dlq_id: bad['dlq_id'], event: event(6) })
    expect(mended).toMatchObject({ replayed: true, result: { status: 'projected' } })
    expect(await call(admin, 'status')).toMatchObject({
      projection_count: 1,
      seen_event_count: 3,
      event_log_count: 3,
      dlq_count: 0,
    })
    await database.query("UPDATE arqonbus_continuum_projection SET summary = 'wrong'")
    const range = { from_ts: timeAt(0), to_ts: timeAt(100) }
    expect(await call(admin, 'backfill', { ...range, dry_run: true })).toMatchObject({
      dry_run: true,
      selected_count: 3,
      updated: 1,
    })
    expect(await call(admin, 'get', key)).toMatchObject({ projection: { summary: 'wrong' } })
    expect(await call(admin, 'backfill', range)).toMatchObject({ projected: 1, duplicates: 2 })
    expect(await call(admin, 'get', key)).toMatchObject({ projection: { summary: 'summary 6' } })
    await eventually(async () => (await listAudit(parsePostgresAddress(database.url), 100)).length >= 8)
    const audited = (await listAudit(parsePostgresAddress(database.url), 100)).map(({ action }) => action)
    expect(new Set(audited)).toEqual(
      new Set(['project_event', 'dlq.replay', 'backfill'].map((tail) => `command.${ops}.${tail}`)),
    )
  })

  it('has bounds on everything that is asked', async () => {
    const bus = await start(await lab.newDatabase())
    const admin = await bus.client({ token: await tokenOf('admin') })
    const day = (n: number) => `2026-01-${String(n).padStart(2, '0')}T00:00:00Z`
    const cases: [string, object, string][] = [
      ['list', { limit: 501 }, 'BAD_LIMIT'],
      ['list', { limit: 0 }, 'BAD_LIMIT'],
      ['list', { after: 'nonsense' }, 'BAD_ARGUMENT'],
      ['dlq.list', { limit: 1e9 }, 'BAD_LIMIT'],
      ['dlq.list', { after: "'; DROP TABLE x" }, 'BAD_ARGUMENT'],
      ['get', { agent_id: 'a' }, 'MISSING_ARGUMENT'],
      ['project_event', {}, 'BAD_ARGUMENT'],
      ['project_event', { event: 'text' }, 'BAD_ARGUMENT'],
      ['dlq.replay', {}, 'MISSING_ARGUMENT'],
      ['backfill', { from_ts: day(1) }, 'MISSING_ARGUMENT'],
      ['backfill', { from_ts: 'then', to_ts: day(2) }, 'BAD_TIME'],
      ['backfill', { from_ts: day(2), to_ts: day(1) }, 'BAD_WINDOW'],
      ['backfill', { from_ts: day(1), to_ts: '2026-02-02T00:00:00Z' }, 'BAD_WINDOW'],
      ['backfill', { from_ts: day(1), to_ts: day(2), dry_run: 'false' }, 'BAD_ARGUMENT'],
    ]
    for (const [tail, args, reason] of cases) {
      expect(await call(admin, tail, args), `${tail} ${JSON.stringify(args)}`).toMatchObject({
        refused: 'VALIDATION_ERROR',
        reason,
      })
    }
  })

  it('lets admins into their own tenant only, operators into all, and nobody else', async () => {
    const bus = await start(await lab.newDatabase())
    const acme = await bus.client({ token: await tokenOf('admin') })
    const other = await bus.client({ token: await tokenOf('admin', 'other') })
    const operator = await bus.client({ token: await tokenOf('operator', '*') })
    const user = await bus.client({ token: await tokenOf('user') })
    await call(acme, 'project_event', { event: event(1) })
    const bad = await call(acme, 'project_event', { event: event(2, { event_type: 'x' }) })
    expect(await call(other, 'list')).toMatchObject({ count: 0 })
    expect(await call(other, 'dlq.list')).toMatchObject({ count: 0 })
    expect(await call(other, 'status')).toMatchObject({ projection_count: 0, dlq_count: 0 })
    expect(await call(other, 'dlq.replay', { dlq_id: bad['dlq_id'] })).toMatchObject({ reason: 'not_found' })
    expect(await call(other, 'project_event', { event: event(3) })).toMatchObject({ refused: 'TENANT_MISMATCH' })
    expect(await call(other, 'list', { tenant_id: 'acme' })).toMatchObject({ refused: 'TENANT_MISMATCH' })
    const range = { from_ts: timeAt(0), to_ts: timeAt(9) }
    expect(await call(other, 'backfill', { ...range, dry_run: true })).toMatchObject({ selected_count: 0 })
    expect(await call(operator, 'list')).toMatchObject({ count: 1 })
    expect(await call(operator, 'list', { tenant_id: 'other' })).toMatchObject({ count: 0 })
    expect(await call(operator, 'project_event', { event: event(4) })).toMatchObject({ status: 'projected' })
    for (const tail of ['status', 'project_event', 'get', 'list', 'dlq.list', 'dlq.replay', 'backfill']) {
      expect(await call(user, tail)).toMatchObject({ refused: 'AUTHORIZATION_ERROR' })
    }
  })

  describe('follows its own channel', () => {
    const stored = { ARQONBUS_STORAGE_BACKEND: 'postgres' }
    const rowsOf = async (database: LabDatabase) => (await database.query(projectionRows)).sort(byKey)

    it('for each tenant, over a restart, with nothing lost and nothing twice', async () => {
      const database = await lab.newDatabase()
      const events = Array.from({ length: 300 }, (_, n) => makeEvent(n))
      const send = async (from: number, to: number) => {
        const bus = await start(database, stored)
        const client = await bus.client({ token: await tokenOf('user') })
        for (const one of events.slice(from, to)) {
          await client.publish('continuum', 'continuum.episode.v1', one as unknown as JsonObject)
        }
        return bus
      }
      const first = await send(0, 150)
      // Closed at once: what was acknowledged and is not projected yet comes after the restart.
      await first.close()
      await send(150, 300)
      await eventually(async () => (await rowsOf(database)).length === modelRows(events).length)
      await eventually(
        async () => (await database.query('SELECT FROM arqonbus_continuum_projection_events')).length === 300,
      )
      expect(await rowsOf(database)).toEqual(modelRows(events))
      const [checkpoint] = await database.query('SELECT source, sequence FROM arqonbus_continuum_projection_checkpoint')
      expect(checkpoint).toEqual({ source: 'channel:acme:continuum', sequence: '300' })
    })

    it('while Postgres is killed, and buries what names another tenant', async () => {
      const database = await lab.newDatabase()
      const bus = await start(database)
      const client = await bus.client({ token: await tokenOf('user') })
      const publish = (one: object) => client.publish('continuum', 'continuum.episode.v1', one as JsonObject)
      const events = Array.from({ length: 60 }, (_, n) => makeEvent(n))
      for (const one of events.slice(0, 20)) await publish(one)
      await lab.server.kill()
      for (const one of events.slice(20, 40)) await publish(one)
      await lab.server.restart()
      await publish({ ...makeEvent(100), tenant_id: 'other' })
      for (const one of events.slice(40)) await publish(one)
      await eventually(
        async () => (await database.query('SELECT FROM arqonbus_continuum_projection_events')).length === 60,
      )
      expect(await rowsOf(database)).toEqual(modelRows(events))
      const admin = await bus.client({ token: await tokenOf('admin') })
      expect(await call(admin, 'dlq.list')).toMatchObject({ count: 1, items: [{ code: 'TENANT_MISMATCH' }] })
      const other = await bus.client({ token: await tokenOf('admin', 'other') })
      expect(await call(other, 'dlq.list')).toMatchObject({ count: 0 })
    })
  })

  it('refuses to start without its tables, or without Postgres, and says what to do', async () => {
    const url = await lab.server.createDatabase()
    const start = (env: Record<string, string>) =>
      startBusInProcess({ env: { ARQONBUS_PROJECTOR_ENABLED: 'true', ...env } })
    await expect(start({ ARQONBUS_POSTGRES_URL: url })).rejects.toMatchObject({
      code: 'STORE_OPEN_FAILED',
      details: { reason: 'SCHEMA_MISSING' },
      message: expect.stringContaining('arqonbus projector migrate'),
    })
    await expect(start({})).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })
})
