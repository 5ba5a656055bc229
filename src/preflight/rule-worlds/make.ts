// Short forms for the worlds of rules.
import type { Environment } from '../../config/resolution.ts'
import type { FailingWorld, World, Worlds } from '../check.ts'

type More = Omit<World, 'name' | 'env' | 'facts' | 'stopped'>

/** A world in which the rule holds, or does not apply. */
export const fine = (name: string, env: Environment = {}, more: More = {}): World => ({ name, env, ...more })

/** `findings`: `VARIABLE CODE`, and no others; several separated by commas. */
export function bad(name: string, findings: string, env: Environment, more: More = {}): FailingWorld {
  const all = findings.split(', ')
  return { name, env, ...more, expect: { code: all[0]!.split(' ')[1]!, findings: all } }
}

export const healthy: World = { name: 'healthy' }
export const inDevelopment: World = { name: 'development', env: { ARQONBUS_ENVIRONMENT: 'dev' } }
/** Development, under the production rules all the same. */
export const strictDevelopment: Environment = { ARQONBUS_ENVIRONMENT: 'dev', ARQONBUS_PREFLIGHT_STRICT: 'true' }

/** A rule about one variable that has to be set: what they all have in common, and what is this one's own. */
export function explicitWorlds(
  variable: string,
  good: string,
  own: { readonly fails?: readonly FailingWorld[]; readonly ignores?: readonly World[] } = {},
): Worlds {
  const file = '/etc/arqonbus.env'
  return {
    passes: [healthy, fine('set in development', { ...strictDevelopment, [variable]: good })],
    fails: [
      bad('not set', `${variable} NOT_SET`, { [variable]: undefined }),
      bad('not set in staging', `${variable} NOT_SET`, { ARQONBUS_ENVIRONMENT: 'staging', [variable]: undefined }),
      bad('not set in strict development', `${variable} NOT_SET`, { ...strictDevelopment, [variable]: undefined }),
      bad('set to nothing', `${variable} BLANK`, { [variable]: '' }),
      ...(own.fails ?? []),
    ],
    ignores: [
      fine(
        'set in the file',
        { [variable]: undefined, ARQONBUS_CONFIG_FILE: file },
        { files: { [file]: { text: `${variable}=${good}\n` } } },
      ),
      fine('another variable misspelt', { ARQONBUS_STORAGE_MOD: 'strict' }),
      ...(own.ignores ?? []),
    ],
    skips: [inDevelopment],
  }
}
