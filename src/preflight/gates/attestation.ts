// A signed result of the gates, taken in place of a run: of the same commit, lockfile, Node and suites, a day old at
// most, with the report that it speaks of beside it. The hash alone proves nothing: the report is read again.
import { readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { createPublicKey, type KeyObject } from 'node:crypto'
import { digestOf } from '../../base/canonical-json.ts'
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import type { PreflightPolicy } from '../../waivers/preflight-policy.ts'
import { isSignedJson, keyTextOf, signJson } from '../../waivers/sign.ts'
import { listIn, objectIn, textIn } from '../json-fields.ts'
import { readJson, sha256 } from '../runtime/host.ts'
import { gateIds } from './gate-ids.ts'

export const attestationSchema = 'arqonbus/preflight-attestation/1'
/** What was, or would be, run. Equal subjects: the gates would say the same. */
export interface GateSubject {
  /** Empty where it is not known, or the tree holds something else. */
  readonly commit: string
  /** SHA-256 of the lockfile. */
  readonly lock: string
  readonly node: string
  /** SHA-256 of preflight.gates.json. */
  readonly suites: string
}
const subjectNames = ['commit', 'lock', 'node', 'suites'] as const

/** What a check sees of one: facts, judged by `attestationFaults`. */
export interface AttestationFacts extends JsonObject {
  readonly isReadable: boolean
  readonly by: string
  readonly at: string
  readonly isSigned: boolean
  /** The file beside it has the hash. */
  readonly isReportThere: boolean
  /** Ids of gates that the report does not show as passed by a run. */
  readonly notGreen: string[]
  /** Names of what is not the same here. */
  readonly differs: string[]
  readonly digest: string
}

const unreadable: AttestationFacts = {
  isReadable: false,
  by: '',
  at: '',
  isSigned: false,
  isReportThere: false,
  notGreen: [],
  differs: [],
  digest: '',
}

/** Reads it and what belongs to it. Never throws. */
export function readAttestation(path: string, policy: PreflightPolicy, subject: GateSubject): AttestationFacts {
  const value = readJson(path)
  if (value === undefined || value['schema'] !== attestationSchema) return unreadable
  const { sig, ...signed } = value
  const by = textIn(value, 'by')
  const keyText = Object.hasOwn(policy.attesters, by) ? policy.attesters[by] : undefined
  const report = objectIn(value, 'report')
  const bytes = readBeside(path, textIn(report, 'file'))
  const isReportThere = bytes !== undefined && sha256(bytes) === textIn(report, 'sha256')
  const attested = objectIn(value, 'subject')
  const proven = isReportThere ? greenGates(bytes) : { notGreen: [...gateIds], subject: {} }
  return {
    isReadable: true,
    by,
    at: textIn(value, 'at'),
    isSigned: isSignedJson({ ...signed, schema: attestationSchema }, sig, keyText),
    isReportThere,
    notGreen: proven.notGreen,
    differs: subjectNames.filter(
      (name) => subject[name] === '' || attested[name] !== subject[name] || proven.subject[name] !== subject[name],
    ),
    digest: digestOf(value),
  }
}

/** A file of the same folder; a path that leads elsewhere is no such file. */
function readBeside(path: string, name: string): Buffer | undefined {
  if (name === '' || basename(name) !== name) return undefined
  try {
    return readFileSync(join(dirname(path), name))
  } catch {
    return undefined
  }
}

/** The gates that did not pass by a run of their own, and of what that run was. */
function greenGates(bytes: Uint8Array): { notGreen: string[]; subject: JsonObject } {
  let report: unknown
  try {
    report = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    report = undefined
  }
  const canonical = isJsonObject(report) ? objectIn(report, 'canonical') : {}
  if (!isJsonObject(report) || report['digest'] !== digestOf(canonical)) return { notGreen: [...gateIds], subject: {} }
  const results = new Map(
    listIn(canonical, 'results')
      .filter(isJsonObject)
      .map((result) => [textIn(result, 'id'), result]),
  )
  const isGreen = (id: string): boolean => {
    const result = results.get(id) ?? {}
    return result['status'] === 'pass' && objectIn(result, 'facts')['by'] === 'run'
  }
  return {
    notGreen: gateIds.filter((id) => !isGreen(id)),
    subject: objectIn(objectIn(results.get('gate.isolated') ?? {}, 'facts'), 'subject'),
  }
}

/** Throws a TypeError with the reason for a report that shows no green run of every gate, of a known commit. */
export function attest(
  report: { readonly bytes: Uint8Array; readonly file: string },
  { by, at, key }: { readonly by: string; readonly at: string; readonly key: KeyObject },
): JsonObject {
  const { notGreen, subject } = greenGates(report.bytes)
  if (notGreen.length > 0) throw new TypeError(`not passed by a run: ${notGreen.join(', ')}`)
  const missing = subjectNames.filter((name) => textIn(subject, name) === '')
  if (missing.length > 0) throw new TypeError(`the report does not know its ${missing.join(', ')}`)
  const signed = {
    schema: attestationSchema,
    by,
    at,
    subject: Object.fromEntries(subjectNames.map((name) => [name, textIn(subject, name)])),
    report: { file: report.file, sha256: sha256(report.bytes) },
    key: keyTextOf(createPublicKey(key)),
  }
  return { ...signed, sig: signJson(signed, key) }
}
