// The Valkey chain against real servers, healthy, odd and broken. What a real server cannot be brought into - a clock of
// its own, loading at will, an INFO with less - is a proxy in front of a real one (resp-proxy.ts).
import { execFileSync } from 'node:child_process'
import { createServer as createHttpServer } from 'node:http'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { Environment } from '../../../src/config/resolution.ts'
import type { Answer, CheckPorts } from '../../../src/preflight/check.ts'
import { portsOfWorld } from '../../../src/preflight/healthy-world.ts'
import { judgeAnswer } from '../../../src/preflight/judge.ts'
import { lookHere } from '../../../src/preflight/prober.ts'
import type { Report, Result } from '../../../src/preflight/report.ts'
import { checkPortsOf } from '../../../src/preflight/ports.ts'
import type { PreflightInputs, PreflightPorts } from '../../../src/preflight/inputs.ts'
import { keepRun } from '../../../src/preflight/replay/history.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { valkeyChecks } from '../../../src/preflight/valkey/valkey-checks.ts'
import { probeConnect } from '../../../src/preflight/valkey/valkey-probes.ts'
import { rightsCommand, usefulRights } from '../../../src/preflight/valkey/valkey-rights.ts'
import { defaultPreflightPolicy } from '../../../src/waivers/preflight-policy.ts'
import { parseValkeyUrl } from '../../../src/valkey/address.ts'
import { dialProbe, type ProbeClient } from '../../../src/valkey/probe-client.ts'
import { findFreePorts } from '../../support/launch/free-ports.ts'
import {
  type ChangeReply,
  clockAhead,
  createRespProxy,
  infoWith,
  infoWithout,
  loadingFor,
  type RespProxy,
} from '../../support/servers/resp-proxy.ts'
import {
  startValkeyServer,
  type ValkeyServerOptions,
  type ValkeyServerProcess,
} from '../../support/servers/valkey-server.ts'
import { proberFor } from '../../support/probe-here.ts'

const chainIds = ['connect', 'ping', 'identity', 'roundtrip', 'acl', 'eviction', 'persistence', 'headroom', 'skew']

const run = (
  url: string,
  env: Environment = {},
  inputs: Partial<PreflightInputs> = {},
  ports: PreflightPorts = proberFor(env),
) =>
  runPreflight(
    {
      env: {
        ARQONBUS_ENVIRONMENT: 'staging',
        ARQONBUS_VALKEY_URL: url,
        ARQONBUS_STORAGE_MODE: 'strict',
        ARQONBUS_STORAGE_BACKEND: 'valkey',
        ARQONBUS_ENABLE_PERSISTENCE: 'true',
        ...env,
      },
      only: chainIds.map((name) => `dep.valkey.${name}`),
      ...inputs,
    },
    ports,
  )

const only = (...names: string[]): Partial<PreflightInputs> => ({ only: names.map((name) => `dep.valkey.${name}`) })

const resultOf = (report: Report, name: string): Result =>
  report.canonical.results.find(({ id }) => id === `dep.valkey.${name}`)!

/** `pass`; codes and class of a failure; what blocks it. */
function outcomeOf(report: Report, name: string): string {
  const result = resultOf(report, name)
  switch (result.status) {
    case 'fail':
      return `${result.findings.map(({ code }) => code).join('+')} (${result.class})`
    case 'error':
      return `error ${result.code} (${result.class})`
    case 'skip':
      return result.reason.kind === 'blocked-by' ? `behind ${result.reason.id}` : result.reason.kind
    case 'pass':
    case 'waived':
      return result.status
  }
}

const chainOf = (report: Report): Record<string, string> =>
  Object.fromEntries(chainIds.map((name) => [name, outcomeOf(report, name)]))

const allPass = Object.fromEntries(chainIds.map((name) => [name, 'pass']))

const behind = (name: string, ...names: string[]): Record<string, string> =>
  Object.fromEntries(names.map((one) => [one, `behind dep.valkey.${name}`]))

