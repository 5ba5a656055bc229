// What a start is judged by, gathered: the certificate, the pinned key, this build, its environment, the exceptions in
// force. Used by servers before they open anything, by what watches them, and by `preflight verify`.
import { digestOf } from '../base/canonical-json.ts'
import { isBusError } from '../base/errors.ts'
import type { Resolution } from '../config/resolution.ts'
import { defaultPreflightPolicy, type PreflightPolicy } from '../waivers/preflight-policy.ts'
import { fromDisk, type ReadBytes } from '../waivers/read-bytes.ts'
import { isActivated } from './activation.ts'
import type { StartedProgram } from './break-glass.ts'
import { type Build, buildOf } from './build.ts'
import { maxCertificateBytes, parseCertificate } from './certificate.ts'
import { type Fingerprinted, fingerprintAt } from './environment.ts'
import type { FoundCertificate, StartFacts } from './judge-start.ts'

/** What does not change while a program runs. */
export interface OwnFacts {
  readonly build: Build
  readonly environment: Fingerprinted
}

/** Reads every file of the program once: some ten milliseconds. */
export const ownFactsOf = (resolution: Resolution): OwnFacts => ({
  build: buildOf(),
  environment: fingerprintAt(resolution),
})

/**
 * Where a key is pinned, or a certificate is named that nobody could vouch for otherwise. What is given counts, not what
 * could be understood: a key with a typing error pins all the same.
 */
export function isCertificateAsked({ profile, given }: Resolution): boolean {
  if (profile === 'dev') return false
  return given.has('ARQONBUS_PREFLIGHT_PUBLIC_KEY') || given.has('ARQONBUS_PREFLIGHT_CERTIFICATE')
}

export async function startFactsOf(
  resolution: Resolution,
  own: OwnFacts,
  { now, read = fromDisk }: { readonly now: number; readonly read?: ReadBytes },
): Promise<StartFacts> {
  const { profile, values } = resolution
  const { build, environment } = own
  const { policy, waivers } = await exceptionsOf(resolution, read)
  return {
    found: findCertificate(values.preflightCertificate, read),
    publicKey: values.preflightPublicKey,
    profile,
    build,
    environment,
    policy: digestOf(policy ?? 'unreadable'),
    waivers,
    isActivated:
      'fingerprint' in environment &&
      isActivated(values.dataDir, { artefact: build.artefact, fingerprint: environment.fingerprint }),
    now,
  }
}

export function findCertificate(path: string | undefined, read: ReadBytes = fromDisk): FoundCertificate {
  if (path === undefined) return { missing: true }
  const bytes = read(path, maxCertificateBytes)
  return bytes === undefined ? { unreadable: 'the file that is named cannot be read' } : parseCertificate(bytes)
}

interface Exceptions {
  /** Absent where it is named and cannot be read or understood: it equals none, and knows nobody. */
  readonly policy?: PreflightPolicy
  readonly waivers: ReadonlyMap<string, string>
}

/** Loads YAML only where there is a file. */
export async function exceptionsOf({ values }: Resolution, read: ReadBytes = fromDisk): Promise<Exceptions> {
  const { preflightPolicy, preflightWaivers } = values
  if (preflightPolicy === undefined && preflightWaivers === undefined) {
    return { policy: defaultPreflightPolicy, waivers: new Map() }
  }
  const { readPreflightPolicy, readWaivers } = await import('../waivers/read-files.ts')
  const policy = readable(() => readPreflightPolicy(preflightPolicy, read))
  const file = readable(() => readWaivers(preflightWaivers, read))
  return {
    ...(policy !== undefined && { policy }),
    waivers: new Map((file?.waivers ?? []).map((waiver) => [waiver.id, digestOf(waiver)])),
  }
}

/** Why a file cannot be used is told by the start-up rules' own gate. */
function readable<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (isBusError(error, 'CONFIG_INVALID')) return undefined
    throw error
  }
}

/** Where a program listens. */
export function hostsOf(program: StartedProgram, { values }: Pick<Resolution, 'values'>): readonly string[] {
  switch (program) {
    case 'bus':
      return [values.serverHost, values.httpHost, ...(values.telemetryEnabled ? [values.telemetryHost] : [])]
    case 'shield':
      return [values.shieldHost, values.shieldMetricsHost]
    case 'projector':
      return [values.projectorMetricsHost]
  }
}
