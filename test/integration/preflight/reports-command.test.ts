// `arqonbus preflight run --report …` as an operator calls it: files appear whole, what cannot be written is said, and
// the exit code is that of the verdict whatever was asked for.
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { type Check, failed } from '../../../src/preflight/check.ts'
import { formatText } from '../../../src/preflight/format-text.ts'
import { runWithIncident } from '../../../src/preflight/incident/incident.ts'
import { checkLine, ndjsonLines, verdictLine } from '../../../src/preflight/reporters/ndjson.ts'
import { reportFormats } from '../../../src/preflight/reporters/report-request.ts'
import { rollUp } from '../../../src/preflight/roll-ups.ts'
import { parseOpenMetrics, parseTap, parseWorkflowCommands, parseXml } from '../../support/report-parsers.ts'
import { productionEnvironment, strongSecret } from '../../support/environments.ts'
import { runCommand } from '../../support/run-command.ts'

const folder = mkdtempSync(join(tmpdir(), 'arqonbus-reports-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const environments: Readonly<Record<string, { env: Readonly<Record<string, string>>; only: string }>> = {
  blocker: { env: { ...productionEnvironment, JWT_SKIP_VALIDATION: '' }, only: 'shield.jwt-skip-absent' },
  critical: { env: { ...productionEnvironment, JWT_SECRET: 'short' }, only: 'shield.jwt-secret-strong' },
  inconclusive: { env: productionEnvironment, only: 'shield.jwt-skip-absent' },
  usage: { env: productionEnvironment, only: 'no.such-check' },
}
const exits = { blocker: 20, critical: 21, inconclusive: 30, usage: 64 } as const

const run = (name: string, ...more: readonly string[]) => {
  const { env, only } = environments[name]!
  return runCommand(['preflight', 'run', '--bundle', 'never', '--only', only, ...more], env)
}

describe('--report', () => {
  it('writes every format, and standard output stays one document', async () => {
    const path = (name: string): string => join(folder, `all.${name}`)
    const asked = reportFormats.flatMap((format) => ['--report', `${format}=${path(format)}`])
    const { out, log, notes, exitCode } = await run('blocker', '--json', ...asked)
    expect({ exitCode, notes }).toEqual({ exitCode: 20, notes: [] })
    const report = JSON.parse(out.join('\n'))
    const text = (name: string): string => readFileSync(path(name), 'utf8')
    expect(JSON.parse(text('json'))).toEqual(report)
    expect(parseXml(text('junit')).attributes['failures']).toBe('2') // the check, and the verdict
    expect(parseTap(text('tap')).points.length).toBe(report.canonical.results.length + 1)
    expect(parseOpenMetrics(text('openmetrics'))[0]).toMatchObject({ name: 'arqon_preflight_go', value: 0 })
    expect(JSON.parse(text('sarif')).runs[0].results.map((one: { ruleId: string }) => one.ruleId)).toEqual([
      'shield.jwt-skip-absent',
    ])
    expect(text('markdown')).toContain('# Preflight: NO-GO')
    expect(text('html')).toContain('id="card-shield.jwt-skip-absent"')
    expect(text('ndjson').trimEnd().split('\n')).toHaveLength(report.canonical.results.length + 1)
    expect(text('github')).toBe(text('markdown'))
    expect(parseWorkflowCommands(log.join('\n'))[0]).toMatchObject({ kind: 'error', title: 'Preflight NO-GO' })
    expect(statSync(path('openmetrics')).mode & 0o777).toBe(0o644 & ~process.umask())
    expect(statSync(path('json')).mode & 0o077).toBe(0)
    expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]) // no draft is left
  })

  it('says what cannot be written and leaves what was there', async () => {
    const kept = join(folder, 'kept.xml')
    writeFileSync(kept, 'before')
    const { notes, exitCode, out } = await run(
      'blocker',
      ...[`junit=${join(folder, 'no-such-folder', 'a.xml')}`, `tap=${folder}`, `junit=${kept}`].flatMap((one) => [
        '--report',
        one,
      ]),
    )
    expect(exitCode).toBe(20)
    expect(notes).toEqual([
      expect.stringMatching(/^no junit report at .*a\.xml: ENOENT$/),
      expect.stringMatching(/^no tap report at .*: it is no file$/),
    ])
    expect(out.join('\n')).toContain('NO-GO')
    expect(parseXml(readFileSync(kept, 'utf8')).name).toBe('testsuites')
  })

  it('never changes the exit code, whatever is asked for and whether it can be written', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...(Object.keys(exits) as (keyof typeof exits)[])),
        fc.subarray([...reportFormats]),
        fc.constantFrom('text', 'json', 'ndjson'),
        fc.boolean(),
        fc.boolean(),
        async (name, formats, output, isWritable, isCanonical) => {
          const place = isWritable ? folder : join(folder, 'no-such-folder')
          const asked = formats.flatMap((format) => ['--report', `${format}=${join(place, `p.${format}`)}`])
          const canonical = isCanonical ? ['--report-canonical'] : []
          const { exitCode, notes } = await run(name, '--output', output, ...asked, ...canonical)
          expect(exitCode).toBe(exits[name])
          expect(notes).toHaveLength(isWritable ? 0 : formats.length)
        },
      ),
      { numRuns: 25 },
    )
  })

  it('is the same twice with --report-canonical', async () => {
    const texts: string[][] = []
    for (const turn of ['1', '2']) {
      const path = (format: string): string => join(folder, `canonical-${turn}.${format}`)
      await run('blocker', '--report-canonical', ...reportFormats.flatMap((one) => ['--report', `${one}=${path(one)}`]))
      texts.push(reportFormats.map((format) => readFileSync(path(format), 'utf8')))
    }
    expect(texts[0]).toEqual(texts[1])
  })

  it('refuses a format that it does not know before anything runs', async () => {
    const { exitCode, out } = await run('blocker', '--report', 'xml=a')
    expect(exitCode).not.toBe(0)
    expect(out).toEqual([])
  })

  it('leaves a summary of GitHub that is full as it is', async () => {
    const summary = join(folder, 'summary.md')
    writeFileSync(summary, 'x'.repeat(1_024 * 1_024))
    chmodSync(summary, 0o600)
    const { notes } = await run('blocker', '--report', `github=${summary}`)
    expect(notes).toEqual([expect.stringMatching(/^no github report at .*: the summary is full$/)])
    writeFileSync(summary, 'x'.repeat(1_024 * 1_024 - 400))
    expect((await run('blocker', '--report', `github=${summary}`)).notes).toEqual([])
    expect(statSync(summary).size).toBeLessThanOrEqual(1_024 * 1_024)
    expect(readFileSync(summary, 'utf8')).toMatch(/Cut here: the summary of a step has no room for more\.\n$/)
  })
})