async function server(options: ValkeyServerOptions = {}): Promise<ValkeyServerProcess> {
  const started = await startValkeyServer(options)
  onTestFinished(() => started.close())
  return started
}

async function ask<T>(url: string, use: (client: ProbeClient) => Promise<T>): Promise<T> {
  const client = await dialProbe(parseValkeyUrl(url), { signal: new AbortController().signal })
  try {
    return await use(client)
  } finally {
    client.close()
  }
}

/** The one cause, told by its own name, and nothing after it looked at. */
function expectOneCause(report: Report, name: string, outcome: string): void {
  expect(outcomeOf(report, name)).toBe(outcome)
  expect(report.canonical.rootCauses).toEqual([`dep.valkey.${name}`])
  expect(report.canonical.verdict).toBe('NO-GO')
}

describe('a healthy server', () => {
  it('passes whole, leaves nothing there, and shows no secret', async () => {
    const { url } = await server({ password: 'p@ss/w:rd%#' })
    const report = await run(url)
    expect(chainOf(report)).toEqual(allPass)
    expect(JSON.stringify(report)).not.toContain('p@ss/w:rd')
    expect(JSON.stringify(report)).not.toContain(encodeURIComponent('p@ss/w:rd%#'))
    expect(await ask(url, (client) => client.send(['DBSIZE']))).toBe(0)
    await expect.poll(() => ask(url, (client) => client.send(['INFO', 'clients']))).toContain('connected_clients:1\r\n')
  })

  it('is only read where nothing may be written', async () => {
    const { url } = await server()
    const report = await run(url, {}, { readOnly: true })
    const left = { roundtrip: 'not-permitted', acl: 'not-permitted', headroom: 'not-permitted' }
    expect(chainOf(report)).toEqual({ ...allPass, ...left })
    const used = await ask(url, (client) => client.send(['INFO', 'commandstats']))
    expect(used).toContain('cmdstat_ping')
    expect(used).not.toMatch(/cmdstat_(?:set|xadd|del|eval)/)
  })

  it('has its answers measured', async () => {
    const { url } = await server()
    const report = await run(url, {}, only('latency'))
    const answer = report.observations.results['dep.valkey.latency']!.answer as {
      facts: { samples: number; p50Ms: number; p99Ms: number }
    }
    expect(answer.facts.samples).toBe(50)
    expect(answer.facts.p50Ms).toBeGreaterThan(0)
    expect(answer.facts.p99Ms).toBeGreaterThanOrEqual(answer.facts.p50Ms)
  })

  it('is measured beside the last green run, which leaves no trace in what is signed', async () => {
    const { url } = await server()
    const dataDir = mkdtempSync(join(tmpdir(), 'arqonbus-history-'))
    onTestFinished(() => rmSync(dataDir, { recursive: true }))
    const look = () => run(url, { ARQONBUS_DATA_DIR: dataDir }, only('latency'))
    const shown = ({ observations }: Report) => observations.results['dep.valkey.latency']!.observed
    const first = await look()
    expect(shown(first)).not.toContain('when last green')
    await keepRun(dataDir, first, 'a')
    // Nothing was asked in this newer one.
    await keepRun(dataDir, { ...first, observations: { ...first.observations, results: {} } }, 'b')
    const second = await look()
    expect(shown(second)).toMatch(/^50 answers: p50 .* ms when last green.*, p99 .* ms when last green/)
    expect(second.digest).toBe(first.digest)
  })

  it('says the same thing of the same server, whatever the run', async () => {
    const { url } = await server()
    const [one, two] = [await run(url), await run(url)]
    expect(two.digest).toBe(one.digest)
  })
})

