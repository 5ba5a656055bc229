// Runs every command of the playbook, in its order, and holds the document to what they print.
// ARQONBUS_WRITE_PLAYBOOK=1 writes what they print into it.
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { openConnection, slowLimits } from '../../../src/postgres/connection.ts'
import { createProjector } from '../../../src/projector/projector.ts'
import { compiled } from '../../support/compiled.ts'
import { fillConsoles, withoutFigures } from '../../support/playbook-commands.ts'
import { makeEvent, toBytes } from '../../support/projector-model.ts'
import { findProgram, skipWithout } from '../../support/servers/neighbours.ts'
import { type PostgresServerProcess, startPostgresServer } from '../../support/servers/postgres-server.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const file = join(root, 'docs/ArqonBus/runbooks/continuum_projector_postgres_migration_backup_restore.md')

describe.skipIf(skipWithout('postgres') || findProgram(['pg_dump']) === undefined)('the playbook document', () => {
  let server: PostgresServerProcess
  let folder: string
  beforeAll(async () => {
    server = await startPostgresServer({ settings: { fsync: 'off' } })
    folder = await mkdtemp(join(tmpdir(), 'arqonbus-document-'))
    await mkdir(join(folder, 'bin'))
    const shim = `#!/bin/sh\nexec ${process.execPath} ${join(root, 'bin/arqonbus.mjs')} "$@"\n`
    await writeFile(join(folder, 'bin/arqonbus'), shim, { mode: 0o755 })
    await symlink(join(root, 'scripts'), join(folder, 'scripts'))
  })
  afterAll(async () => {
    await server.close()
    await rm(folder, { recursive: true })
  })

  /** What a lane would have brought by then. */
  async function seed(): Promise<void> {
    const connection = await openConnection({ address: parsePostgresAddress(server.url), limits: slowLimits })
    const projector = createProjector({
      query: (statement) => connection.query(statement),
      clock: systemClock,
      maxDeadLetters: 100,
    })
    const raws = Array.from({ length: 1_000 }, (_, n) => toBytes(makeEvent(n)))
    raws.push(toBytes({ ...makeEvent(1_000), event_type: 'episode.merged' }))
    await projector.project(raws.map((raw) => ({ raw, source: 'nats' })))
    await connection.close()
  }

  it('says what its commands print', async () => {
    const { shown } = parsePostgresAddress(server.url)
    const env = {
      PATH: `${join(folder, 'bin')}:${process.env['PATH']}`,
      ARQONBUS_POSTGRES_URL: server.url,
      NODE_COMPILE_CACHE: compiled,
    }
    let isSeeded = false
    async function run(command: string): Promise<string> {
      const typed = command.replace('127.0.0.1:5432/arqonbus', shown)
      const { stdout } = await promisify(execFile)('bash', ['-c', typed], { cwd: folder, env })
      if (!isSeeded && command === 'arqonbus projector migrate') {
        isSeeded = true
        await seed()
      }
      return stdout.replaceAll(shown, '127.0.0.1:5432/arqonbus').replaceAll(/127\.0\.0\.1:\d+/g, '127.0.0.1:5432')
    }
    const before = await readFile(file, 'utf8')
    const after = await fillConsoles(before, run)
    if (process.env['ARQONBUS_WRITE_PLAYBOOK'] === '1') await writeFile(file, after)
    else expect(withoutFigures(after)).toBe(withoutFigures(before))
  })
})
