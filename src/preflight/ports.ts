// From what a run was asked to what its checks get: the resolved configuration, policy and exceptions, the catalogue
// with its plug-ins.
import { type Clock, systemClock } from '../base/clock.ts'
import { randomHex } from '../base/ids.ts'
import { createRuleContext } from '../rules/context.ts'
import type { ReadBytes } from '../waivers/read-bytes.ts'
import { readPreflightPolicy, readWaivers } from '../waivers/read-files.ts'
import { noWaivers, type WaiverFile } from '../waivers/waiver.ts'
import { createCatalogue, register } from './catalogue.ts'
import { catalogueDigest } from './plan.ts'
import type { Check, CheckPorts } from './check.ts'
import type { PreflightInputs, PreflightPorts } from './inputs.ts'
import { loadPlugins, noPlugins, type Plugins, policyFolder } from './plugins/load.ts'
import { unlistedPrograms } from './plugins/search-path.ts'
import type { ProbeInputs } from './prober.ts'
import type { PluginNote } from './report.ts'
import { targetTexts } from './targets.ts'

/** Throws CONFIG_INVALID for a policy file that cannot be read. */
export function checkPortsOf(inputs: PreflightInputs, ports: PreflightPorts, clock: Clock = systemClock): CheckPorts {
  const { readFile, files, localAddresses, overlay } = ports
  const ctx = createRuleContext(inputs.env, {
    ...(inputs.profile !== undefined && { asked: inputs.profile }),
    ...(readFile !== undefined && { readFile }),
    ...(files !== undefined && { files }),
    ...(localAddresses !== undefined && { localAddresses }),
    ...(overlay !== undefined && { overlay }),
    ...(inputs.envSource?.where !== undefined && { where: inputs.envSource.where }),
  })
  return {
    ctx,
    targets: inputs.targets ?? {},
    policy:
      inputs.policy ?? readPreflightPolicy(inputs.policyPath ?? ctx.resolution.values.preflightPolicy, readerOf(ctx)),
    now: inputs.now ?? clock.now(),
    clock,
    nonce: ports.nonce ?? (() => randomHex(16)),
    runId: ports.runId ?? randomHex(8),
    ...(inputs.envSource !== undefined && { envSource: inputs.envSource }),
    ...(ports.spool !== undefined && { spool: ports.spool }),
    ...(inputs.shell !== undefined && { shell: inputs.shell }),
    ...(inputs.offline === true && { isOffline: true }),
    ...(inputs.attestationPath !== undefined && { attestationPath: inputs.attestationPath }),
  }
}

/** The waivers of a run. Throws CONFIG_INVALID for a file that cannot be read. */
export function waiversOf(
  { waivers, waiversPath }: Pick<PreflightInputs, 'waivers' | 'waiversPath'>,
  { ctx }: Pick<CheckPorts, 'ctx'>,
): WaiverFile {
  if (waivers === 'none') return noWaivers
  return waivers ?? readWaivers(waiversPath ?? ctx.resolution.values.preflightWaivers, readerOf(ctx))
}

const readerOf =
  ({ files }: CheckPorts['ctx']): ReadBytes =>
  (path, maxBytes) =>
    files.read?.(path, maxBytes)

export function probeInputsOf(
  inputs: PreflightInputs,
  { targets, policy, now, runId }: CheckPorts,
  { modules }: Plugins,
  canary: string | undefined,
): ProbeInputs {
  const env = Object.fromEntries(
    Object.entries(inputs.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
  return {
    env,
    targets: targetTexts(targets),
    policy,
    now,
    runId,
    ...(inputs.profile !== undefined && { asked: inputs.profile }),
    ...(modules.length > 0 && { plugins: modules }),
    ...(canary !== undefined && { canary }),
  }
}

export interface WholeCatalogue {
  readonly checks: readonly Check[]
  readonly plugins: Plugins
  /** Of the catalogue as it is, whatever a policy makes of its severities: that has a digest of its own. */
  readonly digest: string
}

/** What is built in, and the plug-ins that the policy lists. Throws CONFIG_INVALID (PLUGIN_INVALID). */
export async function wholeCatalogue(
  inputs: Pick<PreflightInputs, 'policy' | 'policyPath'>,
  ports: Pick<CheckPorts, 'ctx' | 'policy'>,
  { catalogue: builtIn = createCatalogue(), spool }: Pick<PreflightPorts, 'catalogue' | 'spool'> = {},
): Promise<WholeCatalogue> {
  const { plugins: entries = [], hardened } = ports.policy
  const plugins =
    entries.length === 0
      ? noPlugins
      : await loadPlugins(entries, { policyPath: policyPathOf(inputs, ports), builtIn, spool })
  const checks = entries.length === 0 ? builtIn : register([...builtIn, ...plugins.checks])
  return { checks: hardened ? checks.map(harden) : checks, plugins, digest: catalogueDigest(checks) }
}

const harden = (check: Check): Check => ({ ...check, severity: check.hardenedSeverity ?? check.severity })

/** Of the file that the policy came from; undefined where it was given as it is. */
function policyPathOf(
  { policy, policyPath }: Pick<PreflightInputs, 'policy' | 'policyPath'>,
  { ctx }: Pick<CheckPorts, 'ctx'>,
): string | undefined {
  return policy === undefined ? (policyPath ?? ctx.resolution.values.preflightPolicy) : undefined
}

export function unlistedPlugins(inputs: PreflightInputs, ports: CheckPorts): readonly PluginNote[] {
  if (inputs.searchPath === undefined) return []
  return unlistedPrograms(inputs.searchPath, ports.plugins ?? [], policyFolder(policyPathOf(inputs, ports)))
}