describe('a server that is odd and well', () => {
  it('keeps snapshots only, in database 3, under a limit of memory', async () => {
    const { url } = await server({
      settings: { appendonly: 'no', save: '3600 1', maxmemory: '100mb', 'maxmemory-policy': 'noeviction' },
    })
    const report = await run(`${url}/3`)
    expect(chainOf(report)).toEqual(allPass)
    expect(await ask(url, (client) => client.send(['INFO', 'keyspace']))).not.toContain('db0')
  })

  it.each([
    ['the rights of the hint', rightsCommand],
    [
      'those without which a bus gets along',
      usefulRights.reduce((text, right) => text.replace(right, ''), rightsCommand),
    ],
  ])('knows a user with exactly %s', async (_name, command) => {
    const { url, port } = await server()
    const words = command.replace('<user>', 'bus').split(/ +/)
    await ask(url, (client) => client.send([...words.slice(0, 3), 'reset', 'on', '>secret', ...words.slice(3)]))
    expect(chainOf(await run(`redis://bus:secret@127.0.0.1:${port}`))).toEqual(allPass)
  })

  it('is reached over a socket', async () => {
    const { dir } = await server({ settings: { unixsocket: 'v.sock' } })
    expect(chainOf(await run(`unix://${join(dir, 'v.sock')}`))).toEqual(allPass)
  })

  it('keeps nothing, in degraded mode', async () => {
    const { url } = await server({ settings: { appendonly: 'no' } })
    const report = await run(url, { ARQONBUS_STORAGE_MODE: 'degraded' }, only('persistence'))
    expect(outcomeOf(report, 'persistence')).toBe('pass')
    expect(report.observations.results['dep.valkey.persistence']!.observed).toContain('advice: set appendonly yes')
  })
})

