// What a report says of the thing that was judged: the build, the environment, the exceptions. A certificate repeats it,
// and servers compare it with themselves.
import { digestOf } from '../base/canonical-json.ts'
import { toIsoTime } from '../base/clock.ts'
import { type Build, buildOf } from '../certificate/build.ts'
import type { UsedWaiver } from '../certificate/certificate.ts'
import { fingerprintAt } from '../certificate/environment.ts'
import { existingKey, installationKey } from '../certificate/installation-key.ts'
import type { WaiverFile } from '../waivers/waiver.ts'
import type { Ended, Judged } from './build-report.ts'
import type { CheckPorts } from './check.ts'
import type { Canonical } from './report.ts'

export interface JudgedPorts {
  /** In place of the build that runs this. */
  readonly build?: Build
  /** In place of this machine and this instant: a replay is about those of its record. */
  readonly judged?: Pick<Judged, 'subject' | 'environment' | 'judgedFor'>
}

interface Facts {
  readonly inputs: { readonly now?: number; readonly readOnly?: boolean }
  readonly ports: Pick<CheckPorts, 'ctx' | 'envSource'>
  readonly outcomes: readonly Ended[]
  readonly waivers: WaiverFile
  readonly node: string
}

/** Nothing in development: no certificate is for that. */
export function judgedOf({ inputs, ports, outcomes, waivers, node }: Facts, { build, judged }: JudgedPorts): Judged {
  const { profile } = ports.ctx
  if (profile === 'dev') return {}
  const exceptions = exceptionsOf(outcomes, waivers)
  const excused = exceptions.length > 0 ? { exceptions } : {}
  if (judged !== undefined) return { ...judged, ...excused }
  return {
    subject: { ...(build ?? buildOf(undefined, node)), ...provenanceOf(outcomes) },
    environment: environmentOf(ports, inputs.readOnly === true),
    ...excused,
    ...(inputs.now !== undefined && { judgedFor: toIsoTime(inputs.now) }),
  }
}

/** As the check saw it: nobody asks git twice. */
function provenanceOf(outcomes: readonly Ended[]): { readonly commit?: string; readonly isDirty: boolean } {
  const ended = outcomes.find(({ result }) => result.id === 'runtime.build-provenance')
  const answer = ended?.observation.answer
  const commit = answer !== undefined && 'facts' in answer ? answer.facts['commit'] : undefined
  return { ...(typeof commit === 'string' && { commit }), isDirty: ended?.result.status !== 'pass' }
}

function environmentOf({ ctx, envSource }: Facts['ports'], isReadOnly: boolean): NonNullable<Canonical['environment']> {
  const source = (envSource?.name ?? 'process').replace(/:.*$/s, '')
  const fingerprinted = fingerprintAt(ctx.resolution, isReadOnly ? existingKey : installationKey)
  return { source, ...('fingerprint' in fingerprinted && fingerprinted) }
}

function exceptionsOf(outcomes: readonly Ended[], { waivers }: WaiverFile): UsedWaiver[] {
  return outcomes.flatMap(({ result }) => {
    if (result.status !== 'waived') return []
    const waiver = waivers.find(({ id }) => id === result.waiver)
    if (waiver === undefined) return []
    return [{ id: waiver.id, check: waiver.check, expires: waiver.expires, digest: digestOf(waiver) }]
  })
}
