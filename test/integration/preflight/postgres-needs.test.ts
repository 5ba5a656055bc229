// The table of rights against the code that needs them: a user with exactly these does everything, and without any one
// of them something fails.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sharedActivations } from '../../../src/app/shared-activations.ts'
import { createChainWriter } from '../../../src/audit/chain-writer.ts'
import { toContent } from '../../../src/audit/chain.ts'
import { systemClock } from '../../../src/base/clock.ts'
import type { BreakGlass } from '../../../src/certificate/break-glass.ts'
import { resolveKeys } from '../../../src/config/resolve.ts'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { openConnection, type PostgresConnection, slowLimits } from '../../../src/postgres/connection.ts'
import { type NeededObject, objectsOf, type PartName } from '../../../src/preflight/postgres/needs.ts'
import { backfill } from '../../../src/projector/backfill.ts'
import { createDeadLetters } from '../../../src/projector/dead-letters.ts'
import { createProjector } from '../../../src/projector/projector.ts'
import { createReads } from '../../../src/projector/reads.ts'
import { requireProjectorSchema } from '../../../src/projector/schema.ts'
import { createSql } from '../../../src/projector/sql.ts'
import {
  eventually,
  everything,
  type LabDatabase,
  labKey,
  labRequest,
  openPostgresLab,
  type PostgresLab,
} from '../../support/postgres-lab.ts'
import { makeEvent, toBytes } from '../../support/projector-model.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

