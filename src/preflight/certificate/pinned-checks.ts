// Does anything start without a GO here? Where a key is pinned, the servers see to it themselves.
import { isExplicit } from '../../rules/explicit.ts'
import { type Applicability, defineCheck, failed, passed } from '../check.ts'

/** In staging only where a key is pinned: it is a choice there. */
export const certificateAsked: Applicability = {
  name: 'certificate-asked',
  test({ ctx: { profile, resolution } }) {
    const isPinned = resolution.values.preflightPublicKey !== undefined
    return {
      holds: profile === 'prod' || (profile === 'staging' && isPinned),
      because: `profile=${profile}, a key is ${isPinned ? '' : 'not '}pinned`,
    }
  },
}

const inProd: Applicability = {
  name: 'profile-prod',
  test: ({ ctx }) => ({ holds: ctx.profile === 'prod', because: `profile=${ctx.profile}` }),
}

const variable = 'ARQONBUS_PREFLIGHT_PUBLIC_KEY'

export const pinnedCheck = defineCheck({
  id: 'meta.certificate-pinned',
  title: 'Nothing starts here without a GO certificate',
  proves: 'The environment pins the public key whose certificates count, so bus, Shield and projector ask for one.',
  evidence: 'Whether the key is set and understood.',
  fix: `set ${variable} to the public half of the key that certifies (docs/certificate.md)`,
  runbook: [],
  phase: 'static',
  severity: 'high',
  class: 'config',
  requires: [],
  appliesWhen: inProd,
  deadlineMs: 1_000,
  effects: [{ kind: 'env', what: variable }],
  shape: {},
  judge(_facts, { ctx }) {
    const key = ctx.resolution.values.preflightPublicKey
    const fix = `set ${variable} to the public half of the key that certifies (docs/certificate.md)`
    if (key !== undefined) return passed(key)
    return isExplicit(ctx, 'preflightPublicKey')
      ? failed('NOT_A_KEY', variable, 'set, but no key', fix)
      : failed('NOT_PINNED', variable, 'not set: servers start without a certificate', fix)
  },
  worlds: {
    passes: [{ name: 'a key is pinned' }],
    fails: [
      { name: 'no key', env: { ARQONBUS_PREFLIGHT_PUBLIC_KEY: undefined }, expect: { code: 'NOT_PINNED' } },
      { name: 'an empty key', env: { ARQONBUS_PREFLIGHT_PUBLIC_KEY: '' }, expect: { code: 'NOT_A_KEY' } },
      {
        name: 'a key of another kind',
        env: { ARQONBUS_PREFLIGHT_PUBLIC_KEY: 'rsa:AAAA' },
        expect: { code: 'NOT_A_KEY', findings: [`${variable} NOT_A_KEY`] },
      },
    ],
    ignores: [
      { name: 'no certificate yet: this run is to give one', env: { ARQONBUS_PREFLIGHT_CERTIFICATE: undefined } },
    ],
    skips: [
      {
        name: 'staging, where it is a choice',
        env: { ARQONBUS_ENVIRONMENT: 'staging', ARQONBUS_PREFLIGHT_PUBLIC_KEY: undefined },
      },
    ],
  },
})