describe('a server that cannot be used', () => {
  it('is none, where no address is given', async () => {
    const report = await run('', { ARQONBUS_VALKEY_URL: undefined })
    expect(chainOf(report)).toEqual(Object.fromEntries(chainIds.map((name) => [name, 'not-applicable'])))
    // What is missing has its own name, and stops a start.
    expect(report.canonical.rootCauses).toEqual(['bus.valkey-url-configured'])
  })

  it('has another password', async () => {
    const { port } = await server({ password: 'right' })
    const report = await run(`redis://:wrong@127.0.0.1:${port}`)
    expectOneCause(report, 'connect', 'AUTH_REFUSED (config)')
    expect(chainOf(report)).toMatchObject(behind('connect', ...chainIds.slice(1)))
    expect(report.canonical.route!.label).toBe('blocker')
    expect(JSON.stringify(report)).not.toContain('wrong')
  })

  it('asks for a password that is not given', async () => {
    const { port } = await server({ password: 'right' })
    expectOneCause(await run(`redis://127.0.0.1:${port}`), 'connect', 'AUTH_REQUIRED (config)')
  })

  it('has no such database', async () => {
    const { url } = await server()
    expectOneCause(await run(`${url}/99`), 'connect', 'NO_DATABASE (config)')
  })

  it('is not there', async () => {
    const gone = await startValkeyServer()
    await gone.close()
    expectOneCause(await run(gone.url), 'connect', 'ECONNREFUSED (dependency)')
  })

  it('has a name that nobody knows', async () => {
    const outcome = outcomeOf(await run('redis://valkey.invalid:6379'), 'connect')
    // Without a name service at all, that is what is said.
    expect(['ENOTFOUND (dependency)', 'error EAI_AGAIN (dependency)']).toContain(outcome)
  })

  it('has a socket that is not there', async () => {
    expectOneCause(await run('unix:///no/such/v.sock'), 'connect', 'ENOENT (dependency)')
  })

  it('is a replica', async () => {
    const [primary, replica] = [await server(), await server()]
    await ask(replica.url, (client) => client.send(['REPLICAOF', '127.0.0.1', String(primary.port)]))
    const report = await run(replica.url)
    expectOneCause(report, 'identity', 'REPLICA (dependency)')
    expect(chainOf(report)).toMatchObject(behind('identity', ...chainIds.slice(3)))
  })

  it('is part of a cluster', async () => {
    const { url } = await server({ settings: { 'cluster-enabled': 'yes' } })
    expectOneCause(await run(url), 'identity', 'IS_CLUSTER (dependency)')
  })

  it('evicts', async () => {
    const { url } = await server({ settings: { maxmemory: '100mb', 'maxmemory-policy': 'allkeys-lru' } })
    expectOneCause(await run(url), 'eviction', 'EVICTS (dependency)')
  })

  it('keeps nothing, in strict mode', async () => {
    const { url } = await server({ settings: { appendonly: 'no' } })
    expectOneCause(await run(url), 'persistence', 'NOTHING_KEPT (dependency)')
  })

  it('is full', async () => {
    const { url } = await server({ settings: { maxmemory: '1' } })
    expectOneCause(await run(url), 'roundtrip', 'OUT_OF_MEMORY (dependency)')
  })

  it('cannot save', async () => {
    const { url, dir } = await server({ settings: { appendonly: 'no', save: '3600 1', dbfilename: 'taken.rdb' } })
    mkdirSync(join(dir, 'taken.rdb')) // a folder where the file should be: also root cannot write there
    await ask(url, async (client) => {
      await client.send(['BGSAVE'])
      await expect.poll(() => client.send(['INFO', 'persistence'])).toContain('rdb_last_bgsave_status:err')
    })
    // The server refuses PING too then.
    expectOneCause(await run(url), 'ping', 'SAVES_FAIL (dependency)')
  })

  it('takes no more connections', async () => {
    const { url } = await server({ settings: { maxclients: '1' } })
    await ask(url, async () => {
      expectOneCause(await run(url), 'connect', 'TOO_MANY_CONNECTIONS (dependency)')
    })
  })

  it('has little memory left', async () => {
    const { url } = await server()
    await ask(url, (client) => client.send(['SETRANGE', 'ballast', '20000000', 'x']))
    const used = await ask(url, async (client) => {
      const info = (await client.send(['INFO', 'memory'])) as string
      return Number(/used_memory:(\d+)/.exec(info)![1])
    })
    // What is kept now takes 91 % of it, and there is room for what the probes write.
    await ask(url, (client) => client.send(['CONFIG', 'SET', 'maxmemory', String(Math.round(used * 1.1))]))
    const report = await run(url, {}, only('headroom'))
    expect(outcomeOf(report, 'headroom')).toBe('MEMORY_SHORT (dependency)')
  })

  it('has no replica, or no connection, for what is to run', async () => {
    const { url } = await server({ settings: { maxclients: '64' } })
    const policy = { ...defaultPreflightPolicy, valkeyReplicas: 1, instances: 40 }
    const report = await run(url, {}, { ...only('headroom'), policy })
    expectOneCause(report, 'headroom', 'CONNECTIONS_SHORT+REPLICAS_MISSING (dependency)')
  })

  it('has the replica that it should have, or waits for it', async () => {
    const [primary, replica] = [await server({ settings: { 'min-replicas-to-write': '1' } }), await server()]
    const policy = { ...defaultPreflightPolicy, valkeyReplicas: 1 }
    expectOneCause(await run(primary.url, {}, { policy }), 'roundtrip', 'NO_REPLICAS (dependency)')
    await ask(replica.url, (client) => client.send(['REPLICAOF', '127.0.0.1', String(primary.port)]))
    // The first synchronisation takes the server a few seconds; --wait is for that.
    const report = await run(primary.url, {}, { policy, waitMs: 20_000 })
    expect(chainOf(report)).toEqual(allPass)
  })

  it('denies a command, which is named', async () => {
    const { url, port } = await server()
    await ask(url, (client) =>
      client.send(['ACL', 'SETUSER', 'bus', 'on', '>secret', '~*', '&*', '+@all', '-zadd', '-xtrim']),
    )
    const report = await run(`redis://bus:secret@127.0.0.1:${port}`)
    expectOneCause(report, 'acl', 'COMMAND_DENIED (config)')
    expect(report.observations.results['dep.valkey.acl']!.findings![0]!.found).toBe('ZADD, XTRIM')
    const hot = await run(`redis://bus:secret@127.0.0.1:${port}`, { ARQONBUS_ENABLE_PERSISTENCE: 'false' })
    expect(hot.observations.results['dep.valkey.acl']!.findings![0]!.found).toBe('ZADD')
  })

  it('denies a command of the round trip', async () => {
    const { url, port } = await server()
    await ask(url, (client) => client.send(['ACL', 'SETUSER', 'bus', 'on', '>secret', '~*', '+@all', '-xadd']))
    const report = await run(`redis://bus:secret@127.0.0.1:${port}`)
    expectOneCause(report, 'roundtrip', 'NO_PERMISSION (config)')
    expect(await ask(url, (client) => client.send(['DBSIZE']))).toBe(0)
  })

  it('denies keys', async () => {
    const { url, port } = await server()
    await ask(url, (client) =>
      client.send(['ACL', 'SETUSER', 'bus', 'on', '>secret', '~arqon:pf:*', '~arqonbus:*', '%R~tenant:*', '+@all']),
    )
    const report = await run(`redis://bus:secret@127.0.0.1:${port}`)
    expectOneCause(report, 'acl', 'KEYS_DENIED (config)')
    expect(report.observations.results['dep.valkey.acl']!.findings![0]!.found).toBe('tenant:*')
  })

  it('has a command under another name', async () => {
    // The server reads this as two words of one line.
    const { url } = await server({ settings: { 'rename-command ZADD': 'HIDDEN' } })
    const report = await run(url)
    expectOneCause(report, 'acl', 'COMMAND_MISSING (config)')
    expect(report.observations.results['dep.valkey.acl']!.findings![0]!.found).toBe('ZADD')
  })

  it('has the name of this run taken, and keeps what is there', async () => {
    const { url } = await server()
    await ask(url, (client) => client.send(['SET', 'arqon:pf:taken', 'mine']))
    const report = await run(url, {}, {}, { ...proberFor({}), runId: 'taken' })
    expectOneCause(report, 'roundtrip', 'KEY_TAKEN (dependency)')
    expect(await ask(url, (client) => client.send(['GET', 'arqon:pf:taken']))).toBe('mine')
  })
})

