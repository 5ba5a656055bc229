// After the verdict: what the run was made in, what it differs in from the last green one, its place in the history, and a
// recording where one was asked for. Nothing of it changes the verdict; what cannot be done is a note.
import type { KeyObject } from 'node:crypto'
import { createCatalogue } from '../catalogue.ts'
import { certificateDigest, isSignedBy } from '../../certificate/certificate.ts'
import { findCertificate } from '../../certificate/start.ts'
import type { CheckPorts } from '../check.ts'
import { whyOf } from '../incident/collection.ts'
import type { InstallationKey } from '../../certificate/installation-key.ts'
import type { Redactor } from '../incident/redact.ts'
import type { Report } from '../report.ts'
import type { PreflightInputs } from '../inputs.ts'
import { keepRun, readHistory } from './history.ts'
import { writeRecord } from './keep-record.ts'
import { type Recorder, recordOf } from './record.ts'
import { runInputs } from './run-inputs.ts'
import { sinceGreen } from './since-green.ts'

export interface Rememberer {
  readonly inputs: PreflightInputs
  readonly ports: CheckPorts
  readonly redactor: Redactor
  readonly keyOf: () => InstallationKey
  readonly runId: string
  readonly recorder: Recorder | undefined
  /** Path of the recording. */
  readonly record?: string
  /** What it is compared with, in place of the last green run. */
  readonly baseline?: Report
  /** What it is signed with: private, Ed25519. */
  readonly signWith?: KeyObject
}

export interface Remembered {
  readonly report: Report
  readonly notes: readonly string[]
}

/** `plain`: redacted already. Never rejects. */
export async function remember(plain: Report, run: Rememberer): Promise<Remembered> {
  const notes: string[] = []
  const { canonical } = plain
  if (canonical.fault !== undefined) {
    return { report: plain, notes: run.record === undefined ? [] : ['no recording: the run came to no plan'] }
  }
  const report = await kept(withCertificate(withInputs(plain, run), run), run, notes)
  if (run.record !== undefined) await recorded(run.record, report, run, notes)
  return { report, notes }
}

/** The data folder that was configured: without one, nothing is kept, and no key of an installation is made. */
const dataDirOf = ({ inputs, ports }: Rememberer): string | undefined =>
  (inputs.env['ARQONBUS_DATA_DIR'] ?? '') === '' ? undefined : ports.ctx.resolution.values.dataDir

function withInputs(report: Report, run: Rememberer): Report {
  const isOf =
    dataDirOf(run) !== undefined ||
    run.record !== undefined ||
    report.canonical.verdict === 'NO-GO' ||
    run.baseline !== undefined
  if (!isOf) return report
  const inputs = runInputs(run.ports.ctx.resolution, run.redactor, run.keyOf())
  return { ...report, observations: { ...report.observations, inputs } }
}

/** For reporters: whose next start rests on it has to know until when it counts. */
function withCertificate(report: Report, { ports }: Rememberer): Report {
  const { preflightCertificate, preflightPublicKey } = ports.ctx.resolution.values
  const found = findCertificate(preflightCertificate)
  if (!('certificate' in found) || !isSignedBy(found.certificate, preflightPublicKey ?? '')) return report
  const { certificate } = found
  const shown = { digest: certificateDigest(certificate), activateBy: certificate.activateBy }
  return { ...report, observations: { ...report.observations, certificate: shown } }
}

async function kept(report: Report, run: Rememberer, notes: string[]): Promise<Report> {
  const dataDir = dataDirOf(run)
  if (dataDir === undefined && run.baseline === undefined) return report
  try {
    const runs = dataDir === undefined ? [] : readHistory(dataDir)
    if (dataDir !== undefined) await keepRun(dataDir, report, run.runId)
    const since = sinceGreen(runs, report, run.recorder?.catalogue ?? createCatalogue(), run.baseline)
    return since === undefined ? report : { ...report, observations: { ...report.observations, since } }
  } catch (error) {
    notes.push(`the run is not in the history: ${whyOf(error)}`)
    return report
  }
}

async function recorded(path: string, report: Report, run: Rememberer, notes: string[]): Promise<void> {
  try {
    const record = run.recorder && recordOf(run.recorder, report, run, run.signWith)
    if (record !== undefined) await writeRecord(path, record, run.redactor)
  } catch (error) {
    notes.push(`no recording: ${whyOf(error)}`)
  }
}
