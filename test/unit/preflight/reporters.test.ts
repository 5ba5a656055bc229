// The reporters: whatever a report holds, each format can be read by a strict reader, gives every status back, and is
// never greener than the verdict.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Report } from '../../../src/preflight/report.ts'
import { formatGithub } from '../../../src/preflight/reporters/github.ts'
import { formatHtml } from '../../../src/preflight/reporters/html.ts'
import { formatJunit } from '../../../src/preflight/reporters/junit.ts'
import { formatMarkdown } from '../../../src/preflight/reporters/markdown.ts'
import { formatNdjson } from '../../../src/preflight/reporters/ndjson.ts'
import { formatOpenMetrics } from '../../../src/preflight/reporters/openmetrics.ts'
import { reportFormats, parseReportRequest } from '../../../src/preflight/reporters/report-request.ts'
import { reporters } from '../../../src/preflight/reporters/reporters.ts'
import { formatSarif } from '../../../src/preflight/reporters/sarif.ts'
import { formatTap } from '../../../src/preflight/reporters/tap.ts'
import { canonicalOnly, statusOf } from '../../../src/preflight/reporters/view.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { parseOpenMetrics, parseTap, parseWorkflowCommands, parseXml } from '../../support/report-parsers.ts'
import { aboutSample, hostile, sampleOutcomes, sampleReport, sampleReports } from '../../support/sample-report.ts'

const statusesOf = ({ canonical }: Report): Record<string, string> =>
  Object.fromEntries(canonical.results.map((result) => [result.id, statusOf(result)]))

const everything = sampleReport(
  sampleOutcomes.map((outcome, at) => ({ id: `x.check-${at}`, outcome, found: hostile, runbook: ['L22'] })),
)
const about = aboutSample(everything)
const wrongCall = await runPreflight({ env: {}, skip: ['no.such-check'] })
const passed = sampleReport([{ id: 'x.good', outcome: { status: 'pass' } }])

