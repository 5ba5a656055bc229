// The Valkey chain without a server: every check proven able to fail, the rights against the sources, the mapping of
// what a server answers.
import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { JsonObject } from '../../../src/base/json.ts'
import { createCatalogue } from '../../../src/preflight/catalogue.ts'
import { portsOfWorld } from '../../../src/preflight/healthy-world.ts'
import { judgeAnswer } from '../../../src/preflight/judge.ts'
import { proveCheck } from '../../../src/preflight/self-proof.ts'
import { stops } from '../../../src/preflight/stops.ts'
import { valkeyChecks } from '../../../src/preflight/valkey/valkey-checks.ts'
import { neededCommands, rightsCommand } from '../../../src/preflight/valkey/valkey-rights.ts'
import { stopOf } from '../../../src/preflight/valkey/valkey-session.ts'
import { ProbeFailure } from '../../../src/valkey/probe-client.ts'

describe('the chain', () => {
  it('is in the catalogue, each check once', () => {
    const ids = createCatalogue().map(({ id }) => id)
    expect(ids.filter((id) => id.startsWith('dep.valkey.')).sort()).toEqual(
      [
        'dep.valkey.acl',
        'dep.valkey.connect',
        'dep.valkey.eviction',
        'dep.valkey.headroom',
        'dep.valkey.identity',
        'dep.valkey.latency',
        'dep.valkey.persistence',
        'dep.valkey.ping',
        'dep.valkey.roundtrip',
        'dep.valkey.skew',
      ].sort(),
    )
  })

  it.each(valkeyChecks.map((check) => [check.id, check] as const))('%s can pass, fail and be blind', (_id, check) => {
    expect(proveCheck(check).faults).toEqual([])
  })

  it('names in its worlds, hints and retries only codes that have a meaning', () => {
    for (const check of valkeyChecks) {
      const stopped = check.worlds.fails.flatMap((world) => (world.stopped === undefined ? [] : [world.stopped.code]))
      for (const code of [...stopped, ...(check.retryOn ?? []), ...Object.keys(check.hints ?? {})]) {
        expect(stops, `${check.id} ${code}`).toHaveProperty(code)
      }
    }
  })

  it('declares what it writes', () => {
    const writing = valkeyChecks.filter(({ effects }) => effects.some(({ kind }) => kind === 'write'))
    expect(writing.map(({ id }) => id)).toEqual(['dep.valkey.roundtrip', 'dep.valkey.acl'])
  })

  it('does not apply without an address', () => {
    const { appliesWhen } = valkeyChecks[0]!
    expect(appliesWhen.test(portsOfWorld({ name: 'none', env: { ARQONBUS_VALKEY_URL: undefined } })).holds).toBe(false)
    expect(appliesWhen.test(portsOfWorld({ name: 'set' })).because).toBe('ARQONBUS_VALKEY_URL is set')
  })
})

describe('what is shown of a pass', () => {
  const observed = (id: string, facts: JsonObject): unknown => {
    const check = valkeyChecks.find((one) => one.id === id)!
    const result = judgeAnswer(check, { facts }, portsOfWorld({ name: 'healthy', now: '2026-02-19T12:00:00.000Z' }))
    return result.status === 'pass' && result.observed
  }

  it.each([
    [
      'dep.valkey.connect',
      { addresses: 3, unreachable: 1, refusals: [], isTls: true, certificateEnds: '2026-02-22T00:00:00.000Z' },
      '2 of 3 addresses answer; the certificate ends in 2 days',
    ],
    ['dep.valkey.connect', { addresses: 1, unreachable: 0, refusals: [], isTls: false }, '1 of 1 addresses answer'],
    ['dep.valkey.ping', { isEchoed: true, ms: 0.43 }, 'answered within 0.4 ms'],
    [
      'dep.valkey.headroom',
      { usedMemory: 50, maxMemory: 200, clients: 3, maxClients: 100, replicas: [{ isOnline: true, lagS: 0 }] },
      '25 % of maxmemory, 3 of 100 clients, 1 replicas',
    ],
    [
      'dep.valkey.headroom',
      { usedMemory: 50, maxMemory: 0, clients: 3, maxClients: 100, replicas: [] },
      'no maxmemory, 3 of 100 clients, 0 replicas',
    ],
    ['dep.valkey.latency', { samples: 50, p50Ms: 0.26, p99Ms: 1.44 }, '50 answers: p50 0.3 ms, p99 1.4 ms'],
    [
      'dep.valkey.latency',
      { samples: 50, p50Ms: 0.5, p99Ms: 4, green: { p50Ms: 0.25, p99Ms: 1.9 } },
      '50 answers: p50 0.5 ms (0.3 ms when last green), p99 4.0 ms (1.9 ms when last green: more than twice)',
    ],
    ['dep.valkey.skew', { offsetMs: -12.4, uncertaintyMs: 0.2 }, '-12 ms, within 1 ms'],
  ])('%s of %j', (id, facts, text) => {
    expect(observed(id, facts)).toBe(text)
  })
})

