// What a run was judged from, so that it can be judged again elsewhere: answers of probes, results of judges, what applied,
// and the public part of the environment. A secret is in it as the answer that a rule gave about it, never as a value.
import type { KeyObject } from 'node:crypto'
import { BusError } from '../../base/errors.ts'
import { isJsonObject } from '../../base/json.ts'
import { version } from '../../base/version.ts'
import { allKeys } from '../../config/keys.ts'
import { type Problem, showName, type Source } from '../../config/resolution.ts'
import type { PreflightPolicy } from '../../waivers/preflight-policy.ts'
import type { WaiverFile } from '../../waivers/waiver.ts'
import { describeFault } from '../build-report.ts'
import type { Answer, Applicability, Check, CheckHead, CheckPorts, CheckResult } from '../check.ts'
import { isSecretName } from '../incident/known-secrets.ts'
import type { Redactor } from '../incident/redact.ts'
import type { Selection } from '../plan.ts'
import type { Canonical, Report } from '../report.ts'
import type { PreflightInputs } from '../inputs.ts'
import { waiversOf } from '../ports.ts'
import { targetTexts } from '../targets.ts'
import { isSignatureWhole, type DigestSignature, signDigest } from './signature.ts'

export const recordSchema = 'arqonbus/preflight-record/1.0'

export type Applies = ReturnType<Applicability['test']>

/** One check, as it was then. */
export interface RecordedCheck {
  readonly head: Omit<CheckHead, 'appliesWhen' | 'retryOn'> & { readonly appliesWhen: string }
  /** Absent: it was left out before anybody asked. */
  readonly applies?: Applies
  /** What the probe came back with. */
  readonly answer?: Answer
  /** What the judge made of it, before exceptions; absent where no judge was asked. */
  readonly judged?: CheckResult
}

/** A variable: its text when that is public, else only that it was there. */
export type RecordedVariable = { readonly source: Source } & ({ readonly value: string } | { readonly hidden: true })

export interface RunRecord {
  readonly schema: typeof recordSchema
  /** Of the report that the run ended with. */
  readonly digest: string
  readonly canonical: Canonical
  readonly version: string
  readonly node: string
  readonly asked: string | null
  /** The instant judged for, ms since the Unix epoch. */
  readonly now: number
  readonly policy: PreflightPolicy
  readonly waivers: WaiverFile
  readonly selection: Selection & { readonly keepGoing?: boolean; readonly failFast?: boolean }
  readonly targets: Readonly<Record<string, string>>
  readonly variables: Readonly<Record<string, RecordedVariable>>
  readonly sources: Readonly<Record<string, Source>>
  readonly problems: readonly Problem[]
  readonly warnings: readonly Problem[]
  readonly localAddresses: readonly string[]
  readonly checks: readonly RecordedCheck[]
  /** Absent: nobody signed it. */
  readonly signature?: DigestSignature
}

export interface Recorder {
  /** The same checks; what they say is listened to. */
  readonly catalogue: readonly Check[]
  readonly applies: ReadonlyMap<string, Applies>
  readonly judged: ReadonlyMap<string, CheckResult>
}

export function createRecorder(catalogue: readonly Check[]): Recorder {
  const applies = new Map<string, Applies>()
  const judged = new Map<string, CheckResult>()
  const listening = catalogue.map(
    (check): Check => ({
      ...check,
      appliesWhen: {
        name: check.appliesWhen.name,
        test(ports) {
          const answer = check.appliesWhen.test(ports)
          applies.set(check.id, answer)
          return answer
        },
      },
      judge(facts, ports) {
        try {
          const result = check.judge(facts, ports)
          judged.set(check.id, result)
          return result
        } catch (error) {
          judged.set(check.id, { status: 'error', code: 'THREW', observed: describeFault(error), class: 'unknown' })
          throw error
        }
      },
    }),
  )
  return { catalogue: listening, applies, judged }
}

const publicNames = new Set(allKeys.flatMap(({ names, secret }) => (secret === undefined ? names : [])))

/** `report` is redacted already. Undefined for a run that came to no plan. `signWith`: private,
 * Ed25519. Throws what a wrong file of waivers throws. */
