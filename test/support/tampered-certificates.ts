// The nine ways to tamper with a certificate that `boot.certificate-enforced` promises to be refused (docs/certificate.md).
import { digestOf } from '../../src/base/canonical-json.ts'
import type { Certificate } from '../../src/certificate/certificate.ts'
import { otherCertifier, pinned, resigned } from './certificates-go.ts'

export interface Tampering {
  readonly name: string
  /** As it stands in the file. */
  readonly text: string
  /** The one mismatch that has to be named. */
  readonly code: string
  /** What was broken: one of each is tried on every program as it starts. */
  readonly kind: 'content' | 'signer' | 'form' | 'build' | 'waiver'
}

/** Each differs from `good`, which holds, by one thing. `good` rests on a waiver. */
export function tamperings(good: Certificate): readonly Tampering[] {
  const { build, environment, waivers } = good
  const row = (name: string, kind: Tampering['kind'], code: string, certificate: object): Tampering => ({
    name,
    kind,
    code,
    text: JSON.stringify(certificate),
  })
  const later = new Date(Date.parse(good.activateBy) + 86_400_000).toISOString()
  const whole = JSON.stringify(good)
  return [
    row('a later end', 'content', 'BAD_SIGNATURE', { ...good, activateBy: later }),
    row('a variable taken out', 'content', 'BAD_SIGNATURE', {
      ...good,
      environment: { ...environment, variables: environment.variables.slice(1) },
    }),
    row('the signature of another certificate', 'content', 'BAD_SIGNATURE', {
      ...good,
      sig: resigned(good, { commit: 'b'.repeat(40) }).sig,
    }),
    row('signed by somebody else', 'signer', 'OTHER_KEY', resigned(good, {}, otherCertifier)),
    row('signed by somebody else, who writes the pinned key in', 'signer', 'BAD_SIGNATURE', {
      ...resigned(good, {}, otherCertifier),
      key: pinned,
    }),
    row('a field that nobody knows', 'form', 'CERTIFICATE_MALFORMED', { ...good, force: true }),
    { ...row('cut off', 'form', 'CERTIFICATE_MALFORMED', {}), text: whole.slice(0, -1) },
    row('for another build', 'build', 'OTHER_BUILD', resigned(good, { build: { ...build, artefact: digestOf('x') } })),
    row('resting on a waiver that was changed', 'waiver', 'WAIVER_CHANGED', {
      ...resigned(good, { waivers: waivers.map((waiver) => ({ ...waiver, digest: digestOf('x') })) }),
    }),
  ]
}