describe('the rights', () => {
  const folders = ['src/storage/valkey', 'src/hot/valkey'] as const
  const sourceOf = (folder: string): string => {
    const url = new URL(`../../../${folder}/`, import.meta.url)
    return readdirSync(url)
      .map((name) => readFileSync(new URL(name, url), 'utf8'))
      .join('\n')
  }
  // Inside scripts; sent alone, as the first of a list; and by runScript.
  const commandsIn = (source: string): string[] => [
    ...[...source.matchAll(/redis\.p?call\('([A-Z]+)'/g)].map(([, name]) => name!),
    ...[...source.matchAll(/\[\s*'([A-Z]+)',/g)].map(([, name]) => name!),
  ]
  // Refused without harm: the store sends its scripts in full then.
  const optional = new Set(['SCRIPT'])

  it.each([
    ['history', folders[0]],
    ['hot', folders[1]],
  ] as const)('of %s are those of its sources', (use, folder) => {
    const sent = new Set(commandsIn(sourceOf(folder)).filter((name) => !optional.has(name)))
    expect(sent.size).toBeGreaterThan(10)
    const listed = neededCommands.filter(({ uses }) => uses.includes(use)).map(({ name }) => name)
    // Every connection has these, whatever it is for (src/valkey/connection.ts).
    const ofConnections = ['PING', 'INFO']
    expect([...sent].filter((name) => !listed.includes(name))).toEqual([])
    expect(listed.filter((name) => !sent.has(name) && !ofConnections.includes(name))).toEqual([])
  })

  it('are all in the command of the hint', () => {
    for (const { name } of neededCommands) expect(` ${rightsCommand} `).toContain(` +${name.toLowerCase()} `)
    expect(rightsCommand).toContain('~arqonbus:* ~tenant:* ~arqon:pf:*')
  })
})

describe('what a server answers', () => {
  it.each([
    ['WRONGPASS', 'HELLO: WRONGPASS invalid username-password pair or user is disabled.', 'AUTH_REFUSED'],
    ['NOAUTH', 'HELLO: NOAUTH HELLO must be called with the client already authenticated', 'AUTH_REQUIRED'],
    ['NOPERM', "XADD: NOPERM this user has no permissions to run the 'xadd' command", 'NO_PERMISSION'],
    ['LOADING', 'PING: LOADING Redis is loading the dataset in memory', 'LOADING'],
    ['READONLY', "SET: READONLY You can't write against a read only replica.", 'READ_ONLY'],
    ['OOM', "SET: OOM command not allowed when used memory > 'maxmemory'.", 'OUT_OF_MEMORY'],
    ['MISCONF', 'SET: MISCONF Redis is configured to save RDB snapshots', 'SAVES_FAIL'],
    ['CLUSTERDOWN', 'SET: CLUSTERDOWN Hash slot not served', 'NO_WRITER'],
    ['MASTERDOWN', 'GET: MASTERDOWN Link with MASTER is down', 'NO_WRITER'],
    ['NOREPLICAS', 'SET: NOREPLICAS Not enough good replicas to write.', 'NO_REPLICAS'],
    ['DENIED', 'HELLO: DENIED Redis is running in protected mode', 'LOCAL_ONLY'],
    ['BUSY', 'PING: BUSY Redis is busy running a script', 'BUSY'],
    ['NOPROTO', 'HELLO: NOPROTO unsupported protocol version', 'OLD_PROTOCOL'],
    ['ERR', "HELLO: ERR unknown command 'HELLO', with args beginning with: '3'", 'OLD_PROTOCOL'],
    ['ERR', 'HELLO: ERR max number of clients reached', 'TOO_MANY_CONNECTIONS'],
    ['ERR', 'SELECT: ERR DB index is out of range', 'NO_DATABASE'],
    ['ERR', 'SET: ERR something of its own', 'SERVER_ERROR'],
  ])('%s is %s: %s', (word, text, code) => {
    expect(stopOf(new ProbeFailure('command', 'REPLY', text, word))).toBe(code)
    expect(stops).toHaveProperty(code)
  })

  it.each([
    ['NO_ANSWER', 'NO_ANSWER'],
    ['HUNG_UP', 'HUNG_UP'],
    ['NOT_RESP', 'NOT_THE_PROTOCOL'],
    ['ABORTED', 'DEADLINE'],
    ['ECONNREFUSED', 'ECONNREFUSED'],
    ['ENOTFOUND', 'ENOTFOUND'],
    ['CERT_HAS_EXPIRED', 'TLS_EXPIRED'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'TLS_NAME'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'TLS_UNTRUSTED'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'TLS_REFUSED'],
    ['ESOMETHING', 'ESOMETHING'],
  ])('a connection that ends in %s is %s', (code, stop) => {
    expect(stopOf(new ProbeFailure('tcp', code, 'words'))).toBe(stop)
  })
})
