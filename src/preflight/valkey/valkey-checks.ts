// The Valkey chain: is it there, does it know us, what is it, does it keep what is written, what may we do there.
import { isAtLeast } from '../../valkey/facts.ts'
import { type Check, failed, judgeAll, passed } from '../check.ts'
import { valkeyCapacityChecks } from './valkey-capacity-checks.ts'
import { chain, minimum, shownMs, variable } from './valkey-chain.ts'
import { probeAcl, probeConnect, probeIdentity, probePing, probeRoundtrip } from './valkey-probes.ts'
import { keepsHistory, neededCommands, neededKeys, rightsCommand } from './valkey-rights.ts'
import { aclWorlds, connectWorlds, identityWorlds, pingWorlds, roundtripWorlds } from './valkey-worlds.ts'

const dayMs = 86_400_000

const connect = chain({
  id: 'dep.valkey.connect',
  title: 'Valkey takes our connection',
  proves:
    'Every address behind the name that answers takes our user, password and database, over TLS where the address asks for it.',
  evidence: 'How many addresses there are and how many answer; with TLS the days until the certificate ends.',
  fix: 'What the code says: the address, the name service, the certificate, or the user and password.',
  severity: 'blocker',
  requires: ['bus.valkey-url-configured'],
  retryOn: [
    'EAI_AGAIN',
    'ECONNREFUSED',
    'ECONNRESET',
    'EHOSTUNREACH',
    'ENETUNREACH',
    'ENOENT',
    'ETIMEDOUT',
    'HUNG_UP',
    'LOADING',
    'NO_ANSWER',
    'TOO_MANY_CONNECTIONS',
  ],
  hints: {
    AUTH_REFUSED: `the user or password in ${variable} is not the server's: correct it (ACL LIST shows the users)`,
    AUTH_REQUIRED: `put user and password into ${variable}: rediss://user:password@host:port`,
    NO_DATABASE: `name a database that the server has in ${variable} (CONFIG GET databases)`,
    TLS_REFUSED: `the service speaks no TLS there: use redis:// in ${variable}, or its TLS port`,
    TLS_REQUIRED: `the service speaks TLS there: use rediss:// in ${variable}`,
    NOT_THE_PROTOCOL: `no Valkey or Redis answers there: correct host and port in ${variable}`,
    OLD_PROTOCOL: `the bus speaks RESP 3: use Redis or Valkey ${minimum.text} or newer`,
  },
  shape: {
    addresses: 'number',
    unreachable: 'number',
    refusals: 'strings',
    isTls: 'boolean',
    certificateEnds: 'string?',
  },
  probe: (ports, signal) => probeConnect(ports, signal),
  judge({ addresses, unreachable, refusals, isTls, certificateEnds }, { now }) {
    if (refusals.length > 0) {
      return failed(
        'ADDRESSES_DIFFER',
        variable,
        `of ${addresses} addresses, ${refusals.length} refuse what another takes: ${refusals.join(', ')}`,
        'make every server behind the name the same, or name one of them',
      )
    }
    const answering = `${addresses - unreachable} of ${addresses} addresses answer`
    return passed(answering + describeCertificate(certificateEnds, now), { tls: isTls })
  },
  worlds: connectWorlds,
})

function describeCertificate(endsAt: string | undefined, now: number): string {
  if (endsAt === undefined) return ''
  return `; the certificate ends in ${Math.floor((Date.parse(endsAt) - now) / dayMs)} days`
}

const ping = chain({
  id: 'dep.valkey.ping',
  title: 'Valkey answers',
  proves: 'What was just sent comes back, so that no cache and nobody else has answered.',
  evidence: 'The time that the answer took.',
  fix: 'Look for what stands between: a proxy that answers by itself.',
  severity: 'blocker',
  requires: ['dep.valkey.connect'],
  retryOn: ['LOADING', 'BUSY', 'NO_ANSWER', 'HUNG_UP'],
  shape: { isEchoed: 'boolean', ms: 'number' },
  probe: probePing,
  judge({ isEchoed, ms }) {
    return isEchoed
      ? passed(`answered within ${shownMs(ms)}`)
      : failed(
          'OTHER_ANSWER',
          variable,
          'something else came back than was sent',
          'take away what answers in the place of Valkey, a proxy for instance',
        )
  },
  worlds: pingWorlds,
})

const identity = chain({
  id: 'dep.valkey.identity',
  title: 'Valkey is a primary of a version that we know',
  proves: `It is Redis or Valkey ${minimum.text} or newer, has read its data, takes writes itself, and is no cluster and no sentinel.`,
  evidence: 'Product, version, role and mode.',
  fix: 'Name the writer of a supported version.',
  severity: 'high',
  requires: ['dep.valkey.ping'],
  retryOn: ['LOADING'],
  shape: { product: 'string', version: 'string', role: 'string', mode: 'string' },
  probe: probeIdentity,
  judge({ product, version, role, mode }) {
    const found = (code: string, what: string, fix: string) => ({ code, variable, found: what, fix })
    const findings = [
      ...(isAtLeast(version, minimum.major, minimum.minor)
        ? []
        : [found('TOO_OLD', `${product} ${version}`, `use Redis or Valkey ${minimum.text} or newer`)]),
      ...(mode === 'standalone'
        ? []
        : [
            mode === 'cluster'
              ? found(
                  'IS_CLUSTER',
                  'cluster_enabled is 1',
                  'use a server without cluster mode: the bus does not follow MOVED',
                )
              : found('NOT_A_SERVER', `mode ${mode}`, 'name the server itself, not the sentinel that watches it'),
          ]),
      // A sentinel has no such role; one finding is enough for it.
      ...(role === 'master' || role === 'sentinel'
        ? []
        : [found('REPLICA', `role ${role}`, `name the writer in ${variable}, not a replica`)]),
    ]
    return judgeAll(findings, `${product} ${version}, ${role}`, { product, version })
  },
  worlds: identityWorlds,
})