describe('JUnit', () => {
  const casesOf = (report: Report) =>
    parseXml(formatJunit(report, aboutSample(report))).children.flatMap(({ children }) => children)
  const kindOf = (one: ReturnType<typeof casesOf>[number]) =>
    one.children.find(({ name }) => name !== 'properties')?.name ?? 'passed'

  it('gives every status back, in a case of the kind that stands for it, and counts them', () => {
    fc.assert(
      fc.property(sampleReports, (report) => {
        const cases = casesOf(report).slice(0, -1)
        const read = cases.map((one) => {
          const properties = one.children.find(({ name }) => name === 'properties')!.children
          return [
            one.attributes['name'],
            properties.find(({ attributes }) => attributes['name'] === 'status')!.attributes['value'],
          ]
        })
        expect(Object.fromEntries(read)).toEqual(statusesOf(report))
        const severities = new Map(report.canonical.results.map(({ id, severity }) => [id, severity]))
        for (const [at, one] of cases.entries()) {
          const [id, status] = read[at]!
          const isAdvice = severities.get(id!) === 'advisory'
          const expected = { pass: 'passed', fail: 'failure', error: 'error' }[status!] ?? 'skipped'
          expect(kindOf(one)).toBe(isAdvice && expected !== 'passed' ? 'skipped' : expected)
        }
        const root = parseXml(formatJunit(report, aboutSample(report)))
        for (const suite of [root, ...root.children]) {
          const own = suite === root ? casesOf(report) : suite.children
          const counts = ['failure', 'error', 'skipped'].map((kind) => own.filter((one) => kindOf(one) === kind).length)
          const { tests, failures, errors, skipped } = suite.attributes
          expect([tests, failures, errors, skipped]).toEqual([own.length, ...counts].map(String))
        }
      }),
      { numRuns: 200 },
    )
  })

  it('is green exactly where the verdict is GO', () => {
    fc.assert(
      fc.property(sampleReports, (report) => {
        const { failures, errors } = parseXml(formatJunit(report, aboutSample(report))).attributes
        expect(failures === '0' && errors === '0').toBe(report.canonical.verdict === 'GO')
      }),
      { numRuns: 300 },
    )
    expect(parseXml(formatJunit(wrongCall, about)).attributes).toMatchObject({ tests: '1', errors: '1' })
    expect(parseXml(formatJunit(passed, about)).attributes).toMatchObject({ tests: '2', failures: '0', errors: '0' })
  })

  it('tells what waives a check, and keeps the text of others to the letter', () => {
    const [, failed, , waived] = casesOf(everything)
    expect(waived!.children[1]!.attributes['message']).toContain('waived by EX-1 until 2026-03-01T00:00:00Z')
    expect(failed!.children[1]!.attributes['message']).toContain('::error::x %0A `e` ``` # | * _\n::set-env')
    expect(failed!.children[1]!.attributes['type']).toBe('NOT_SET')
  })

  it('has the times of the run, and none in a canonical report', () => {
    expect(formatJunit(everything, about)).toContain('time="0.012"')
    const times = Array.from(formatJunit(canonicalOnly(everything), about).matchAll(/time(?:stamp)?="[^"]*"/g), String)
    expect(new Set(times)).toEqual(new Set(['time="0"']))
  })
})

describe('TAP', () => {
  it('gives every status back; what is waived is `not ok` with TODO, what did not run is SKIP', () => {
    fc.assert(
      fc.property(sampleReports, (report) => {
        const points = parseTap(formatTap(report, aboutSample(report))).points.slice(0, -1)
        expect(Object.fromEntries(points.map(({ name, facts }) => [name, facts['status']]))).toEqual(statusesOf(report))
        for (const { ok, directive, facts } of points) {
          const isAdvice = facts['severity'] === 'advisory'
          const expected = {
            pass: [true, undefined],
            fail: [false, isAdvice ? 'TODO' : undefined],
            error: [false, isAdvice ? 'TODO' : undefined],
            waived: [false, 'TODO'],
          }[facts['status'] as string] ?? [true, 'SKIP']
          expect([ok, directive]).toEqual(expected)
        }
      }),
      { numRuns: 200 },
    )
  })

  it('succeeds exactly where the verdict is GO, and bails out where nothing could be judged', () => {
    fc.assert(
      fc.property(sampleReports, (report) => {
        const { points } = parseTap(formatTap(report, aboutSample(report)))
        expect(points.every(({ ok, directive }) => ok || directive === 'TODO')).toBe(report.canonical.verdict === 'GO')
      }),
      { numRuns: 300 },
    )
    expect(parseTap(formatTap(wrongCall, about)).bailOut).toContain('no check is called no.such-check')
  })
})

describe('OpenMetrics', () => {
  it('gives every status back, with the verdict, the time of completion and the end of each waiver', () => {
    fc.assert(
      fc.property(sampleReports, (report) => {
        const samples = parseOpenMetrics(formatOpenMetrics(report))
        const of = (name: string) => samples.filter((sample) => sample.name === name)
        expect(of('arqon_preflight_go')).toEqual([
          { name: 'arqon_preflight_go', labels: { profile: 'prod' }, value: report.canonical.verdict === 'GO' ? 1 : 0 },
        ])
        const read = of('arqon_preflight_check_status').map(({ labels }) => [labels['id'], labels['status']])
        expect(Object.fromEntries(read)).toEqual(statusesOf(report))
        expect(of('arqon_preflight_completed_timestamp_seconds')[0]!.value).toBe(
          Date.UTC(2026, 1, 19, 12, 0, 1, 500) / 1_000,
        )
      }),
      { numRuns: 200 },
    )
    const ends = parseOpenMetrics(formatOpenMetrics(everything)).filter(({ name }) => name.includes('waiver'))
    expect(ends.map(({ labels, value }) => [labels['id'], value])).toEqual([
      ['EX-1', Date.UTC(2026, 2, 1) / 1_000],
      ['EX-2', Date.UTC(2026, 2, 1) / 1_000],
    ])
  })

  it('gives the end of the certificate that the environment names, and none where there is none', () => {
    const expiry = (report: Report) =>
      parseOpenMetrics(formatOpenMetrics(report)).filter(({ name }) => name.includes('certificate'))
    const certificate = { digest: 'sha256:0', activateBy: '2026-02-19T13:00:00.500Z' }
    expect(expiry({ ...passed, observations: { ...passed.observations, certificate } })).toEqual([
      {
        name: 'arqon_preflight_certificate_expiry_timestamp_seconds',
        labels: {},
        value: Date.UTC(2026, 1, 19, 13, 0, 0, 500) / 1_000,
      },
    ])
    expect(expiry(passed)).toEqual([])
  })
})

describe('SARIF', () => {
  interface SarifResult {
    ruleId: string
    ruleIndex: number
    kind: string
    level: string
    message: { text: string }
    partialFingerprints: Record<string, string>
    suppressions?: { kind: string; status: string; justification: string }[]
    properties: { status: string }
    locations: { physicalLocation: { artifactLocation: { uri: string }; region: { startLine: number } } }[]
  }
  const runOf = (report: Report) => {
    const log = JSON.parse(formatSarif(report, aboutSample(report)))
    expect(log).toMatchObject({ version: '2.1.0', runs: [{ tool: { driver: { name: 'arqonbus preflight' } } }] })
    return log.runs[0] as {
      tool: { driver: { rules: { id: string; helpUri: string }[] } }
      results: SarifResult[]
      invocations: { executionSuccessful: boolean; exitCode: number; toolExecutionNotifications?: object[] }[]
      properties: Record<'passed' | 'blocked' | 'notApplicable' | 'notRun', string[]>
    }
  }

  it('gives every status back, and has no result but what failed, errored or is waived', () => {
    fc.assert(
      fc.property(sampleReports, (report) => {
        const { results, properties, tool } = runOf(report)
        const bag = { passed: 'pass', blocked: 'blocked', notApplicable: 'not-applicable', notRun: 'not-run' } as const
        const read = new Map<string, string>()
        for (const [name, status] of Object.entries(bag))
          for (const id of properties[name as keyof typeof bag]) read.set(id, status)
        for (const { ruleId, properties: own } of results) {
          expect(['fail', 'error', 'waived']).toContain(own.status)
          read.set(ruleId, own.status)
        }
        expect(Object.fromEntries(read)).toEqual(statusesOf(report))
        for (const { ruleId, ruleIndex, kind, suppressions, properties: own, message } of results) {
          expect(tool.driver.rules[ruleIndex]!.id).toBe(ruleId)
          expect(kind).toBe('fail')
          expect(message.text).not.toBe('')
          expect(suppressions?.map(({ status }) => status)).toEqual(own.status === 'waived' ? ['accepted'] : undefined)
        }
        const prints = results.map(({ partialFingerprints }) => partialFingerprints['preflightCheck/v1'])
        expect(new Set(prints).size).toBe(results.length)
      }),
      { numRuns: 200 },
    )
  })

  it('keeps the fingerprint of a finding whatever was found', () => {
    const printsOf = (found: string): unknown[] =>
      runOf(sampleReport([{ id: 'x.one', outcome: sampleOutcomes[1]!, found }])).results.map(
        (one) => one.partialFingerprints,
      )
    expect(printsOf('one thing')).toEqual(printsOf('another'))
    expect(printsOf('one thing')).toHaveLength(2)
  })

  it('names documentation and the line of the runbook, levels by what gates, and the way it ended', () => {
    const { tool, results, invocations } = runOf(everything)
    expect(tool.driver.rules[0]).toMatchObject({ id: 'x.check-1', helpUri: 'arqonbus:docs/preflight.md#x.check-1' })
    for (const { helpUri } of tool.driver.rules) expect(URL.canParse(helpUri)).toBe(true) // absolute, as SARIF asks
    expect(results[0]!.locations[0]!.physicalLocation).toMatchObject({
      artifactLocation: { uri: 'docs/ArqonBus/runbooks/production_preflight_runbook.md' },
      region: { startLine: 22 },
    })
    const advice = runOf(sampleReport([{ id: 'x.tip', severity: 'advisory', outcome: sampleOutcomes[2]! }]))
    expect(advice.results.map(({ level }) => level)).toEqual(['note'])
    expect(results.map(({ level }) => level)).toContain('error')
    expect(invocations[0]).toMatchObject({ executionSuccessful: true, exitCode: 22 })
    expect(runOf(wrongCall).invocations[0]).toMatchObject({ executionSuccessful: false, exitCode: 64 })
    expect(runOf(wrongCall).invocations[0]!.toolExecutionNotifications).toHaveLength(1)
  })
})

describe('GitHub annotations', () => {
  const many = sampleReport(
    Array.from({ length: 60 }, (_, at) => ({
      id: `x.check-${at}`,
      outcome: sampleOutcomes[at % 4]!,
      severity: (['advisory', 'high', 'blocker', 'critical'] as const)[(at >> 2) % 4]!,
      found: hostile,
    })),
  )

  it('begin with the verdict, have at most ten of a kind, the worst first, and say how many are left out', () => {
    const all = parseWorkflowCommands(formatGithub(many, aboutSample(many)))
    expect(all[0]).toMatchObject({ kind: 'error', title: 'Preflight NO-GO' })
    for (const kind of ['error', 'warning', 'notice']) {
      expect(all.filter((one) => one.kind === kind).length).toBeLessThanOrEqual(10)
    }
    const order = ['blocker', 'critical', 'high', 'advisory']
    const severities = all
      .slice(1)
      .flatMap(({ kind, title }) => (kind === 'error' ? [order.indexOf(title.split(' ')[1]!)] : []))
    expect(severities).toEqual([...severities].sort((a, b) => a - b))
    expect(severities).toHaveLength(9)
    const troubles = many.canonical.results.filter(({ status }) => status !== 'pass' && status !== 'skip').length
    expect(all[0]!.message).toContain(`${troubles - (all.length - 1)} more are not shown`)
  })

  it('are one line each whatever was found, and say it to the letter', () => {
    const all = parseWorkflowCommands(formatGithub(everything, about))
    const failed = all.find(({ title }) => title === 'fail high x.check-1')!
    expect(failed.message).toContain(`NATS_URL: NOT_SET, ${hostile}`)
    expect(failed.message).toContain('\nfix: set NATS_URL')
  })

  it('are errors only for what gates, and never green where the verdict is not', () => {
    fc.assert(
      fc.property(sampleReports, (report) => {
        const all = parseWorkflowCommands(formatGithub(report, aboutSample(report)))
        expect(all.some(({ kind }) => kind === 'error')).toBe(report.canonical.verdict !== 'GO')
      }),
      { numRuns: 200 },
    )
  })
})

describe('NDJSON', () => {
  it('has a line for each check, then the verdict with its exit code', () => {
    fc.assert(
      fc.property(sampleReports, (report) => {
        const text = formatNdjson(report)
        expect(text.endsWith('\n')).toBe(true)
        const lines = text
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line))
        const last = lines.pop()
        expect(lines.map(({ type }) => type)).toEqual(lines.map(() => 'check'))
        expect(lines.map(({ id, outcome }) => [id, outcome])).toEqual(Object.entries(statusesOf(report)))
        expect(last).toMatchObject({ type: 'verdict', verdict: report.canonical.verdict, digest: report.digest })
      }),
      { numRuns: 100 },
    )
  })
})

