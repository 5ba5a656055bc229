// What the checks of the chain have in common.
import { type Applicability, type Check, type CheckSpec, defineCheck, type Shape } from '../check.ts'

/** What an operator changes. */
export const variable = 'ARQONBUS_VALKEY_URL'
/** Least version of Redis and of Valkey (design 10). */
export const minimum = { text: '7.0', major: 7, minor: 0 }

/** For what was observed. */
export const shownMs = (ms: number): string => `${ms.toFixed(1)} ms`

const valkeyConfigured: Applicability = {
  name: 'valkey-configured',
  test({ ctx }) {
    const url = ctx.resolution.values.valkeyUrl
    return url === undefined
      ? { holds: false, because: 'no address of Valkey' }
      : { holds: true, because: `${url.name} is set` }
  },
}

type Defaults = 'runbook' | 'phase' | 'class' | 'appliesWhen' | 'deadlineMs' | 'effects' | 'resource'

export function chain<const S extends Shape>(
  spec: Omit<CheckSpec<S>, Defaults> & Partial<Pick<CheckSpec<S>, Defaults>>,
): Check {
  return defineCheck<S>({
    runbook: ['L13', 'L22', 'L42'],
    phase: 'deps',
    class: 'dependency',
    appliesWhen: valkeyConfigured,
    deadlineMs: 5_000,
    effects: [{ kind: 'net', what: 'Valkey' }],
    resource: 'valkey',
    ...spec,
  } as CheckSpec<S>)
}