export function recordOf(
  recorder: Recorder,
  report: Report,
  { inputs, ports, redactor }: { inputs: PreflightInputs; ports: CheckPorts; redactor: Redactor },
  signWith?: KeyObject,
): RunRecord | undefined {
  const { canonical, digest, observations } = report
  if (canonical.fault !== undefined) return undefined
  const { resolution, localAddresses } = ports.ctx
  const { only, skip, phases, readOnly, offline, deep, keepGoing, failFast } = inputs
  const record: Omit<RunRecord, 'canonical' | 'digest' | 'variables'> = {
    schema: recordSchema,
    version,
    node: canonical.node,
    asked: inputs.profile ?? null,
    now: ports.now,
    policy: ports.policy,
    waivers: waiversOf(inputs, ports),
    selection: JSON.parse(
      JSON.stringify({ only, skip, phases, readOnly, offline, deep, keepGoing, failFast }),
    ) as Selection,
    targets: targetTexts(ports.targets),
    sources: Object.fromEntries(resolution.sources),
    problems: resolution.problems,
    warnings: resolution.warnings,
    localAddresses,
    checks: recorder.catalogue.map((check) => checkOf(check, recorder, observations.results[check.id]?.answer)),
  }
  const whole = { ...redactor.value(record), canonical, digest, variables: variablesOf(ports, redactor) }
  return signWith === undefined ? whole : signDigest(whole, signWith)
}

function checkOf(check: Check, { applies, judged }: Recorder, answer: Answer | undefined): RecordedCheck {
  const { id, title, proves, evidence, fix, runbook, phase, severity, requires, deadlineMs, effects } = check
  const { isDeep, isRollUp, hints, appliesWhen } = check
  const [applied, result] = [applies.get(check.id), judged.get(check.id)]
  return {
    head: {
      id,
      title,
      proves,
      evidence,
      fix,
      runbook,
      phase,
      severity,
      class: check.class,
      requires,
      deadlineMs,
      effects,
      appliesWhen: appliesWhen.name,
      ...(isDeep !== undefined && { isDeep }),
      ...(isRollUp !== undefined && { isRollUp }),
      ...(hints !== undefined && { hints }),
    },
    ...(applied !== undefined && { applies: applied }),
    ...(answer !== undefined && { answer }),
    ...(result !== undefined && { judged: result }),
  }
}

/** Public is what the configuration knows as public, and in which the redactor finds nothing. */
function variablesOf({ ctx }: CheckPorts, redactor: Redactor): Record<string, RecordedVariable> {
  const variables: Record<string, RecordedVariable> = {}
  for (const [name, { text, source }] of ctx.resolution.given) {
    const isPublic = publicNames.has(name) && !isSecretName(name) && redactor.text(text) === text
    variables[redactor.text(showName(name))] = isPublic ? { value: text, source } : { hidden: true, source }
  }
  return variables
}

/** Throws CONFIG_INVALID (BAD_RECORD) for what is no record, and for one that was changed after it was signed. */
export function parseRecord(text: string): RunRecord {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw badRecord('it is not JSON')
  }
  if (!isJsonObject(value) || value['schema'] !== recordSchema) throw badRecord(`its schema is not ${recordSchema}`)
  const lacking = needed.find(([name, isThere]) => !isThere(value[name]))
  if (lacking !== undefined) throw badRecord(`${lacking[0]} is missing, or of another form`)
  const record = value as unknown as RunRecord // written by recordOf; what is judged from it is held to shapes again
  if ('signature' in value && !isSignatureWhole(record)) {
    throw badRecord('its signature does not hold: something was changed after it was signed')
  }
  return record
}

const needed: readonly (readonly [string, (value: unknown) => boolean])[] = [
  ...['digest', 'version', 'node'].map((name) => [name, (value: unknown) => typeof value === 'string'] as const),
  ['now', (value) => typeof value === 'number'],
  ['signature', (value) => value === undefined || isJsonObject(value)],
  ...['canonical', 'policy', 'waivers', 'selection', 'targets', 'variables', 'sources'].map(
    (name) => [name, isJsonObject] as const,
  ),
  ...['problems', 'warnings', 'localAddresses'].map((name) => [name, Array.isArray] as const),
  [
    'checks',
    (value) =>
      Array.isArray(value) &&
      value.every(
        (entry) => isJsonObject(entry) && isJsonObject(entry['head']) && typeof entry['head']['id'] === 'string',
      ),
  ],
]

export const badRecord = (why: string): BusError =>
  new BusError('CONFIG_INVALID', `The recording cannot be used: ${why}`, { reason: 'BAD_RECORD' })
