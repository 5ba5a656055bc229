// The report as SARIF 2.1.0. Consumers count every result as a finding, so only what failed, errored or is excused is
// one; what passed or did not run stands in the property bag. An excused one carries an accepted suppression.
import { createHash } from 'node:crypto'
import { toIsoTime } from '../../base/clock.ts'
import type { Report } from '../report.ts'
import { runbookPath } from '../runbook-coverage.ts'
import { exitCodeOf, verdictText } from '../verdict.ts'
import {
  type About,
  completedAt,
  isAdvice,
  type Problem,
  problemText,
  type Row,
  rowsOf,
  troublesOf,
  verdictReasons,
} from './view.ts'

const schema = 'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json'
const document = 'docs/preflight.md'

export function formatSarif(report: Report, about: About): string {
  const { canonical, digest } = report
  const rows = rowsOf(report, about)
  const troubles = troublesOf(rows)
  const rules = [...troubles].sort((a, b) => (a.result.id < b.result.id ? -1 : 1))
  const ruleIndex = new Map(rules.map(({ result }, at) => [result.id, at]))
  const log = {
    $schema: schema,
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'arqonbus preflight',
            version: canonical.version,
            semanticVersion: canonical.version,
            rules: rules.map(ruleOf),
          },
        },
        invocations: [invocationOf(report)],
        columnKind: 'utf16CodeUnits',
        results: troubles.flatMap((row) =>
          row.problems.map((problem, at) => resultOf(row, problem, at, ruleIndex.get(row.result.id)!)),
        ),
        properties: {
          verdict: verdictText(canonical),
          profile: canonical.profile,
          digest,
          plan: canonical.plan,
          rootCauses: canonical.rootCauses,
          passed: idsOf(rows, 'pass'),
          blocked: idsOf(rows, 'blocked'),
          notApplicable: idsOf(rows, 'not-applicable'),
          notRun: idsOf(rows, 'not-run'),
        },
      },
    ],
  }
  return `${JSON.stringify(log, undefined, 2)}\n`
}

const idsOf = (rows: readonly Row[], status: Row['status']): string[] =>
  rows.filter((row) => row.status === status).map(({ result }) => result.id)

/** Where a check is explained. SARIF asks for an absolute address, and this one needs no network. */
export const helpUriOf = (id: string): string => `arqonbus:${document}#${id}`

function ruleOf(row: Row): object {
  const { result, title, problems } = row
  const { id, severity, class: fault, runbook } = result
  const fix = problems.find((problem) => problem.fix !== undefined)?.fix ?? ''
  return {
    id,
    name: id,
    shortDescription: { text: title },
    helpUri: helpUriOf(id),
    help: { text: `${fix === '' ? '' : `${fix}\n\n`}${document}#${id}, or: arqonbus preflight explain ${id}` },
    defaultConfiguration: { level: levelOf(row) },
    properties: { severity, class: fault, runbook, tags: ['preflight', severity, fault] },
  }
}

const levelOf = (row: Row): 'error' | 'note' => (isAdvice(row) ? 'note' : 'error')

function resultOf(row: Row, problem: Problem, at: number, ruleIndex: number): object {
  const { result, status } = row
  const { id } = result
  const fix = problem.fix === undefined ? '' : `\nFix: ${problem.fix}`
  return {
    ruleId: id,
    ruleIndex,
    kind: 'fail',
    level: levelOf(row),
    message: { text: `${problemText(problem)}${fix}` },
    locations: [locationOf(row, problem)],
    // The same for the same problem of the same thing, whatever the text says; `at` keeps two of a kind apart.
    partialFingerprints: {
      'preflightCheck/v1': digestOf([id, problem.code, problem.variable ?? '', sameBefore(row.problems, at)]),
    },
    ...(result.status === 'waived' && {
      suppressions: [
        {
          kind: 'external',
          status: 'accepted',
          justification: `${result.waiver}, until ${result.expires}`,
          properties: { waiver: result.waiver, expires: result.expires },
        },
      ],
    }),
    properties: {
      status,
      code: problem.code,
      severity: result.severity,
      class: result.class,
      phase: result.phase,
      blocks: result.blocks,
    },
  }
}

/** How many of the problems before this one are of the same code and variable. */
function sameBefore(problems: readonly Problem[], at: number): number {
  const { code, variable } = problems[at]!
  return problems.slice(0, at).filter((other) => other.code === code && other.variable === variable).length
}

const digestOf = (parts: readonly (string | number)[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32)

/** The line of the runbook that asks for it, which is what a reviewer has in the repository; else its documentation. */
function locationOf({ result: { id, runbook } }: Row, { variable }: Problem): object {
  const line = Number(runbook[0]?.slice(1))
  return {
    physicalLocation: {
      artifactLocation: { uri: Number.isInteger(line) ? runbookPath : document, uriBaseId: '%SRCROOT%' },
      region: { startLine: Number.isInteger(line) ? line : 1 },
    },
    logicalLocations: [{ fullyQualifiedName: variable ?? id, kind: variable === undefined ? 'check' : 'variable' }],
  }
}

function invocationOf(report: Report): object {
  const { canonical, observations } = report
  const completed = completedAt(report)
  return {
    executionSuccessful: canonical.fault === undefined,
    exitCode: exitCodeOf(canonical),
    exitCodeDescription: verdictText(canonical),
    ...(completed !== undefined && {
      startTimeUtc: observations.startedAt,
      endTimeUtc: toIsoTime(completed),
    }),
    // What was not proved is no finding of a check; it must not be lost all the same.
    ...(canonical.verdict === 'INCONCLUSIVE' && {
      toolExecutionNotifications: verdictReasons(report).map((text) => ({
        level: 'error',
        message: { text: `INCONCLUSIVE: ${text}` },
      })),
    }),
  }
}
