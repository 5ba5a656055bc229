// Each check of the projector is proven by its worlds; the shipped files are looked at, and edited ones are seen.
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Check, JsonObject } from '../../../src/preflight/check.ts'
import { createCatalogue } from '../../../src/preflight/catalogue.ts'
import { portsOfWorld } from '../../../src/preflight/healthy-world.ts'
import { judgeAnswer } from '../../../src/preflight/judge.ts'
import { planPreflight } from '../../../src/preflight/plan.ts'
import { readKnown, rememberGreen } from '../../../src/preflight/projector/known-environments.ts'
import { projectorChecks } from '../../../src/preflight/projector/projector-checks.ts'
import {
  migrationFile,
  playbookFile,
  probeMigrationFile,
  probePlaybook,
} from '../../../src/preflight/projector/shipped.ts'
import type { Report } from '../../../src/preflight/report.ts'
import { proveCheck } from '../../../src/preflight/self-proof.ts'

const checkOf = (id: string): Check => projectorChecks.find((check) => check.id === id)!
const ports = portsOfWorld({ name: 'healthy' })

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'arqonbus-preflight-projector-'))
})
afterAll(async () => {
  await rm(folder, { recursive: true })
})

describe('the checks of the projector', () => {
  it.each(projectorChecks.map((check) => [check.id, check] as const))('%s fails where it has to', (_id, check) => {
    expect(proveCheck(check).faults).toEqual([])
  })

  it('apply where the lane is on; the shipped files are looked at anyway', () => {
    const applying = (env: Record<string, string | undefined>) =>
      planPreflight(createCatalogue(), portsOfWorld({ name: '', env }), { only: ['projector'] })
        .checks.filter(({ check, skip }) => check.id.startsWith('projector.') && skip === undefined)
        .map(({ check }) => check.id)
        .sort()
    expect(applying({})).toEqual(['projector.migration-file', 'projector.playbook-present'])
    const on = { ARQONBUS_PROJECTOR_ENABLED: 'true' }
    expect(applying(on)).toEqual(projectorChecks.map(({ id }) => id).sort())
    expect(applying({ ...on, ARQONBUS_POSTGRES_URL: undefined })).toEqual([
      'projector.lane-gated',
      'projector.migration-file',
      'projector.playbook-present',
    ])
  })
})

describe('the shipped files', () => {
  const result = (id: string, facts: Awaited<ReturnType<typeof probeMigrationFile | typeof probePlaybook>>) => {
    const judged = judgeAnswer(checkOf(id), { facts: facts as unknown as JsonObject }, ports)
    return judged.status === 'fail' ? judged.findings.map(({ code }) => code).join(',') : judged.status
  }
  async function edited(file: URL, edit: (text: string) => string): Promise<URL> {
    const path = join(folder, 'edited')
    await writeFile(path, edit(await readFile(file, 'utf8')))
    return pathToFileURL(path)
  }
  const absent = () => pathToFileURL(join(folder, 'absent'))

  it('are those of this version', async () => {
    expect(result('projector.migration-file', await probeMigrationFile())).toBe('pass')
    expect(result('projector.playbook-present', await probePlaybook())).toBe('pass')
  })

  it('are missed when they are not there', async () => {
    expect(result('projector.migration-file', await probeMigrationFile(absent()))).toBe('ABSENT')
    expect(result('projector.playbook-present', await probePlaybook(absent()))).toBe('ABSENT')
  })

  it('are seen to be edited', async () => {
    const file = async (edit: (text: string) => string) =>
      result('projector.migration-file', await probeMigrationFile(await edited(migrationFile, edit)))
    expect(await file((text) => `${text}\n`)).toBe('OTHER_DIGEST')
    expect(await file((text) => text.replace('TABLE IF NOT EXISTS', 'TABLE'))).toBe('OTHER_DIGEST,NOT_REPEATABLE')
    const book = async (edit: (text: string) => string) =>
      result('projector.playbook-present', await probePlaybook(await edited(playbookFile, edit)))
    expect(await book((text) => text.replace(/^\$ arqonbus projector drill.*$/m, ''))).toBe('STEP_MISSING')
    expect(await book((text) => text.replaceAll('projection_dlq_raw', 'projection_letters'))).toBe(
      'TABLE_MISSING,UNKNOWN_TABLE',
    )
    expect(await book((text) => text.replace('projector verify', 'projector check'))).toBe('UNKNOWN_COMMAND')
  })
})

describe('known environments', () => {
  const report = (verdict: string, identity: unknown): Report =>
    ({
      canonical: { verdict },
      observations: { results: { 'projector.new-environment': { ms: 1, answer: { facts: { identity } } } } },
    }) as unknown as Report

  it('are those of green runs, each once, readable by nobody else', async () => {
    const dataDir = join(folder, 'data')
    expect(await readKnown(dataDir)).toEqual([])
    await rememberGreen(report('NO-GO', 'aa'), dataDir)
    await rememberGreen(report('INCONCLUSIVE', 'aa'), dataDir)
    await rememberGreen(report('GO', 7), dataDir)
    expect(await readKnown(dataDir)).toEqual([])
    for (const identity of ['aa', 'bb', 'aa']) await rememberGreen(report('GO', identity), dataDir)
    expect(await readKnown(dataDir)).toEqual(['aa', 'bb'])
    expect((await stat(join(dataDir, 'preflight-known.json'))).mode & 0o777).toBe(0o600)
  })

  it('are none where the file is damaged', async () => {
    for (const text of ['', '{', '[]', '{"format":2,"environments":["aa"]}', '{"format":1,"environments":{}}']) {
      await writeFile(join(folder, 'preflight-known.json'), text)
      expect(await readKnown(folder), text).toEqual([])
    }
  })
})
