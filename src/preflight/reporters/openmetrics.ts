// The report as OpenMetrics, for a collector that reads text files. The time of completion is a metric, so that an alert
// can tell a preflight that was never run again from one that is still GO.
import type { Report, Result } from '../report.ts'
import { completedAt, statusOf } from './view.ts'

interface Sample {
  readonly labels: readonly (readonly [string, string])[]
  readonly value: number
}

export function formatOpenMetrics(report: Report): string {
  const { canonical } = report
  const completed = completedAt(report)
  return [
    family('arqon_preflight_go', 'Whether the last preflight said GO.', [
      { labels: [['profile', canonical.profile]], value: canonical.verdict === 'GO' ? 1 : 0 },
    ]),
    family(
      'arqon_preflight_check_status',
      'What became of each check of the last preflight.',
      canonical.results.map((result) => ({ labels: labelsOf(result), value: 1 })),
    ),
    family(
      'arqon_preflight_completed_timestamp_seconds',
      'When the last preflight was over.',
      completed === undefined ? [] : [{ labels: [], value: completed / 1_000 }],
    ),
    family(
      'arqon_preflight_certificate_expiry_timestamp_seconds',
      'Until when the certificate that the environment names could be activated.',
      expiryOf(report),
    ),
    family(
      'arqon_preflight_waiver_expiry_timestamp_seconds',
      'When each exception in use ends.',
      expiriesOf(canonical.results),
    ),
    '# EOF\n',
  ]
    .filter((text) => text !== '')
    .join('\n')
}

const labelsOf = (result: Result): Sample['labels'] => [
  ['id', result.id],
  ['severity', result.severity],
  ['class', result.class],
  ['status', statusOf(result)],
]

function expiryOf({ observations }: Partial<Report>): Sample[] {
  const ms = Date.parse(observations?.certificate?.activateBy ?? '')
  return Number.isNaN(ms) ? [] : [{ labels: [], value: ms / 1_000 }]
}

/** Each waiver once. */
function expiriesOf(results: readonly Result[]): Sample[] {
  const ends = new Map<string, number>()
  for (const result of results) if (result.status === 'waived') ends.set(result.waiver, Date.parse(result.expires))
  return [...ends]
    .filter(([, ms]) => !Number.isNaN(ms))
    .map(([waiver, ms]) => ({ labels: [['id', waiver]], value: ms / 1_000 }))
}

function family(name: string, help: string, samples: readonly Sample[]): string {
  if (samples.length === 0) return ''
  return [
    `# TYPE ${name} gauge`,
    ...(name.endsWith('_seconds') ? [`# UNIT ${name} seconds`] : []),
    `# HELP ${name} ${help}`,
    ...samples.map(({ labels, value }) => {
      const text = labels.map(([key, label]) => `${key}="${escaped(label)}"`).join(',')
      return `${name}${text === '' ? '' : `{${text}}`} ${value}`
    }),
  ].join('\n')
}

const escaped = (label: string): string => label.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
