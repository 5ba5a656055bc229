// GO certificates for tests: keys, an installation, and a certificate of the build under test in a given environment.
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { digestOf } from '../../src/base/canonical-json.ts'
import { buildOf } from '../../src/certificate/build.ts'
import { type Certificate, type CertificateBody, signCertificate } from '../../src/certificate/certificate.ts'
import { fingerprintAt } from '../../src/certificate/environment.ts'
import { installationKey } from '../../src/certificate/installation-key.ts'
import { exceptionsOf } from '../../src/certificate/start.ts'
import type { Environment } from '../../src/config/resolution.ts'
import { resolveKeys } from '../../src/config/resolve.ts'
import { keyTextOf } from '../../src/waivers/sign.ts'

export const certifier = generateKeyPairSync('ed25519').privateKey
export const otherCertifier = generateKeyPairSync('ed25519').privateKey
export const pinned = keyTextOf(certifier)

const hourMs = 3_600_000

/** Of this build, for the data folder that `env` names, issued now. */
export async function certificateFor(
  env: Environment,
  now: number,
  changes: Partial<Omit<CertificateBody, 'schema' | 'key'>> = {},
  key: KeyObject = certifier,
): Promise<Certificate> {
  const resolution = resolveKeys(env)
  const fingerprint = fingerprintAt(resolution, installationKey)
  if ('because' in fingerprint) throw new Error(fingerprint.because)
  const { policy } = await exceptionsOf(resolution)
  return signCertificate(
    {
      verdict: 'GO',
      profile: resolution.profile,
      report: digestOf('a report'),
      commit: '0123456789abcdef0123456789abcdef01234567',
      build: buildOf(),
      environment: { source: 'file', ...fingerprint },
      policy: digestOf(policy ?? 'none'),
      waivers: [],
      issued: new Date(now).toISOString(),
      activateBy: new Date(now + hourMs).toISOString(),
      ...changes,
    },
    key,
  )
}

/** Signed again: what only the holder of that key can make. */
export function resigned(certificate: Certificate, changes: object, key: KeyObject = certifier): Certificate {
  const { schema: _, key: __, sig: ___, ...body } = certificate
  return signCertificate({ ...body, ...changes }, key)
}
