// When rules apply: each condition has a name that is recorded wherever a rule is left out because of it.
import type { Predicate, RuleContext } from './rule.ts'
import { tokenSecrets } from './token-secrets.ts'

export const always: Predicate = { name: 'always', test: () => ({ holds: true, because: 'always' }) }

/** In staging and prod, and in dev on request. */
export function isProduction({ profile, resolution }: RuleContext): boolean {
  return profile !== 'dev' || resolution.values.preflightStrict
}

function describeProfile(ctx: RuleContext): string {
  if (ctx.profile !== 'dev') return `profile=${ctx.profile}`
  return `profile=dev, ARQONBUS_PREFLIGHT_STRICT=${ctx.resolution.values.preflightStrict}`
}

export const production: Predicate = {
  name: 'production-rules',
  test: (ctx) => ({ holds: isProduction(ctx), because: describeProfile(ctx) }),
}

export const shieldOrProduction: Predicate = {
  name: 'shield-or-production-rules',
  test: (ctx) =>
    ctx.programs.includes('shield')
      ? { holds: true, because: 'program=shield' }
      : { holds: isProduction(ctx), because: describeProfile(ctx) },
}

export const profileAsked: Predicate = {
  name: 'profile-asked',
  test: ({ asked }) =>
    asked === undefined
      ? { holds: false, because: 'no profile was asked for' }
      : { holds: true, because: `asked=${asked}` },
}

/** Do tokens stand on a shared secret at all? With key pairs no secret is read. */
export const sharedSecret: Predicate = {
  name: 'tokens-by-shared-secret',
  test: ({ resolution }) => ({
    holds: resolution.values.jwtAlgorithm === 'HS256',
    because: `ARQONBUS_AUTH_JWT_ALGORITHM=${resolution.values.jwtAlgorithm}`,
  }),
}

/** Does the bus ask for tokens signed with a shared secret? */
export const busSharedSecret: Predicate = {
  name: 'bus-tokens-by-shared-secret',
  test: (ctx) =>
    ctx.resolution.values.enableAuth ? sharedSecret.test(ctx) : { holds: false, because: 'ARQONBUS_ENABLE_AUTH=false' },
}

export const secretInUse: Predicate = {
  name: 'token-secret-in-use',
  test(ctx) {
    const shared = sharedSecret.test(ctx)
    if (!shared.holds) return shared
    const names = tokenSecrets(ctx, isProduction(ctx)).map(({ variable }) => variable)
    return names.length > 0
      ? { holds: true, because: names.join(',') }
      : { holds: false, because: 'no token secret is read' }
  },
}

export const secretInUseInProduction: Predicate = {
  name: 'token-secret-in-use-in-production',
  test(ctx) {
    const wanted = production.test(ctx)
    return wanted.holds ? secretInUse.test(ctx) : wanted
  },
}
