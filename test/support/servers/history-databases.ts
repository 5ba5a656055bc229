// Empty databases with the schema of this version, made in the time of a copy: on a server of this file's own, or on the
// one that ARQONBUS_TEST_POSTGRES_URL names.
import pg from 'pg'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { migrateUp } from '../../../src/postgres/migrations.ts'
import { neighbourTable } from './neighbours.ts'
import { startPostgresServer } from './postgres-server.ts'

export interface HistoryDatabases {
  /** The address of a new, migrated, empty database. */
  create(): Promise<string>
  close(): Promise<void>
}

/** `isDurable`: on a server of its own, commits wait for the disk; for a test, that proves nothing and takes time. */
export async function openHistoryDatabases({ isDurable = false } = {}): Promise<HistoryDatabases> {
  const given = process.env[neighbourTable.postgres.variable]
  if (given !== undefined) return await onGivenServer(given)
  const server = await startPostgresServer({ settings: { fsync: isDurable ? 'on' : 'off' } })
  await migrateUp({ address: parsePostgresAddress(server.url) })
  return { create: () => server.createDatabase('arqonbus'), close: () => server.close() }
}

async function onGivenServer(url: string): Promise<HistoryDatabases> {
  const client = new pg.Client(url)
  await client.connect()
  const names: string[] = []
  async function create(template: string): Promise<string> {
    const name = `arqonbus_test_${process.pid}_${names.length}`
    await client.query(`CREATE DATABASE ${name} TEMPLATE ${template}`)
    names.push(name)
    return name
  }
  const urlOf = (name: string): string => Object.assign(new URL(url), { pathname: `/${name}` }).href
  const template = await create('template1')
  await migrateUp({ address: parsePostgresAddress(urlOf(template)) })
  return {
    create: async () => urlOf(await create(template)),
    async close() {
      for (const name of names) await client.query(`DROP DATABASE ${name} WITH (FORCE)`)
      await client.end()
    },
  }
}