interface Listener {
  readonly port: number
  /** Connections so far. */
  readonly taken: number
  readonly open: number
}

async function listener(handle: (socket: Socket) => void): Promise<Listener> {
  const open = new Set<Socket>()
  let taken = 0
  const tcp = createServer((socket) => {
    taken++
    open.add(socket.on('close', () => open.delete(socket)).on('error', () => undefined))
    handle(socket)
  })
  await listening(tcp)
  onTestFinished(async () => {
    for (const socket of open) socket.destroy()
    await closed(tcp)
  })
  return {
    port: (tcp.address() as AddressInfo).port,
    get taken() {
      return taken
    },
    get open() {
      return open.size
    },
  }
}

const listening = (tcp: Server): Promise<void> => new Promise((resolve) => tcp.listen(0, '127.0.0.1', resolve))
const closed = (tcp: Server): Promise<unknown> => new Promise((resolve) => tcp.close(resolve))

describe('an address behind which somebody else is', () => {
  it('takes connections and never answers: the whole chain waits once', async () => {
    const hole = await listener((socket) => socket.resume())
    const startedMs = performance.now()
    const report = await run(`redis://:secret@127.0.0.1:${hole.port}`)
    expectOneCause(report, 'connect', 'error NO_ANSWER (dependency)')
    expect(chainOf(report)).toMatchObject(behind('connect', ...chainIds.slice(1)))
    // One bound on one answer, and the start of one process; not ten times the deadline.
    expect(performance.now() - startedMs).toBeLessThan(15_000)
    expect(hole.taken).toBe(1)
    await expect.poll(() => hole.open).toBe(0)
  })

  it('takes TLS connections and never answers', async () => {
    const hole = await listener((socket) => socket.resume())
    const report = await run(`rediss://127.0.0.1:${hole.port}`)
    expectOneCause(report, 'connect', 'error NO_ANSWER (dependency)')
    expect(report.observations.results['dep.valkey.connect']!.observed).toMatch(/^tls: /)
  })

  it('speaks HTTP', async () => {
    const http = createHttpServer((_request, response) => response.end('hello'))
    await listening(http)
    onTestFinished(() => {
      http.closeAllConnections()
      http.close()
    })
    const { port } = http.address() as AddressInfo
    expectOneCause(await run(`redis://127.0.0.1:${port}`), 'connect', 'NOT_THE_PROTOCOL (config)')
  })

  it('hangs up', async () => {
    const { port } = await listener((socket) => socket.once('data', () => socket.end()))
    expectOneCause(await run(`redis://127.0.0.1:${port}`), 'connect', 'HUNG_UP (dependency)')
  })
})

