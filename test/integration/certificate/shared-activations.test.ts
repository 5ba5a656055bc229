// Certificates and break-glass on machines that share a Postgres: what one of them did counts for the others, and what
// Postgres cannot say counts as not allowed.
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { requireCertifiedStart } from '../../../src/app/certified-start.ts'
import { sharedActivations } from '../../../src/app/shared-activations.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { type BreakGlass, signBreakGlass } from '../../../src/certificate/break-glass.ts'
import { resolveKeys } from '../../../src/config/resolve.ts'
import { certificateFor, pinned } from '../../support/certificates-go.ts'
import { productionEnvironment } from '../../support/environments.ts'
import { type LabDatabase, openPostgresLab, type PostgresLab } from '../../support/postgres-lab.ts'
import { createRecordLogger } from '../../support/record-logger.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { approvers, policyYaml, site } from '../../support/waivers.ts'

const folder = mkdtempSync(join(tmpdir(), 'arqonbus-shared-'))
const data = join(folder, 'data')
const issued = Date.now()
const hour = 3_600_000

describe.skipIf(skipWithout('postgres'))('machines that share a Postgres', () => {
  let lab: PostgresLab
  let database: LabDatabase
  let env: Record<string, string>

  beforeAll(async () => {
    lab = await openPostgresLab({ fsync: 'off' })
    writeFileSync(join(folder, 'policy.yaml'), policyYaml())
  })
  afterAll(async () => {
    await lab.close()
    rmSync(folder, { recursive: true, force: true })
  })
  beforeEach(async () => {
    rmSync(data, { recursive: true, force: true })
    mkdirSync(data)
    database = await lab.newDatabase()
    env = {
      ...productionEnvironment,
      ARQONBUS_ENVIRONMENT: 'staging',
      ARQONBUS_POSTGRES_URL: database.url,
      ARQONBUS_PREFLIGHT_POLICY: join(folder, 'policy.yaml'),
      ARQONBUS_PREFLIGHT_PUBLIC_KEY: pinned,
      ARQONBUS_PREFLIGHT_CERTIFICATE: join(folder, 'go.json'),
      ARQONBUS_DATA_DIR: data,
    }
    writeFileSync(join(folder, 'go.json'), JSON.stringify(await certificateFor(env, issued)))
  })

  /** Up to where it serves. */
  async function start(program: 'bus' | 'shield' | 'projector', now: number, logger = silentLogger): Promise<void> {
    const { begun } = await requireCertifiedStart(program, resolveKeys(env), { now: () => now })
    await begun({ logger, shutdown: () => undefined })
  }
  /** The same paths and the same key, and nothing of what the other one did. */
  function onAnotherMachine(): void {
    for (const name of ['activation.json', 'break-glass']) rmSync(join(data, name), { recursive: true, force: true })
  }

  function breakGlass(nonce = 'ab'.repeat(16)): BreakGlass {
    rmSync(join(folder, 'go.json'))
    const at = new Date(issued).toISOString()
    const until = new Date(issued + hour).toISOString()
    const reason = 'Certifier is down, customers cannot connect.'
    const signed = signBreakGlass(
      { program: 'bus', reason, by: 'r.patel', site, at, until, nonce },
      approvers['r.patel'],
    )
    writeFileSync(join(folder, 'glass.json'), JSON.stringify(signed))
    env['ARQONBUS_PREFLIGHT_BREAK_GLASS'] = join(folder, 'glass.json')
    return signed
  }

  it('start after the hour once one of them was activated within it', async () => {
    await expect(start('bus', issued + 2 * hour)).rejects.toThrow('EXPIRED: had to be activated by ')
    await start('bus', issued)
    onAnotherMachine()
    await start('shield', issued + 2 * hour)
    // It has a record of its own then, and needs Postgres no more.
    expect(existsSync(join(data, 'activation.json'))).toBe(true)
    env['ARQON_SCHEMA_STRICT'] = '1'
    onAnotherMachine()
    await expect(start('bus', issued + 2 * hour)).rejects.toThrow('OTHER_ENVIRONMENT: ARQON_SCHEMA_STRICT (changed)')
  })

  it('keep the first row, and refuse to change or remove any', async () => {
    await start('bus', issued)
    await start('projector', issued + 1)
    const rows = await database.query('SELECT * FROM arqonbus_preflight_activations')
    expect(rows).toHaveLength(1)
    for (const sql of [
      "UPDATE arqonbus_preflight_activations SET artefact = 'other'",
      'DELETE FROM arqonbus_preflight_activations',
      'TRUNCATE arqonbus_preflight_break_glass',
    ])
      await expect(database.query(sql)).rejects.toThrow('is refused')
  })

  it('do not start after the hour where Postgres cannot be asked, and go on by the record of their own', async () => {
    await start('bus', issued)
    await lab.server.freeze()
    try {
      await start('bus', issued + 2 * hour)
      onAnotherMachine()
      const startedAt = performance.now()
      await expect(start('bus', issued + 2 * hour)).rejects.toThrow(
        /EXPIRED: had to be activated by \S+, and was not; Postgres cannot be asked whether it was elsewhere \(\w+\)/,
      )
      expect(performance.now() - startedAt).toBeLessThan(4_000)
    } finally {
      lab.server.thaw()
    }
  })

  it('say which migration is missing, and serve all the same', async () => {
    await database.query('DROP TABLE arqonbus_preflight_activations, arqonbus_preflight_break_glass')
    const logger = createRecordLogger()
    await start('bus', issued, logger)
    expect(logger.lines).toContainEqual({
      level: 'error',
      event: 'preflight.activation_not_shared',
      fields: { why: 'the table is not there: run `arqonbus migrate up`' },
    })
    breakGlass()
    await expect(start('bus', issued)).rejects.toThrow('cannot be written down in Postgres (the table is not there')
  })

  it('start once by a break-glass, whichever of them it is', async () => {
    breakGlass()
    await start('bus', issued)
    onAnotherMachine()
    await expect(start('bus', issued)).rejects.toThrow('was used already; it is for one start')
    const rows = await database.query('SELECT program, signed_by FROM arqonbus_preflight_break_glass')
    expect(rows).toEqual([{ program: 'bus', signed_by: 'r.patel' }])
  })

  it('start once by it also when all of them start at the same time', async () => {
    const signed = breakGlass()
    const shared = sharedActivations(resolveKeys(env))!
    const used = await Promise.all(Array.from({ length: 8 }, () => shared.use(signed)))
    expect(used.filter(Boolean)).toHaveLength(1)
  })

  it('do not start by it where Postgres does not take it, and have not used it up', async () => {
    breakGlass()
    const { ARQONBUS_POSTGRES_URL: good } = env
    env['ARQONBUS_POSTGRES_URL'] = database.url.replace(/:\d+\//, ':1/')
    await expect(start('bus', issued)).rejects.toThrow('cannot be written down in Postgres (UNREACHABLE)')
    expect(existsSync(join(data, 'break-glass'))).toBe(false)
    env['ARQONBUS_POSTGRES_URL'] = good!
    await start('bus', issued)
  })
})
