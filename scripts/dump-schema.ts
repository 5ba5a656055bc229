// Writes scripts/migrations/schema.txt: what an empty database has after all migrations. Run: npm run schema:dump
// Takes the server of ARQONBUS_TEST_POSTGRES_URL, or starts one of its own.
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parsePostgresAddress } from '../src/postgres/address.ts'
import { readCatalogue } from '../src/postgres/catalogue.ts'
import { hotLimits, openConnection } from '../src/postgres/connection.ts'
import { openHistoryDatabases } from '../test/support/servers/history-databases.ts'

const databases = await openHistoryDatabases()
try {
  const address = parsePostgresAddress(await databases.create())
  const connection = await openConnection({ address, limits: hotLimits })
  const lines = await readCatalogue(connection)
  await connection.close()
  const head =
    '# The schema after all migrations, as the catalogue tells it. Made by `npm run schema:dump`; do not edit.'
  const file = fileURLToPath(new URL('migrations/schema.txt', import.meta.url))
  writeFileSync(file, `${[head, ...lines].join('\n')}\n`)
  console.log(`${lines.length} lines`)
} finally {
  await databases.close()
}