async function proxied(change: ChangeReply, options: ValkeyServerOptions = {}): Promise<RespProxy> {
  const { port } = await server(options)
  const proxy = await createRespProxy(port, change)
  onTestFinished(() => proxy.close())
  return proxy
}

const urlOf = ({ port }: { readonly port: number }): string => `redis://127.0.0.1:${port}`

describe('a name with two addresses', () => {
  /** The second of them is another server, or nothing. */
  async function twoAddresses(second: ValkeyServerOptions | undefined): Promise<Answer> {
    const [first, other] = [await server({ password: 'right' }), second && (await server(second))]
    if (other !== undefined) {
      const tcp = createServer((near) => {
        const far = createConnection({ host: '127.0.0.1', port: other.port })
        near.pipe(far).pipe(near)
        for (const socket of [near, far]) socket.on('error', () => undefined)
      })
      await new Promise<void>((resolve) => {
        tcp.listen(first.port, '127.0.0.2', resolve)
      })
      onTestFinished(() => void tcp.close())
    }
    const env = { ARQONBUS_ENVIRONMENT: 'staging', ARQONBUS_VALKEY_URL: `redis://:right@two.example:${first.port}` }
    const check = {
      ...valkeyChecks[0]!,
      probe: (ports: CheckPorts, signal: AbortSignal) =>
        probeConnect(ports, signal, () => Promise.resolve(['127.0.0.1', '127.0.0.2'])),
    }
    return await lookHere(check, checkPortsOf({ env }, {}))
  }

  it('is well where both take us', async () => {
    const answer = await twoAddresses({ password: 'right' })
    expect(answer).toEqual({ facts: { addresses: 2, unreachable: 0, refusals: [], isTls: false } })
  })

  it('is noted where one is not there', async () => {
    expect(await twoAddresses(undefined)).toMatchObject({ facts: { addresses: 2, unreachable: 1, refusals: [] } })
  })

  it('is refused where one does not know us', async () => {
    const answer = await twoAddresses({ password: 'another' })
    expect(answer).toMatchObject({ facts: { addresses: 2, unreachable: 0, refusals: ['AUTH_REFUSED'] } })
    const result = judgeAnswer(valkeyChecks[0]!, answer, portsOfWorld({ name: 'any' }))
    expect(result).toMatchObject({ status: 'fail', findings: [{ code: 'ADDRESSES_DIFFER' }] })
  })
})

