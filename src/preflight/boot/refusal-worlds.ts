// Worlds of the refusals: a start as it has to be, and every way in which one can be wrong, for each case of a check.
import type { JsonObject } from '../../base/json.ts'
import type { FailingWorld, World, Worlds } from '../check.ts'
import type { RefusalCase, RefusalFacts } from './refusal.ts'

const good = ({ name, exit, named }: RefusalCase): JsonObject => ({
  name,
  exit,
  signal: '',
  isLate: false,
  ms: 800,
  listened: [],
  reasons: [named[0]!],
})

/** Nothing reads a shared secret there. */
export const keyPair: World<RefusalFacts> = {
  name: 'tokens by key pair',
  env: { ARQONBUS_AUTH_JWT_ALGORITHM: 'RS256' },
}

/** `skips`: beyond development, which every refusal leaves alone. */
export function refusalWorlds(
  list: readonly RefusalCase[],
  skips: readonly World<RefusalFacts>[],
): Worlds<RefusalFacts> {
  const healthy = list.map(good)
  const but = (one: RefusalCase, changes: JsonObject): RefusalFacts => ({
    starts: healthy.map((start) => (start['name'] === one.name ? { ...start, ...changes } : start)),
  })
  const failing = (
    one: RefusalCase,
    name: string,
    changes: JsonObject,
    ...codes: readonly [string, ...string[]]
  ): FailingWorld<RefusalFacts> => ({
    name: `${one.name}: ${name}`,
    facts: but(one, changes),
    expect: { code: codes[0], findings: codes.map((code) => `${one.program} ${code}`) },
  })
  const first = list[0]!
  return {
    passes: [{ name: 'every start refused', facts: { starts: healthy } }],
    fails: [
      ...list.flatMap((one) => [
        failing(one, 'runs on', { exit: -1, signal: 'SIGKILL', isLate: true }, 'STILL_RUNNING'),
        failing(
          one,
          'starts',
          { isLate: true, listened: [20_001], reasons: [] },
          'STILL_RUNNING',
          'LISTENED',
          'REASON_NOT_NAMED',
        ),
        failing(one, 'ends well', { exit: 0 }, 'ENDED_WELL'),
        failing(one, 'ends by chance', { exit: 1 }, 'WRONG_EXIT'),
        failing(one, 'crashes', { exit: -1, signal: 'SIGSEGV' }, 'KILLED'),
        failing(one, 'opens a socket for a moment', { listened: [20_001] }, 'LISTENED'),
        failing(one, 'says nothing', { reasons: [] }, 'REASON_NOT_NAMED'),
        failing(one, 'refuses for another reason', { reasons: ['bus.infra-protocol NOT_SET'] }, 'REASON_NOT_NAMED'),
        {
          name: `${one.name}: was not tried`,
          facts: { starts: healthy.filter(({ name }) => name !== one.name) },
          expect: { code: 'NOT_TRIED', findings: [`${one.program} NOT_TRIED`] },
        } as const,
      ]),
      {
        name: 'no program that could stand in',
        stopped: { code: 'NO_STAND_IN', observed: 'no postgres was found' },
        expect: { status: 'error', code: 'NO_STAND_IN', class: 'dependency' },
      },
    ],
    ignores: [
      { name: 'slow', facts: but(first, { ms: 9_990 }) },
      {
        name: 'another fault is named too',
        facts: but(first, { reasons: ['meta.config-valid BLANK', first.named[0]!] }),
      },
    ],
    skips: [{ name: 'development', env: { ARQONBUS_ENVIRONMENT: 'development' } }, ...skips],
  }
}
