// Attestations as facts: one that holds in the worlds' instant, and each way in which one does not.
import type { JsonObject } from '../../base/json.ts'
import type { FailingWorld, World } from '../check.ts'

export const attestation: JsonObject = {
  isReadable: true,
  by: 'ci',
  at: '2026-02-19T11:00:00.000Z',
  isSigned: true,
  isReportThere: true,
  notGreen: [],
  differs: [],
  digest: 'sha256:ab',
}

const broken: readonly (readonly [string, string, JsonObject])[] = [
  ['a file that is no attestation', 'UNREADABLE', { isReadable: false }],
  ['a signature of nobody', 'UNSIGNED', { isSigned: false, by: '' }],
  ['a signature of another', 'UNSIGNED', { isSigned: false }],
  ['no report beside it', 'REPORT', { isReportThere: false, notGreen: ['gate.unit'] }],
  ['a report with a gate that failed', 'NOT_GREEN', { notGreen: ['gate.unit'] }],
  ['another commit and lockfile', 'OTHER', { differs: ['commit', 'lock'] }],
  ['more than a day old', 'EXPIRED', { at: '2026-02-18T11:59:59.999Z' }],
  ['more than a minute from the future', 'FUTURE', { at: '2026-02-19T12:01:00.001Z' }],
  ['no time', 'FUTURE', { at: '' }],
]

/** `rest`: the other facts of the check. */
export function attestedFails<F extends { readonly by: string }>(rest: F): FailingWorld<F>[] {
  return [
    ...broken.map(([name, code, changes]) => ({
      name: `attested: ${name}`,
      facts: { ...rest, by: 'attestation', attestation: { ...attestation, ...changes } },
      expect: { code: `ATTESTATION_${code}`, findings: [`--attestation ATTESTATION_${code}`] },
    })),
    {
      name: 'attested: by nothing',
      facts: { ...rest, by: 'attestation' },
      expect: { code: 'ATTESTATION_UNREADABLE', findings: ['--attestation ATTESTATION_UNREADABLE'] },
    },
  ]
}

export const attestedPasses = <F extends { readonly by: string }>(rest: F): World<F>[] =>
  [
    ['an hour ago', '2026-02-19T11:00:00.000Z'],
    ['a day ago', '2026-02-18T12:00:00.000Z'],
    ['by a clock that is a minute ahead', '2026-02-19T12:01:00.000Z'],
  ].map(([name, at]) => ({
    name: `attested ${name}`,
    facts: { ...rest, by: 'attestation', attestation: { ...attestation, at: at! } },
  }))
