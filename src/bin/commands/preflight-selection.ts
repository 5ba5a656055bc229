// What `preflight run` and `plan` have in common: which checks, of which environment, under which policy.
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import type { Profile } from '../../config/shapes.ts'
import type { Phase } from '../../preflight/check.ts'
import type { Terminal } from '../terminal.ts'

export interface SelectionOptions {
  readonly profile?: Profile
  readonly only?: string[]
  readonly skip?: string[]
  readonly phase?: Phase[]
  readonly target?: string
  readonly readOnly?: boolean
  readonly offline?: boolean
  readonly deep?: boolean
  readonly gates?: boolean
  readonly attestation?: string
  /** false: --no-waivers. */
  readonly waivers?: string | false
  readonly policy?: string
  readonly envFrom?: string
  readonly json?: boolean
}

export function withSelection(command: Command): Command {
  return command
    .addOption(new Option('--profile <profile>', 'what the environment has to be').choices(['dev', 'staging', 'prod']))
    .option(
      '--env-from <source>',
      'where the service starts: process, file:PATH, systemd:UNIT, compose:FILE#service, k8s:FILE#container, pid:N',
    )
    .option('--only <ids...>', 'only these checks and what they need, or a category as dep.valkey')
    .option('--skip <ids...>', 'without these; a skipped gating check makes the verdict INCONCLUSIVE')
    .option('--waivers <file>', 'approved exceptions; default: ARQONBUS_PREFLIGHT_WAIVERS')
    .option('--no-waivers', 'judge without exceptions')
    .option('--policy <file>', 'who may approve, and more; default: ARQONBUS_PREFLIGHT_POLICY')
    .addOption(
      new Option('--phase <phases...>', 'only these phases').choices(['static', 'deps', 'gates', 'boot', 'live']),
    )
    .option(
      '--target <list>',
      'a started system for the live checks: bus=ws://…,http=http://…,telemetry=ws://…,shield=ws://…',
    )
    .option('--read-only', 'change nothing outside this process, not even for a moment')
    .option('--offline', 'open no connection')
    .option('--deep', 'also what takes long or costs')
    .option('--gates', 'also the gates: install, compile and run every suite, which takes minutes')
    .option('--attestation <file>', 'take a signed result of the gates in place of a run (preflight attest)')
}

export async function inputsOf(options: SelectionOptions, terminal: Terminal) {
  const { parseTargets } = await import('../../preflight/targets.ts')
  const { startInputs } = await import('../../preflight/env-from/start-environment.ts')
  const { only, skip, phase, target, json: _json, waivers, policy, envFrom, attestation, ...rest } = options
  return {
    ...rest,
    ...startInputs(envFrom, { env: terminal.env }),
    shell: terminal.env,
    ...(only !== undefined && { only }),
    ...(skip !== undefined && { skip }),
    ...(phase !== undefined && { phases: phase }),
    ...(target !== undefined && { targets: parseTargets(target) }),
    ...(waivers === false && { waivers: 'none' as const }),
    ...(typeof waivers === 'string' && { waiversPath: waivers }),
    ...(policy !== undefined && { policyPath: policy }),
    ...(attestation !== undefined && { attestationPath: resolve(terminal.cwd, attestation) }),
    ...(terminal.env['PATH'] !== undefined && { searchPath: terminal.env['PATH'] }),
  }
}