describe('a fake of a state', () => {
  it('is loading, and that is said', async () => {
    const report = await run(urlOf(await proxied(loadingFor(1_000_000))))
    expectOneCause(report, 'ping', 'LOADING (dependency)')
  })

  it('has loaded when it is waited for', async () => {
    const report = await run(urlOf(await proxied(loadingFor(3))), {}, { waitMs: 20_000 })
    expect(chainOf(report)).toEqual(allPass)
    const attempts = report.observations.results['dep.valkey.ping']!.attempts!
    expect(attempts.map(({ code }) => code)).toEqual(['LOADING', 'LOADING', 'LOADING', undefined])
  })

  it.each([
    ['ahead', 5_000, 'SKEWED (dependency)'],
    ['behind', -5_000, 'SKEWED (dependency)'],
    ['ahead, a little', 1_000, 'pass'],
  ])('has a clock that is %s', async (_name, ms, outcome) => {
    const report = await run(urlOf(await proxied(clockAhead(ms))), {}, only('skew'))
    expect(outcomeOf(report, 'skew')).toBe(outcome)
  })

  it('does not say what it evicts', async () => {
    const report = await run(urlOf(await proxied(infoWithout('maxmemory_policy'))), {}, only('eviction'))
    expectOneCause(report, 'eviction', 'error POLICY_NOT_TOLD (dependency)')
    expect(report.observations.results['dep.valkey.eviction']!.observed).toContain('parameter group')
  })

  it('does not say how full it is', async () => {
    const report = await run(urlOf(await proxied(infoWithout('maxclients'))), {}, only('headroom'))
    expectOneCause(report, 'headroom', 'error HEADROOM_NOT_TOLD (dependency)')
  })

  it('refuses CONFIG: an append-only file is seen all the same, and no other is made up', async () => {
    const change = infoWithout()
    expect(outcomeOf(await run(urlOf(await proxied(change)), {}, only('persistence')), 'persistence')).toBe('pass')
    const proxy = await proxied(change, { settings: { appendonly: 'no' } })
    const report = await run(urlOf(proxy), {}, only('persistence'))
    expectOneCause(report, 'persistence', 'error PERSISTENCE_NOT_TOLD (dependency)')
  })

  it.each([
    ['is too old', { redis_version: '6.2.14', valkey_version: '6.2.14' }, 'identity', 'TOO_OLD (dependency)'],
    ['has not written', { aof_last_write_status: 'err' }, 'persistence', 'AOF_FAILS (dependency)'],
  ])('%s', async (_name, values, name, outcome) => {
    expectOneCause(await run(urlOf(await proxied(infoWith(values))), {}, only(name)), name, outcome)
  })

  it('answers PING with what it likes', async () => {
    const change: ChangeReply = ([name], reply) => (name === 'PING' ? Buffer.from('+PONG\r\n') : reply)
    expectOneCause(await run(urlOf(await proxied(change))), 'ping', 'OTHER_ANSWER (dependency)')
  })

  it('is two servers behind one name', async () => {
    const change: ChangeReply = ([name], reply) => (name === 'GET' ? Buffer.from('_\r\n') : reply)
    expectOneCause(
      await run(urlOf(await proxied(change)), {}, only('roundtrip')),
      'roundtrip',
      'NOT_READ_BACK (dependency)',
    )
  })

  it('refuses writes as a replica does', async () => {
    const change: ChangeReply = ([name], reply) =>
      name === 'SET' ? Buffer.from("-READONLY You can't write against a read only replica.\r\n") : reply
    expectOneCause(
      await run(urlOf(await proxied(change)), {}, only('roundtrip')),
      'roundtrip',
      'READ_ONLY (dependency)',
    )
  })

  it('answers each command in time, and all of them too late: the deadline ends it, and the next goes on', async () => {
    const change: ChangeReply = async ([name], reply) => {
      // Slowness is the state itself here; nothing waits for this to have passed.
      if (name === 'PING') await new Promise((resolve) => setTimeout(resolve, 150))
      return reply
    }
    const proxy = await proxied(change)
    const report = await run(urlOf(proxy), {}, { ...only('latency', 'roundtrip', 'skew'), jobs: 1 }, {})
    expect(outcomeOf(report, 'latency')).toBe('error DEADLINE (dependency)')
    expect(['roundtrip', 'skew'].map((name) => outcomeOf(report, name))).toEqual(['pass', 'pass'])
    expect(proxy.commands.indexOf('TIME')).toBeGreaterThan(proxy.commands.lastIndexOf('PING'))
    // Advice, even where it has no answer.
    expect(report.canonical.rootCauses).toEqual([])
  })

  it('is slow, which is advice', async () => {
    const change: ChangeReply = async ([name], reply) => {
      if (name === 'PING') await new Promise((resolve) => setTimeout(resolve, 60))
      return reply
    }
    const report = await run(urlOf(await proxied(change)), {}, only('latency'))
    expect(outcomeOf(report, 'latency')).toBe('SLOW (dependency)')
    expect(report.canonical.rootCauses).toEqual([])
  })
})