const roundtripSteps = [
  [
    'isCreated',
    'KEY_TAKEN',
    'a key with the name of this run is already there',
    'run it again: every run has its own name',
  ],
  [
    'isReadBack',
    'NOT_READ_BACK',
    'a second connection did not read what was written',
    'make the address lead to one server',
  ],
  [
    'isStreamRead',
    'STREAM_NOT_READ',
    'a stream did not hold the entry just added',
    'look for another writer, or a proxy between',
  ],
  [
    'isEntryDeleted',
    'ENTRY_NOT_DELETED',
    'the entry was not there to delete',
    'look for another writer, or a proxy between',
  ],
  [
    'isDeleted',
    'NOT_DELETED',
    'the key was not there to delete',
    'look whether keys are evicted (maxmemory-policy noeviction)',
  ],
  ['isGone', 'NOT_GONE', 'a second connection still reads what was deleted', 'make the address lead to one server'],
] as const

const roundtrip = chain({
  id: 'dep.valkey.roundtrip',
  title: 'Valkey keeps what is written',
  proves: 'What one connection writes, another reads, streams too, and what is deleted is gone.',
  evidence: 'The step that failed.',
  fix: 'What the code says: memory, rights, or an address behind which there is more than one server.',
  runbook: ['L13', 'L22', 'L42', 'L64'],
  severity: 'blocker',
  requires: ['dep.valkey.identity'],
  retryOn: ['LOADING', 'BUSY', 'NO_WRITER', 'NO_REPLICAS'],
  effects: [
    { kind: 'net', what: 'Valkey' },
    { kind: 'write', what: 'keys arqon:pf:<run> and arqon:pf:<run>:stream, 30 s at most' },
  ],
  hints: {
    OUT_OF_MEMORY: 'raise maxmemory, or free keys',
    READ_ONLY: `name the writer in ${variable}, not a replica`,
    NO_PERMISSION: rightsCommand,
  },
  shape: {
    isCreated: 'boolean',
    isReadBack: 'boolean',
    isStreamRead: 'boolean',
    isEntryDeleted: 'boolean',
    isDeleted: 'boolean',
    isGone: 'boolean',
  },
  probe: probeRoundtrip,
  judge(facts) {
    // The first step that went wrong; those behind it only follow.
    const broken = roundtripSteps.find(([step]) => !facts[step])
    if (broken === undefined) return passed('written, read, added to a stream, deleted')
    const [, code, found, fix] = broken
    return failed(code, variable, found, fix)
  },
  worlds: roundtripWorlds,
})

const acl = chain({
  id: 'dep.valkey.acl',
  title: 'Our user may do what a bus does',
  proves: 'Each command that a bus sends, those inside its scripts too, is allowed, under each pattern of its keys.',
  evidence: 'The commands and patterns that are not.',
  fix: 'Grant the commands and patterns of the hint.',
  severity: 'high',
  class: 'config',
  requires: ['dep.valkey.roundtrip'],
  effects: [
    { kind: 'net', what: 'Valkey' },
    { kind: 'write', what: 'key arqon:pf:<run>:acl, 30 s at most' },
  ],
  shape: { allowed: 'strings', denied: 'strings', openKeys: 'strings' },
  probe: probeAcl,
  judge({ allowed, denied, openKeys }, ports) {
    const uses = keepsHistory(ports) ? ['hot', 'history'] : ['hot']
    const needed = neededCommands.filter((command) => command.uses.some((use) => uses.includes(use)))
    const lacking = needed.map(({ name }) => name).filter((name) => !allowed.includes(name))
    const refused = lacking.filter((name) => denied.includes(name))
    const missing = lacking.filter((name) => !denied.includes(name))
    const closed = neededKeys.map(({ pattern }) => pattern).filter((pattern) => !openKeys.includes(pattern))
    const findings = [
      ...(refused.length > 0
        ? [{ code: 'COMMAND_DENIED', variable, found: refused.join(', '), fix: rightsCommand }]
        : []),
      ...(missing.length > 0
        ? [
            {
              code: 'COMMAND_MISSING',
              variable,
              found: missing.join(', '),
              fix: 'take back rename-command: the bus calls commands by their own names',
            },
          ]
        : []),
      ...(closed.length > 0 ? [{ code: 'KEYS_DENIED', variable, found: closed.join(', '), fix: rightsCommand }] : []),
    ]
    return judgeAll(findings, `${needed.length} commands are allowed`)
  },
  worlds: aclWorlds,
})

export const valkeyChecks: readonly Check[] = [connect, ping, identity, roundtrip, acl, ...valkeyCapacityChecks]
