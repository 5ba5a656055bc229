// The copy of history in the table that readers of earlier systems know.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { FrameToJson } from '../../../src/storage/postgres/mirror.ts'
import { startBusInProcess } from '../../support/launch/bus-in-process.ts'
import {
  eventually,
  type LabDatabase,
  labKey,
  labRequest,
  openPostgresLab,
  type PostgresLab,
} from '../../support/postgres-lab.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const mirrorAs: FrameToJson = (frame, { sequence }) => ({
  text: new TextDecoder().decode(frame),
  nul: 'a\0b',
  sequence,
})

describe.skipIf(skipWithout('postgres'))('the copy in arqonbus_message_history', () => {
  let lab: PostgresLab
  beforeAll(async () => {
    lab = await openPostgresLab({ fsync: 'off' })
  })
  afterAll(() => lab.close())

  const copied = async (database: LabDatabase): Promise<string[]> =>
    (await database.query('SELECT message_id FROM arqonbus_message_history ORDER BY id')).map((row) =>
      String(row['message_id']),
    )
  const ids = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `id-${from + i}`)

  it('holds every record once, with its columns, in order', async () => {
    const database = await lab.newDatabase()
    const store = await database.open({ mirrorAs })
    const atMs = Date.now() - 60_123
    for (const id of ids(1, 450)) await store.append([labRequest(id, { atMs })])
    await eventually(async () => (await copied(database)).length === 450)
    expect(await copied(database)).toEqual(ids(1, 450))
    const [row] = await database.query('SELECT * FROM arqonbus_message_history ORDER BY id LIMIT 1')
    expect(row).toMatchObject({
      message_id: 'id-1',
      room: 'lobby',
      channel: 'general',
      sender: 'arq_client_1',
      stored_at: new Date(atMs),
      envelope: { text: 'id-1', nul: 'a\ufffdb', sequence: 1 },
      envelope_proto: Buffer.from('id-1'),
    })
  })

  it('catches up with what was appended without it, and follows a stream whose epoch rose', async () => {
    const database = await lab.newDatabase()
    const before = await database.open()
    for (const id of ids(1, 10)) await before.append([labRequest(id)])
    await before.close()
    expect(await copied(database)).toEqual([])
    const store = await database.open({ mirrorAs })
    await eventually(async () => (await copied(database)).length === 10)
    await database.query('UPDATE arqonbus_streams SET last = 5; DELETE FROM arqonbus_records WHERE sequence > 5')
    await database.query('DELETE FROM arqonbus_remembered WHERE sequence > 5')
    await database.query('UPDATE arqonbus_history SET min_epoch = (SELECT max(epoch) + 1 FROM arqonbus_streams)')
    for (const id of ids(11, 12)) await store.append([labRequest(id)])
    await eventually(async () => (await copied(database)).length === 12)
    expect(await store.head(labKey)).toMatchObject({ last: 7 })
    expect(await copied(database)).toEqual(ids(1, 12))
  })

  it('is filled by two stores at once, each record once', async () => {
    const database = await lab.newDatabase()
    const stores = [await database.open({ mirrorAs }), await database.open({ mirrorAs })]
    await Promise.all(ids(1, 300).map((id, i) => stores[i % 2]!.append([labRequest(id)])))
    await eventually(async () => (await copied(database)).length === 300)
    expect((await copied(database)).toSorted()).toEqual(ids(1, 300).toSorted())
  })

  it('holds the JSON envelope of a bus where the key is on, and nothing where it is not', async () => {
    const database = await lab.newDatabase()
    for (const [isOn, count] of [
      ['false', 0],
      ['true', 2],
    ] as const) {
      const bus = await startBusInProcess({
        env: {
          ARQONBUS_STORAGE_BACKEND: 'postgres',
          ARQONBUS_POSTGRES_URL: database.url,
          ARQONBUS_POSTGRES_MIRROR: isOn,
        },
      })
      try {
        const client = await bus.client()
        await client.publish('lab', 'general', { isOn })
        const select =
          "SELECT envelope->'payload' AS payload FROM arqonbus_message_history WHERE room = 'lab' ORDER BY id"
        await eventually(async () => (await database.query(select)).length === count)
        if (count > 0) {
          expect(await database.query(select)).toEqual([{ payload: { isOn: 'false' } }, { payload: { isOn: 'true' } }])
          const rooms = await database.query('SELECT DISTINCT room FROM arqonbus_message_history')
          expect(rooms).toEqual([{ room: 'lab' }]) // and not the bus's own canary
          expect(bus.store!.mirror).toMatchObject({ copied: 2, waiting: 0, lagMs: 0, failures: 0 })
        }
      } finally {
        await bus.close()
      }
    }
  })
})
