// Diff and history: what changed between two runs, what most likely came first, and what is remembered.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { createCatalogue } from '../../../src/preflight/catalogue.ts'
import { diffRuns } from '../../../src/preflight/replay/diff.ts'
import {
  historyFolder,
  keepRun,
  keptRuns,
  lastGreen,
  memoryOf,
  readHistory,
} from '../../../src/preflight/replay/history.ts'
import { formatText } from '../../../src/preflight/format-text.ts'
import { sinceGreen } from '../../../src/preflight/replay/since-green.ts'
import type { Report, Result } from '../../../src/preflight/report.ts'
import { printFigures } from '../../support/print-figures.ts'
import { runCommand } from '../../support/run-command.ts'
import { plantCase, type PlantedCase, randomOf } from '../../support/preflight-corpus-causes.ts'

const catalogue = createCatalogue()
const seed = Number(process.env['PREFLIGHT_SEED'] ?? Math.trunc(Math.random() * 2 ** 31))
const incidental = 30

function corpus(): { cases: PlantedCase[]; unseen: number } {
  const random = randomOf(seed)
  const made = catalogue.flatMap((check) =>
    check.worlds.fails.map((world) => plantCase(catalogue, check, world, random, incidental)),
  )
  const cases = made.filter((one) => one !== undefined)
  return { cases, unseen: made.length - cases.length }
}

describe('the likeliest first cause', () => {
  const { cases, unseen } = corpus()
  const misses: string[] = []
  for (const { id, world, before, after, planted } of cases) {
    const [first] = diffRuns(before, after, catalogue).causes
    const name =
      first === undefined
        ? 'none'
        : [first.kind, first.check, first.kind === 'stopped' ? undefined : first.name].filter(Boolean).join(' ')
    if (!planted.has(name)) misses.push(`${id}, ${world}: ${name} instead of ${[...planted].join(' or ')}`)
  }
  const share = 1 - misses.length / cases.length

  it('is the planted one among 30 incidental changes, in at least nine of ten cases', () => {
    const words = `seed ${seed}: ${cases.length - misses.length} of ${cases.length} first (${(share * 100).toFixed(1)} %), ${unseen} worlds differ in nothing that a report shows`
    printFigures('likeliest first cause', words)
    expect(share, `${words}\n${misses.join('\n')}`).toBeGreaterThanOrEqual(0.9)
  })

  it('had that many changes to choose from, in every case', () => {
    expect(cases.length).toBeGreaterThan(200)
    expect(cases.filter((one) => one.incidental < incidental)).toEqual([])
    const [any] = cases
    expect(diffRuns(any!.before, any!.after, catalogue).inputs.length).toBeGreaterThan(incidental)
  })

  it('is nobody when nothing newly failed', () => {
    const { after } = cases[0]!
    const diff = diffRuns(after, after, catalogue)
    expect({ isEqual: diff.isEqual, causes: diff.causes, inputs: diff.inputs }).toEqual({
      isEqual: true,
      causes: [],
      inputs: [],
    })
  })
})

const resultOf = (id: string, status: 'pass' | 'fail'): Result => ({
  id,
  runbook: [],
  phase: 'deps',
  severity: 'high',
  class: 'config',
  blocks: [],
  ...(status === 'pass' ? { status } : { status, findings: [{ code: 'WRONG', variable: id, fix: 'mend it' }] }),
})

function run(
  minute: number,
  statuses: Record<string, 'pass' | 'fail'>,
  verdict: Report['canonical']['verdict'] = 'INCONCLUSIVE',
): Report {
  const base = corpusReport()
  const results = Object.entries(statuses).map(([id, status]) => resultOf(id, status))
  const rootCauses = results.filter(({ status }) => status === 'fail').map(({ id }) => id)
  const counts = { ...base.canonical.counts, pass: results.length - rootCauses.length }
  return {
    ...base,
    digest: `sha256:${String(minute).padStart(64, '0')}`,
    canonical: { ...base.canonical, verdict, results, rootCauses, counts },
    observations: { ...base.observations, startedAt: new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString() },
  }
}
const corpusReport = (): Report =>
  plantCase(
    catalogue,
    catalogue.find(({ probe }) => probe !== undefined)!,
    catalogue.find(({ probe }) => probe !== undefined)!.worlds.fails[0]!,
    randomOf(1),
    0,
  )!.before