describe('--output ndjson', () => {
  it('has one line for each check in plan order, then the verdict', async () => {
    const { out, exitCode } = await run('blocker', '--output', 'ndjson')
    const lines = out.map((line) => JSON.parse(line))
    const { out: whole } = await run('blocker', '--json')
    const { canonical } = JSON.parse(whole.join('\n'))
    expect(lines.slice(0, -1).map(({ id }) => id)).toEqual(canonical.results.map(({ id }: { id: string }) => id))
    expect(lines.at(-1)).toMatchObject({ type: 'verdict', verdict: 'NO-GO', exit: 20 })
    expect(exitCode).toBe(20)
  })

  it('shows no more while it runs than the report does at its end', async () => {
    const leaky: Check = {
      ...rollUp({
        id: 'x.leaky',
        title: 'Leaks',
        proves: 'nothing',
        runbook: [],
        severity: 'high',
        requires: [],
        phase: 'static',
      }),
      isRollUp: false,
      judge: (_facts, { ctx }) =>
        failed('LEAK', 'JWT_SECRET', `saw ${ctx.resolution.values.jwtSecret?.reveal()}`, 'mend it'),
    }
    const lines: string[] = []
    const report = await runWithIncident(
      { env: { JWT_SECRET: strongSecret, ARQONBUS_DATA_DIR: folder } },
      { argv: [], cwd: folder, env: {}, bundle: 'never', format: formatText },
      {
        catalogue: [leaky],
        progress: {
          write: () => undefined,
          release: (ended) => void lines.push(checkLine(ended.result, ended.observation)),
        },
      },
    )
    expect(lines.join()).toContain('saw «secret:JWT_SECRET')
    expect(lines.join()).not.toContain(strongSecret)
    expect([...lines, verdictLine(report)]).toEqual(ndjsonLines(report))
  })
})