describe('TLS', () => {
  const dir = mkdtempSync(join(tmpdir(), 'arqonbus-tls-'))
  const file = (name: string): string => join(dir, name)
  const openssl = (...args: readonly string[]): void =>
    void execFileSync('openssl', args, { cwd: dir, stdio: ['ignore', 'ignore', 'pipe'] })

  function authority(name: string): void {
    const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', `${name}.key`]
    openssl('req', '-x509', ...key, '-out', `${name}.pem`, '-days', '30', '-subj', `/CN=${name}`)
  }

  /** Signed by `ca`; `days` may be behind us. */
  function certificate(name: string, dates: readonly string[], host = 'DNS:localhost,IP:127.0.0.1'): void {
    openssl('req', '-newkey', 'rsa:2048', '-nodes', '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', '/CN=x')
    writeFileSync(file(`${name}.ext`), `subjectAltName=${host}\n`)
    const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', `${name}.ext`]
    openssl('x509', '-req', '-in', `${name}.csr`, ...signed, '-out', `${name}.pem`, ...dates)
  }

  beforeAll(() => {
    authority('ca')
    authority('other')
    certificate('good', ['-days', '20'])
    certificate('name', ['-days', '20'], 'DNS:another.example')
    certificate('expired', ['-days', '-1'])
  })
  afterAll(() => rmSync(dir, { recursive: true }))

  async function tlsServer(name: string): Promise<{ tls: number; plain: number }> {
    const settings = {
      'tls-cert-file': file(`${name}.pem`),
      'tls-key-file': file(`${name}.key`),
      'tls-ca-cert-file': file('ca.pem'),
      'tls-auth-clients': 'no',
    }
    const { url, port } = await server({ settings })
    // Set while it runs, for the helper looks for a port without TLS.
    const [tls] = (await findFreePorts(1)) as [number]
    await ask(url, (client) => client.send(['CONFIG', 'SET', 'tls-port', String(tls)]))
    return { tls, plain: port }
  }

  const trusting = { NODE_EXTRA_CA_CERTS: file('ca.pem') }

  it('is held to name, time and authority, and passes with them', async () => {
    const { tls } = await tlsServer('good')
    const report = await run(`rediss://localhost:${tls}`, trusting)
    expect(chainOf(report)).toEqual(allPass)
    expect(report.observations.results['dep.valkey.connect']!.observed).toContain('the certificate ends in 19 days')
    expect(chainOf(await run(`valkeys://127.0.0.1:${tls}`, trusting))).toEqual(allPass)
  })

  it.each([
    ['an authority that nobody knows', 'good', { NODE_EXTRA_CA_CERTS: file('other.pem') }, 'TLS_UNTRUSTED (config)'],
    ['another name', 'name', trusting, 'TLS_NAME (config)'],
    ['an end in the past', 'expired', trusting, 'TLS_EXPIRED (dependency)'],
  ])('is refused with %s', async (_name, certificateName, env, outcome) => {
    const { tls } = await tlsServer(certificateName)
    expectOneCause(await run(`rediss://localhost:${tls}`, env), 'connect', outcome)
  })

  it('is told from no TLS, both ways', async () => {
    const { tls, plain } = await tlsServer('good')
    expectOneCause(await run(`rediss://127.0.0.1:${plain}`, trusting), 'connect', 'TLS_REFUSED (config)')
    expectOneCause(await run(`redis://127.0.0.1:${tls}`), 'connect', 'TLS_REQUIRED (config)')
  })
})
