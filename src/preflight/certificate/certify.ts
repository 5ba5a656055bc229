// From a report to a certificate: only of a whole GO, of a commit and nothing else, judged for now and not for some other
// time. All that stands against it is told at once.
import type { KeyObject } from 'node:crypto'
import { toIsoTime } from '../../base/clock.ts'
import { isBusError } from '../../base/errors.ts'
import {
  type Certificate,
  type CertificateBody,
  lifeMs,
  parseCertificate,
  signCertificate,
} from '../../certificate/certificate.ts'
import type { Check } from '../check.ts'
import { parseReport } from '../draft-subject.ts'
import { catalogueDigest, requiredPhases } from '../plan.ts'
import type { Canonical, Report } from '../report.ts'
import { exitCodes, verdictOf } from '../verdict.ts'

export type Certified =
  | { readonly certificate: Certificate }
  /** `exit`: 65 for what is no report of a run, 30 for a report that proves too little. */
  | { readonly refused: readonly string[]; readonly exit: number }

/** `text`: what `preflight run --json` printed. `key`: private, Ed25519. `now`: ms since the Unix epoch. */
export function certify(
  text: string,
  key: KeyObject,
  { now, catalogue }: { readonly now: number; readonly catalogue: readonly Check[] },
): Certified {
  let report: Report
  try {
    report = parseReport(text)
  } catch (error) {
    if (!isBusError(error, 'USAGE')) throw error
    return { refused: [error.message], exit: exitCodes.input }
  }
  const { canonical } = report
  const broken = contradictions(canonical)
  if (broken.length > 0) return { refused: broken, exit: exitCodes.input }
  const missing = shortcomings(report, { now, catalogue })
  if (missing.length > 0) return { refused: missing, exit: exitCodes.inconclusive }
  const certificate = signCertificate(bodyOf(report, now), key)
  // What the servers would not understand is not given out.
  const parsed = parseCertificate(Buffer.from(JSON.stringify(certificate)))
  return 'problem' in parsed
    ? { refused: [`the report is not whole: ${parsed.problem}`], exit: exitCodes.input }
    : { certificate }
}

/** The verdict has to follow from the results: a digest tells a changed report, not a made-up one. */
function contradictions(canonical: Canonical): string[] {
  const { results, planned, required, verdict } = canonical
  if (![results, planned, required].every(Array.isArray)) return ['the report is not whole']
  if (canonical.fault !== undefined) return [`the run itself went wrong (${canonical.fault.code})`]
  return verdictOf({ results, planned, required }) === verdict
    ? []
    : [`its verdict is ${verdict}, and its results say ${verdictOf({ results, planned, required })}`]
}

const byHand = ['--only', '--skip', '--phase', '--read-only', '--offline']

function shortcomings(
  { canonical, observations }: Report,
  { now, catalogue }: { readonly now: number; readonly catalogue: readonly Check[] },
): string[] {
  const { verdict, profile, required, planned, results, subject, environment, exceptions = [], judgedFor } = canonical
  const reasons: string[] = []
  const add = (isWrong: boolean, reason: string): void => {
    if (isWrong) reasons.push(reason)
  }
  add(verdict !== 'GO', `its verdict is ${verdict}`)
  add(profile === 'dev', 'it is about development, where no certificate is asked for')
  add(
    requiredPhases(profile).some((phase) => !required.includes(phase)),
    'it did not ask for all phases',
  )
  const isWhole =
    canonical.catalogue === catalogueDigest(catalogue) && catalogue.every(({ id }) => planned.includes(id))
  add(!isWhole, 'it is of another catalogue of checks than this version has')
  const narrowed = results.flatMap((result) =>
    result.status === 'skip' && 'because' in result.reason && byHand.includes(result.reason.because)
      ? [result.reason.because]
      : [],
  )
  add(narrowed.length > 0, `checks were left out (${[...new Set(narrowed)].join(', ')})`)
  add(judgedFor !== undefined, `it was judged for another time (--now ${judgedFor ?? ''})`)
  const startedAt = Date.parse(observations.startedAt)
  add(!(now - startedAt <= lifeMs), `it began at ${observations.startedAt}: older than ${lifeMs / 60_000} minutes`)
  add(startedAt > now + 60_000, `it began at ${observations.startedAt}, which is still to come`)
  add(subject === undefined, 'it does not say which build was judged')
  add(subject?.isDirty === true, 'the build is not a commit and nothing else (runtime.build-provenance did not pass)')
  add(subject !== undefined && subject.commit === undefined, 'the commit is not known')
  add(
    environment?.fingerprint === undefined,
    'it has no fingerprint of the environment: ARQONBUS_DATA_DIR has to name a folder that is there, and its preflight.key is for its owner only',
  )
  for (const { id, expires } of exceptions) add(Date.parse(expires) <= now, `waiver ${id} expired at ${expires}`)
  return reasons
}

/** Only after nothing was missing. */
function bodyOf({ canonical, digest }: Report, now: number): Omit<CertificateBody, 'schema' | 'key'> {
  const { isDirty: _, commit = '', ...build } = canonical.subject!
  const { source, key = '', fingerprint = '', variables = [] } = canonical.environment!
  return {
    verdict: 'GO',
    profile: canonical.profile,
    report: digest,
    commit,
    build,
    environment: { source, key, fingerprint, variables },
    policy: canonical.policy,
    waivers: canonical.exceptions ?? [],
    issued: toIsoTime(now),
    activateBy: toIsoTime(now + lifeMs),
  }
}