describe('the history', () => {
  const root = mkdtempSync(join(tmpdir(), 'arqonbus-history-'))
  afterAll(() => rmSync(root, { recursive: true, force: true }))

  it('keeps the newest runs (200), for the owner only, and gives them back in order', async () => {
    for (let minute = 0; minute < 8; minute++) await keepRun(root, run(minute, { a: 'pass' }), 'r1', 5)
    const names = readdirSync(historyFolder(root))
    expect(names).toHaveLength(5)
    expect(keptRuns).toBe(200)
    expect(statSync(join(historyFolder(root), names[0]!)).mode & 0o777).toBe(0o600)
    const runs = readHistory(root)
    expect(runs[0]!.observations.startedAt).toBe('2026-01-01T00:03:00.000Z')
    expect(runs.at(-1)!.observations.startedAt).toBe('2026-01-01T00:07:00.000Z')
  })

  it('takes the newest GO as green, and without one the newest run in which nothing failed', () => {
    const clean = run(1, { a: 'pass' })
    const go = run(0, { a: 'pass' }, 'GO')
    const bad = run(2, { a: 'fail' }, 'NO-GO')
    expect(lastGreen([go, clean, bad], 'prod')).toBe(go)
    expect(lastGreen([clean, bad], 'prod')).toBe(clean)
    expect(lastGreen([bad, run(3, {})], 'prod')).toBeUndefined()
    expect(lastGreen([go], 'staging')).toBeUndefined()
  })

  it('remembers how often a check failed and how long until it passed again', () => {
    const runs = [
      run(0, { a: 'pass' }),
      run(10, { a: 'fail' }),
      run(12, { a: 'fail' }),
      run(13, { b: 'pass' }),
      run(16, { a: 'pass' }),
      run(20, { a: 'fail' }),
      run(30, { a: 'pass' }),
      run(40, { a: 'fail' }),
    ]
    expect(memoryOf(runs, 'a')).toEqual({ cases: 2, medianMinutes: 8 })
    expect(memoryOf(runs, 'b')).toEqual({ cases: 0 })
  })

  it('remembers what had changed when it passed again, most often', () => {
    const check = catalogue.find(({ id }) => id === 'dep.valkey.eviction')!
    const { before, after } = plantCase(catalogue, check, check.worlds.fails[0]!, randomOf(7), 0)!
    const at = (report: Report, minute: number): Report => ({
      ...report,
      observations: { ...report.observations, startedAt: new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString() },
    })
    const runs = [before, after, before, after, before].map((report, index) => at(report, index * 5))
    const since = sinceGreen(runs, at(after, 30), catalogue)!
    const memory = since.memory['dep.valkey.eviction']!
    expect(memory).toEqual({
      cases: 2,
      medianMinutes: 5,
      usualFix: { change: expect.stringMatching(/ of dep\.valkey\.eviction$/), cases: 2 },
    })
    const red = at(after, 30)
    expect(formatText({ ...red, observations: { ...red.observations, since } })).toContain(
      `2 earlier cases here, usually passed again after ~5 min\n         usual fix  a change of ${memory.usualFix!.change} (2 of 2)`,
    )
    expect(sinceGreen(runs.slice(0, 2), red, catalogue)!.memory['dep.valkey.eviction']).toEqual({ cases: 0 })
  })

  it('is not needed where a run is compared with a baseline, which a report can be', async () => {
    const folder = join(root, 'baseline')
    mkdirSync(folder)
    const run = (env: Record<string, string>, ...more: string[]) =>
      runCommand(['preflight', 'run', '--only', 'meta.config-valid', '--bundle', 'never', ...more], env)
    const here = { ARQONBUS_DATA_DIR: folder }
    const file = join(folder, 'before.json')
    await run({ ...here, ARQONBUS_SERVER_PORT: 'none' }, '--report', `json=${file}`)
    const { out } = await run(here, '--baseline', file)
    expect(out.join('\n')).toMatch(/since the baseline {2}1 check changed, 1 variable changed\n +\S+, NO-GO\n/)
    expect((await run(here)).out.join('\n')).toContain('since last green')
    const wrong = await run(here, '--baseline', join(folder, 'none.json'))
    expect({ exit: wrong.exitCode, out: wrong.out.join('\n') }).toEqual({
      exit: 65,
      out: expect.stringContaining('cannot be read (ENOENT)'),
    })
    const key = await run(here, '--sign', join(folder, 'none.pem'))
    expect({ exit: key.exitCode, out: key.out.join('\n') }).toEqual({
      exit: 64,
      out: expect.stringContaining('--sign: '),
    })
    expect((await run(here, '--run-id', 'last')).exitCode).toBe(64)
  })

  it('is what `preflight diff --since last-green` and the head of the report compare with', async () => {
    const folder = join(root, 'planted')
    mkdirSync(folder)
    const check = catalogue.find(({ id }) => id === 'dep.valkey.eviction')!
    const { before, after } = plantCase(catalogue, check, check.worlds.fails[0]!, randomOf(7), incidental)!
    const at = (report: Report, startedAt: string): Report => ({
      ...report,
      observations: { ...report.observations, startedAt },
    })
    const [green, red] = [at(before, '2026-01-01T00:00:00.000Z'), at(after, '2026-01-01T00:09:00.000Z')]
    await keepRun(folder, green, 'r1')
    await keepRun(folder, red, 'r2')
    const run = await runCommand(['preflight', 'diff', '--since', 'last-green'], { ARQONBUS_DATA_DIR: folder })
    expect(run.exitCode).toBe(50)
    expect(run.out.join('\n')).toMatch(/LIKELY FIRST\n {2}1\. {5}dep\.valkey\.eviction /)
    const since = sinceGreen([green], red, catalogue)!
    expect(since).toMatchObject({ at: '2026-01-01T00:00:00.000Z', verdict: 'GO', isOtherCommit: true })
    expect(since.variables).toBeGreaterThan(0)
    const text = formatText({ ...red, observations: { ...red.observations, since } })
    expect(text).toMatch(/since last green {2}\d+ checks? changed, \d+ variables changed, another commit/)
    expect(text).toContain('most likely first  fact')
  })
})