describe.skipIf(skipWithout('postgres'))('the rights that are asked for', () => {
  let lab: PostgresLab
  beforeAll(async () => {
    lab = await openPostgresLab({ fsync: 'off' })
    await lab.server.query('CREATE ROLE bus LOGIN')
  })
  afterAll(async () => {
    await lab.close()
  })

  const onWhat = ({ kind, name }: NeededObject): string => (kind === 'table' ? name : `${kind.toUpperCase()} ${name}`)

  /** A migrated database in which the user has the rights of these parts and no other. */
  async function granted(parts: readonly PartName[]) {
    const database = await lab.newDatabase()
    const address = database.url.replace('arqonbus@', 'bus@')
    await database.query('REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC')
    for (const object of objectsOf(parts)) {
      await database.query(`GRANT ${object.rights.join(', ')} ON ${onWhat(object)} TO bus`)
    }
    return { database, url: address, address: parsePostgresAddress(address) }
  }

  let calls = 0
  type Granted = Awaited<ReturnType<typeof granted>>

  async function useHistory({ database, url }: Granted): Promise<void> {
    const id = `h-${++calls}`
    const retention = { maxRecords: 1 }
    const store = await database.open({ url, retention })
    try {
      await store.append([labRequest(`${id}-1`), labRequest(`${id}-2`)])
      await store.readBySequence({ key: labKey, after: 0, ...everything })
      await store.readByTime({ tenant: 'acme', order: 'newest', ...everything })
      await store.streams('acme')
      await store.stats('acme')
      await store.raiseEpoch?.(labKey)
      await store.probe()
      await eventually(async () => {
        const { first, last } = await store.head(labKey)
        return first === last
      }, 1_000)
    } finally {
      await store.close()
    }
    await withConnection(url, (connection) =>
      connection.query({ text: 'SELECT arqonbus_forget_some(tenant_row, 0, 1) FROM arqonbus_tenants' }),
    )
  }

  async function useMirror({ database, url }: Granted): Promise<void> {
    const id = `m-${++calls}`
    const store = await database.open({ url, mirrorAs: () => ({}) })
    try {
      await store.append([labRequest(`${id}-1`)])
      await copied(database, `${id}-1`)
      // The place of the copy moves: another write of the same row.
      await store.append([labRequest(`${id}-2`)])
      await copied(database, `${id}-2`)
      await eventually(async () => {
        const rows = await database.query(
          'SELECT FROM arqonbus_mirrored m JOIN arqonbus_streams s USING (stream_row) WHERE m.sequence = s.last',
        )
        return rows.length === 1
      }, 1_000)
    } finally {
      await store.close()
    }
  }

  const copied = (database: LabDatabase, id: string): Promise<void> =>
    eventually(
      async () =>
        (await database.query(`SELECT FROM arqonbus_message_history WHERE message_id = '${id}'`)).length === 1,
      1_000,
    )

  async function useAudit({ address }: Granted): Promise<void> {
    const writer = createChainWriter(address)
    try {
      const entry = { tenant: 'acme', subject: 's', clientId: 'c', action: 'a', outcome: 'ok', details: {} }
      await writer.write([toContent(entry, `entry-${++calls}`, Date.now())])
    } finally {
      await writer.close()
    }
  }

  async function useProjector({ address, url }: Granted): Promise<void> {
    const n = ++calls * 100
    await withConnection(url, async (connection) => {
      await requireProjectorSchema(connection)
      const projector = createProjector({
        query: (statement) => connection.query(statement),
        clock: systemClock,
        maxDeadLetters: 1_000,
      })
      const bad = toBytes({ ...makeEvent(n), event_type: `episode.${n}` })
      for (let sequence = 1; sequence <= 2; sequence++) {
        const raws = [toBytes(makeEvent(n)), toBytes(makeEvent(n + sequence)), bad]
        await projector.project(
          raws.map((raw) => ({ raw, source: 'nats' })),
          { source: 's', epoch: n, sequence },
        )
      }
    })
    const sql = createSql(address, slowLimits, 1)
    try {
      await createReads(sql).counts()
      const letters = createDeadLetters({ sql, clock: systemClock })
      const { entries } = await letters.list({}, 10)
      await letters.replay(entries[0]!.id, { edited: toBytes(makeEvent(n + 50)) })
      await letters.discard(entries.map(({ id }) => id))
    } finally {
      await sql.close()
    }
    // Something that is not right, so that the rebuild adds, replaces and removes.
    const database = url.slice(url.lastIndexOf('/') + 1)
    await lab.server.query(
      // A rebuild that failed before would be gone on with, and need less.
      `UPDATE arqonbus_continuum_projection SET summary = 'by hand';
       TRUNCATE arqonbus_continuum_projection_shadow, arqonbus_continuum_projection_backfill`,
      [],
      database,
    )
    await backfill({ address, clock: systemClock, filter: {}, dryRun: true })
    await backfill({ address, clock: systemClock, filter: {}, dryRun: false })
  }

  async function useActivation({ url }: Granted): Promise<void> {
    const shared = sharedActivations(resolveKeys({ ARQONBUS_POSTGRES_URL: url }))!
    const pair = { artefact: `a-${++calls}`, fingerprint: 'f' }
    await shared.record({ ...pair, certificate: 'c', at: '' })
    expect(await shared.isActivated(pair)).toBe(true)
    const breakGlass = { nonce: `n-${calls}`, program: 'bus', by: 's.kim', reason: 'Certifier is down.' } as BreakGlass
    expect(await shared.use(breakGlass)).toBe(true)
  }

  const uses = {
    history: useHistory,
    mirror: useMirror,
    audit: useAudit,
    activation: useActivation,
    projector: useProjector,
  }

  it.each([
    ['history', ['history']],
    ['mirror', ['history', 'mirror']],
    ['audit', ['audit']],
    ['activation', ['activation']],
    ['projector', ['projector']],
  ] as const)('are enough for %s, and none is too many', { timeout: 120_000 }, async (part, parts) => {
    const place = await granted(parts)
    await uses[part](place)
    const needless: string[] = []
    const others = new Set(objectsOf(parts.filter((one) => one !== part)).map(({ name }) => name))
    for (const object of objectsOf([part])) {
      if (others.has(object.name)) continue
      for (const right of object.rights) {
        await place.database.query(`REVOKE ${right} ON ${onWhat(object)} FROM bus`)
        const isNeeded = await uses[part](place).then(
          () => false,
          () => true,
        )
        if (!isNeeded) needless.push(`${right} on ${object.name}`)
        await place.database.query(`GRANT ${right} ON ${onWhat(object)} TO bus`)
      }
    }
    expect(needless).toEqual([])
    await uses[part](place)
  })
})

async function withConnection<T>(url: string, work: (connection: PostgresConnection) => Promise<T>): Promise<T> {
  const connection = await openConnection({ address: parsePostgresAddress(url), limits: slowLimits })
  try {
    return await work(connection)
  } finally {
    await connection.close()
  }
}
