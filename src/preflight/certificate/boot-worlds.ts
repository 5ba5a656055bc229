// Ends of candidates, for the proof that boot.certificate-enforced can fail.
import type { JsonObject, World, Worlds } from '../check.ts'
import { certificateCases, expectedCodes } from './candidate.ts'

const refused: readonly JsonObject[] = certificateCases.map(({ program, fault }) => ({
  program,
  fault,
  exit: 78,
  named: [expectedCodes[fault]],
  opened: [],
}))

type Facts = { readonly ends: readonly JsonObject[] }

/** One of them ends otherwise. */
const but = (index: number, changes: JsonObject): Facts => ({
  ends: refused.map((end, at) => (at === index ? { ...end, ...changes } : end)),
})

const fails = (name: string, facts: Facts, code: string, findings: readonly string[]) => ({
  name,
  facts,
  expect: { code, findings },
})

export const bootWorlds: Worlds<Facts> = {
  passes: [{ name: 'each is refused for its fault', facts: { ends: refused } }],
  fails: [
    fails('the bus starts without one', but(0, { exit: 0, named: [] }), 'NOT_REFUSED', [
      'bus missing NOT_REFUSED',
      'bus missing NOT_NAMED',
    ]),
    fails('the bus had to be killed', but(0, { exit: -1 }), 'NOT_REFUSED', ['bus missing NOT_REFUSED']),
    fails('it ends with another code', but(1, { exit: 69 }), 'NOT_REFUSED', ['bus stale NOT_REFUSED']),
    fails('it is refused for something else', but(2, { named: ['EXPIRED'] }), 'NOT_NAMED', ['bus tampered NOT_NAMED']),
    fails('it is refused by a rule only', but(3, { named: [] }), 'NOT_NAMED', ['bus other-build NOT_NAMED']),
    fails('it names everything', but(3, { named: ['OTHER_BUILD', 'OTHER_NODE'] }), 'OTHERS_NAMED', [
      'bus other-build OTHERS_NAMED',
    ]),
    fails('it listens before it refuses', but(0, { opened: ['listen'] }), 'SOCKET_OPENED', [
      'bus missing SOCKET_OPENED',
    ]),
    fails('Shield does not ask', but(4, { exit: 69, named: [], opened: ['connect', 'listen'] }), 'SOCKET_OPENED', [
      'shield stale NOT_REFUSED',
      'shield stale NOT_NAMED',
      'shield stale SOCKET_OPENED',
    ]),
    fails('it connects before it refuses', but(2, { opened: ['connect'] }), 'SOCKET_OPENED', [
      'bus tampered SOCKET_OPENED',
    ]),
    fails('the projector does not ask', but(5, { exit: 0, named: [] }), 'NOT_REFUSED', [
      'projector stale NOT_REFUSED',
      'projector stale NOT_NAMED',
    ]),
    fails('one was not tried', { ends: refused.slice(1) }, 'NOT_TRIED', ['bus missing NOT_TRIED']),
    fails('words in place of lists', but(0, { named: 'CERTIFICATE_UNREADABLE', opened: 'no' }), 'NOT_NAMED', [
      'bus missing NOT_NAMED',
    ]),
    {
      name: 'the candidates do not end',
      stopped: { code: 'DEADLINE', observed: 'no answer' },
      expect: { status: 'error', code: 'DEADLINE', class: 'dependency' },
    },
  ],
  ignores: [
    {
      name: 'staging that pins a key',
      env: { ARQONBUS_ENVIRONMENT: 'staging' },
      facts: { ends: refused },
    },
    { name: 'Postgres was asked of one not activated in time', facts: but(1, { opened: ['connect'] }) },
    { name: 'they ended in another order', facts: { ends: [...refused].reverse() } },
    { name: 'one more was tried', facts: { ends: [...refused, { ...refused[0], program: 'up', exit: 0 }] } },
  ] satisfies World<Facts>[],
  skips: [
    { name: 'development', env: { ARQONBUS_ENVIRONMENT: 'dev' } },
    {
      name: 'staging without a key',
      env: { ARQONBUS_ENVIRONMENT: 'staging', ARQONBUS_PREFLIGHT_PUBLIC_KEY: undefined },
    },
  ],
}