describe('Markdown', () => {
  it('lets no text of others become a tag, a link, a heading or a table', () => {
    const text = formatMarkdown(everything, about)
    const outside = text.replaceAll(/(`+)(?!`).*?[^`]\1(?!`)/g, '')
    expect(outside).not.toContain('alert(1)')
    expect(outside.replaceAll(/\\./g, '')).not.toMatch(/[<>]/)
    expect(
      text
        .split('\n')
        .filter((line) => line.startsWith('#'))
        .map((line) => line.split(' ')[0]),
    ).toEqual(['#', '##', '###', '###', '##', '###', '###', '##'])
  })

  it('says the verdict with its exceptions, what failed with its fix, and what was not run', () => {
    const text = formatMarkdown(everything, about)
    expect(text).toMatch(/^# Preflight: NO-GO\n/)
    expect(text).toContain('- fix: set NATS\\_URL')
    expect(text).toContain('waived by EX-1 until 2026-03-01T00:00:00Z')
    expect(text).toContain('- 1: not selected: --skip \\# me')
    expect(text).toContain('| static | 1 | 1 | 1 | 2 | 1 | 1 | 2 |')
  })
})

describe('the page', () => {
  const page = formatHtml(everything, about)

  it('needs nothing from elsewhere and lets nothing else run', () => {
    expect(page).not.toMatch(/<(?:link|img|iframe|object|embed|base|form)\b|@import|url\(|\bsrc=|\son\w+=|\sstyle=/)
    expect(page.match(/https?:\/\/[\w.-]+/g)).toEqual(['http://www.w3.org']) // the name of SVG
    const policy = /Content-Security-Policy" content="([^"]+)"/.exec(page)![1]!
    expect(policy).toMatch(
      /^default-src 'none'; style-src 'sha256-\S+'; script-src 'sha256-\S+'; base-uri 'none'; form-action 'none'$/,
    )
    expect(page.match(/<script>/g)).toHaveLength(1)
  })

  it('has a card with fix and copy button for each failure, and the exceptions by the days that are left', () => {
    expect(page.match(/<article class="card/g)).toHaveLength(2)
    expect(page).toContain('data-copy="set it &lt;really&gt; &amp; &quot;now&quot;"')
    expect(page).toContain('id="waivers"')
    const board = formatHtml(
      sampleReport(
        ['2026-05-01T00:00:00Z', '2026-03-01T00:00:00Z', '2026-04-01T00:00:00Z'].map((expires, at) => ({
          id: `x.check-${at}`,
          outcome: { status: 'waived', underlying: 'fail', waiver: `EX-${at}`, expires, findings: [] } as const,
        })),
      ),
      new Map(),
    )
    expect(Array.from(board.matchAll(/<td>(EX-\d)<\/td>/g), ([, id]) => id)).toEqual(['EX-1', 'EX-2', 'EX-0'])
  })

  it('draws what requires what, once, and lights the way from a root cause to what waits on it', () => {
    const chain = sampleReport([
      { id: 'dep.a.first', outcome: sampleOutcomes[1]! },
      { id: 'dep.a.second', outcome: { status: 'skip', reason: { kind: 'blocked-by', id: 'dep.a.first' } } },
      { id: 'dep.a.third', outcome: { status: 'skip', reason: { kind: 'blocked-by', id: 'dep.a.first' } } },
      { id: 'dep.b.other', outcome: { status: 'pass' } },
      { id: 'dep.b.last', outcome: { status: 'pass' } },
    ])
    const requires: Record<string, string[]> = {
      'dep.a.second': ['dep.a.first'],
      'dep.a.third': ['dep.a.second', 'dep.a.first'], // the second edge follows from others
      'dep.b.last': ['dep.b.other'],
    }
    const svg = formatHtml(
      chain,
      new Map(chain.canonical.planned.map((id) => [id, { title: id, fix: 'f', requires: requires[id] ?? [] }])),
    )
    expect(svg.match(/class="edge lit"/g)).toHaveLength(2)
    expect(svg.match(/class="edge"/g)).toHaveLength(1)
    expect(svg.match(/class="node fail root"/g)).toHaveLength(1)
    expect(svg.match(/class="node blocked"/g)).toHaveLength(2)
  })
})

describe('every format', () => {
  it('is a pure function of the report, and of its canonical part alone where that is asked for', () => {
    const again = sampleReport(
      sampleOutcomes.map((outcome, at) => ({ id: `x.check-${at}`, outcome, found: 'other', runbook: ['L22'], ms: 7 })),
      { startedAt: '2027-01-01T00:00:00.000Z', ms: 9 },
    )
    expect(again.digest).toBe(everything.digest)
    for (const format of reportFormats) {
      const make = reporters[format]
      expect(make(everything, about), format).toBe(make(structuredClone(everything), about))
      expect(make(canonicalOnly(again), about), format).toBe(make(canonicalOnly(everything), about))
      expect(make(again, about), format).not.toBe(make(everything, about))
      expect(make(canonicalOnly(everything), about), format).not.toContain('alert(1)')
    }
  })

  it('can tell of a run that could not be done', () => {
    for (const format of reportFormats) {
      const text = reporters[format](wrongCall, about)
      expect(text.length, format).toBeGreaterThan(20)
      if (format !== 'tap') expect(text, format).toMatch(/INCONCLUSIVE|arqon_preflight_go\{profile="dev"\} 0/)
    }
  })
})

describe('--report', () => {
  it('takes FORMAT=PATH, and a path with = in it', () => {
    expect(parseReportRequest('junit=a=b.xml')).toEqual({ format: 'junit', path: 'a=b.xml' })
    expect(parseReportRequest('github')).toEqual({ format: 'github' })
    for (const text of ['', 'junit', 'junit=', 'sarif=-', 'xml=a', 'JUNIT=a', '=a', 'toString=a']) {
      expect(() => parseReportRequest(text), text).toThrow(/FORMAT=PATH|needs the path/)
    }
  })
})
