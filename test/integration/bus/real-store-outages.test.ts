// Reliability 5.3 and 5.4 on real servers: what a running bus answers, delivers and says of itself while its store is
// frozen, dead or full, and after it is back; in both modes, row by row.
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, describe, expect, onTestFinished, test, type TestContext } from 'vitest'
import { canaryKey } from '../../../src/app/canary.ts'
import type { JsonObject } from '../../../src/base/json.ts'
import type { Envelope } from '../../../src/envelope/envelope.ts'
import { type BusInProcess, startBusInProcess } from '../../support/launch/bus-in-process.ts'
import { type Logger, silentLogger } from '../../../src/base/logger.ts'
import { createMessageIds } from '../../../src/base/ids.ts'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'
import { migrateUp } from '../../../src/postgres/migrations.ts'
import { envelopeOfFrame } from '../../../src/wire/message-frame.ts'
import { dataOf, positionOf, type WireClient } from '../../support/launch/wire-client.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import type { ServerProcess } from '../../support/servers/server-process.ts'
import { type PostgresServerProcess, startPostgresServer } from '../../support/servers/postgres-server.ts'
import { startHistoryServer } from '../../support/servers/history-server.ts'

const run = promisify(execFile)
const oneKey = { tenant: 'default', room: 'lab', channel: 'one' }
const nextId = createMessageIds(Date.now())

type Mode = 'strict' | 'degraded'
type Backend = 'valkey' | 'postgres'
const backends: readonly Backend[] = ['valkey', 'postgres']

interface Lab {
  readonly server: ServerProcess
  readonly bus: BusInProcess
  readonly publisher: WireClient
  readonly member: WireClient
}

async function setUp(
  backend: Backend,
  mode: Mode,
  env: Record<string, string> = {},
  logger: Logger = silentLogger,
  finished: typeof onTestFinished = onTestFinished,
): Promise<Lab> {
  const { server, env: address } = await startHistoryServer(backend)
  finished(() => server.close())
  const dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-outage-'))
  finished(() => rm(dataDir, { recursive: true, force: true }))
  const storage = { ARQONBUS_STORAGE_BACKEND: backend, ARQONBUS_STORAGE_MODE: mode, ARQONBUS_DATA_DIR: dataDir }
  const bus = await startBusInProcess({ env: { ...address, ...storage, ...env }, logger })
  finished(() => bus.close())
  const [publisher, member] = await Promise.all([bus.client(), bus.client({ format: 'protobuf' })])
  await member.join('lab', 'one')
  const first = await publisher.publish('lab', 'one', { n: 0 })
  expect(first.metadata['level']).toBe('disk')
  await member.received(1)
  return { server, bus, publisher, member }
}

const numbers = (client: WireClient): unknown[] =>
  client.messages('one').map(({ payload }) => (payload as JsonObject)['n'])
/** With an id that was answered before: the next answer is meant. */
function askAgain(client: WireClient, fields: Partial<Envelope>): Promise<Envelope> {
  const before = client.frames.length
  const id = client.send(fields)
  const isAnswer = (frame: Envelope): boolean => frame.id === id || frame.request_id === id
  return client.until((frame) => isAnswer(frame) && client.frames.lastIndexOf(frame) >= before, `answer to ${id}`)
}
const timed = async (doing: Promise<Envelope>): Promise<{ answer: Envelope; ms: number }> => {
  const begun = performance.now()
  return { answer: await doing, ms: performance.now() - begun }
}
const http = async ({ httpPort }: BusInProcess, path: string): Promise<{ status: number; body: JsonObject }> => {
  const answer = await fetch(`http://127.0.0.1:${httpPort}${path}`)
  return { status: answer.status, body: (await answer.json()) as JsonObject }
}
/** Publishes until the store is known to be away. */
async function untilAway({ bus, publisher }: Lab): Promise<void> {
  while (bus.store?.state !== 'unavailable') await publisher.publish('lab', 'lost', {})
}
const isHeld = ({ payload }: Envelope, records: number): boolean => (payload as JsonObject)['held'] === records
const isState =
  (storage: string) =>
  (frame: Envelope): boolean =>
    frame.type === 'state' && (frame.payload as JsonObject)['storage'] === storage

describe.each(backends)('%s, strict', (backend) => {
  const suite = skipWithout(backend) ? describe.skip : describe
  suite.each(['frozen', 'killed'] as const)('%s', (fault) => {
    test('refuses within 2 s, then at once; delivers nothing refused; keeps sockets; is red; comes back by itself', async () => {
      const lab = await setUp(backend, 'strict')
      const { server, bus, publisher, member } = lab
      await (fault === 'frozen' ? server.freeze() : server.kill())

      // In flight when it fails: not later than 2 s, and never an acknowledgement.
      const { answer, ms } = await timed(publisher.publish('lab', 'one', { n: 1 }))
      expect(ms).toBeLessThan(2_000)
      expect(answer.type).toBe('error')
      expect(['STORE_TIMEOUT', 'STORE_UNAVAILABLE']).toContain(answer.error_code)
      await untilAway(lab)
      const states: { state: string; atMs: number }[] = []
      bus.store!.onState((state) => states.push({ state, atMs: performance.now() }))

      // While it is away: at once, certainly not stored, and nobody is given it.
      const refused = await timed(publisher.publish('lab', 'one', { n: 2 }))
      expect(refused.ms).toBeLessThan(50)
      expect(refused.answer).toMatchObject({ error_code: 'STORE_UNAVAILABLE' })
      expect(refused.answer.payload).toMatchObject({ retryable: true, outcome: 'not_stored' })

      // Sockets stay, clients are told, reads say that they cannot.
      await member.until(isState('unavailable'), 'state unavailable')
      expect(dataOf(await publisher.command('ping'))).toBeDefined()
      const history = await publisher.command('op.history.get', { room: 'lab', channel: 'one' })
      expect(history).toMatchObject({ status: 'error', error_code: 'STORE_UNAVAILABLE' })
      const late = await bus.client()
      expect(late.id).not.toBe('')

      expect((await http(bus, '/health')).status).toBe(200)
      await expect.poll(async () => (await http(bus, '/ready')).status, { timeout: 5_000 }).toBe(503)

      if (fault === 'frozen') server.thaw()
      else await server.restart()
      const returnedAt = performance.now()
      let again = await publisher.publish('lab', 'one', { n: 3 })
      while (again.type === 'error') again = await publisher.publish('lab', 'one', { n: 3 })
      expect(performance.now() - returnedAt).toBeLessThan(5_000)
      await member.until(isState('ready'), 'state ready')
      // Trusted after three probes in a row, half a second apart, and not given everything at once.
      const back = states.slice(-2)
      expect(back.map(({ state }) => state)).toEqual(['recovering', 'ready'])
      expect(back[1]!.atMs - back[0]!.atMs).toBeGreaterThan(990)
      expect(bus.store!.appendsPerSecond).toBeLessThan(20_000)
      await expect.poll(async () => (await http(bus, '/ready')).status, { timeout: 5_000 }).toBe(200)

      // 1 was unknown: delivered only if it is in the log. 2 was refused.
      await member.until((frame) => (frame.payload as JsonObject)['n'] === 3, 'message 3')
      const stored = dataOf(await publisher.command('op.history.get', { room: 'lab', channel: 'one', limit: 10 }))
      const logged = (stored['entries'] as JsonObject[]).map(
        (entry) => ((entry['envelope'] as JsonObject)['payload'] as JsonObject)['n'],
      )
      expect(numbers(member)).toEqual(logged.toReversed())
      expect(logged).not.toContain(2)
    })
  })
})

describe.each(backends)('%s, degraded', (backend) => {
  const suite = skipWithout(backend) ? describe.skip : describe
  suite.each(['frozen', 'killed'] as const)('%s', (fault) => {
    test('claims nothing it does not know, holds and delivers, says so, and stores all of it in order on return', async () => {
      const lab = await setUp(backend, 'degraded')
      const { server, bus, publisher, member } = lab
      await (fault === 'frozen' ? server.freeze() : server.kill())
      // Under way when it fails: not known. The same id again is the same message, held by now.
      const first = { id: nextId(), room: 'lab', channel: 'one', payload: { n: 1 } }
      const { answer, ms } = await timed(publisher.ask(first))
      expect(ms).toBeLessThan(2_000)
      if (fault === 'frozen' || answer.type === 'error') {
        expect(answer).toMatchObject({ error_code: 'STORE_TIMEOUT', payload: { outcome: 'unknown', retryable: true } })
        const again = await askAgain(publisher, first)
        expect(again).toMatchObject({ type: 'message_response', metadata: { level: 'memory', duplicate: true } })
      } else expect(answer.metadata).toEqual({ level: 'memory' }) // it never left: certainly not stored
      const ids = [first.id]
      let since = ''
      for (let n = 2; n <= 20; n++) {
        if (n === 11) {
          await pause(2) // whatever was given to the store is from before
          since = new Date().toISOString()
        }
        const { answer: next, ms: took } = await timed(publisher.publish('lab', 'one', { n }))
        expect(next).toMatchObject({ type: 'message_response', metadata: { level: 'memory' } })
        expect(next.metadata['position']).toBeUndefined()
        expect(took).toBeLessThan(100)
        ids.push(next.id)
      }
      await member.received(21)
      expect(numbers(member)).toEqual(Array.from({ length: 21 }, (_, n) => n))
      await member.until(isState('degraded'), 'state degraded')
      expect((await http(bus, '/ready')).body).toMatchObject({ ready: true, degraded: true })
      const metrics = await (await fetch(`http://127.0.0.1:${bus.httpPort}/metrics`)).text()
      expect(metrics).toContain('arqonbus_store_state{state="unavailable"} 1')
      expect(metrics).toContain(`arqonbus_store_held ${bus.store!.held.records}`)

      expect((await http(bus, '/health')).status).toBe(200)

      // What memory certainly has all of is read from it, where nobody else can write to the log.
      const { epoch } = positionOf(member.messages('one')[0]!)
      const page = await publisher.command('history', { room: 'lab', channel: 'one', since })
      const overHttp = await http(bus, `/storage/history?room=lab&channel=one&limit=500&since=${since}`)
      const recovering = await bus.client({ format: 'protobuf' })
      const recovered = dataOf(await recovering.join('lab', 'one', { epoch, sequence: 1 }))
      if (backend === 'postgres') {
        expect(page).toMatchObject({ status: 'error', error_code: 'STORE_UNAVAILABLE' })
        expect(overHttp.status).toBe(503)
        expect(recovered).toMatchObject({ recovered: false, reason: 'backend_unavailable' })
      } else {
        expect(dataOf(page)).toMatchObject({ total_messages: 10, durability: 'memory' })
        const entries = dataOf(page)['history'] as { envelope: { payload: { n: number } } }[]
        expect(entries.map(({ envelope }) => envelope.payload.n)).toEqual(Array.from({ length: 10 }, (_, n) => 11 + n))
        expect(overHttp.body).toMatchObject({ count: 10, durability: 'memory', history: entries })
        expect(recovered).toMatchObject({ recovered: true, replayed: 20, position: { epoch, sequence: 1 } })
        await recovering.received(20)
        expect(numbers(recovering)).toEqual(Array.from({ length: 20 }, (_, n) => 1 + n))
      }
      for (const args of [{}, { since: new Date(0).toISOString() }]) {
        const all = await publisher.command('history', { room: 'lab', channel: 'one', ...args })
        expect(all).toMatchObject({ status: 'error', error_code: 'STORE_UNAVAILABLE' })
      }

      // Any other recovery cannot be answered; joining can.
      const late = await bus.client()
      const joined = dataOf(await late.join('lab', 'one', { epoch: 1, sequence: 0 }))
      expect(joined).toMatchObject({ recovered: false, reason: 'backend_unavailable' })
      expect(joined['position']).toBeUndefined()

      if (fault === 'frozen') server.thaw()
      else await server.restart()
      await member.until(isState('ready'), 'state ready')
      const upgrades = publisher.frames.filter(({ metadata }) => 'durability' in metadata)
      expect(upgrades.map(({ type, id, metadata }) => [type, id, metadata['durability']])).toEqual(
        ids.map((id) => ['message_response', id, 'disk']),
      )
      expect(upgrades.map((upgrade) => positionOf(upgrade).sequence)).toEqual(ids.map((_, i) => i + 2))
      expect((await askAgain(publisher, first)).metadata).toMatchObject({
        level: 'disk',
        duplicate: true,
        position: { sequence: 2 },
      })
      const after = await publisher.publish('lab', 'one', { n: 21 })
      expect(after.metadata).toMatchObject({ level: 'disk', position: { sequence: 22 } })
      await late.received(1)
      expect(numbers(late)).toEqual([21])
      await member.received(22)
      expect(numbers(member)).toEqual(Array.from({ length: 22 }, (_, n) => n))
      expect(positionOf(member.messages('one')[21]!).sequence).toBe(22)
      const reader = await bus.client()
      expect(dataOf(await reader.join('lab', 'one', { epoch, sequence: 0 }))).toMatchObject({ recovered: true })
      await reader.received(22)
      expect(numbers(reader)).toEqual(Array.from({ length: 22 }, (_, n) => n))
      await expect.poll(async () => (await http(bus, '/ready')).body['degraded'], { timeout: 5_000 }).toBe(false)
    })
  })
})

describe.skipIf(skipWithout('valkey'))('a Valkey away for longer than degraded mode can hold', () => {
  test('nacks what does not fit with BUFFER_FULL, drops nothing, and stores what it held', async () => {
    const max = 10_000 // in one channel (docs/storage.md)
    const perSecond = 5_000
    const lab = await setUp('valkey', 'degraded', {
      ARQONBUS_LIMIT_MAX_INFLIGHT: '100000',
      ARQONBUS_LIMIT_FLUSH_PER_SECOND: String(perSecond),
      ARQONBUS_READY_REQUIRES_STORE: 'true',
    })
    await lab.server.kill()
    const before = lab.publisher.frames.length
    for (let n = 1; n <= max + 500; n++) lab.publisher.send({ room: 'lab', channel: 'one', payload: { n } })
    const answers = (type: string): Envelope[] =>
      lab.publisher.frames.slice(before).filter((frame) => frame.type === type)
    await expect
      .poll(() => answers('message_response').length + answers('error').length, { timeout: 20_000 })
      .toBe(max + 500)
    expect(answers('message_response')).toHaveLength(max)
    expect(new Set(answers('error').map(({ error_code: code }) => code))).toEqual(new Set(['BUFFER_FULL']))
    expect(lab.bus.store!.held.records).toBeGreaterThanOrEqual(max)
    expect((await http(lab.bus, '/ready')).status).toBe(503)
    const flushes: number[] = []
    lab.bus.store!.onFlushed(() => flushes.push(performance.now()))
    await lab.server.restart()
    await expect.poll(() => lab.bus.store!.state, { timeout: 15_000 }).toBe('ready')
    // The last part is at most a quarter of a second's.
    expect(flushes.at(-1)! - flushes[0]!).toBeGreaterThanOrEqual((max / perSecond - 0.25) * 1_000 - 5)
    expect((await lab.bus.store!.head({ tenant: 'default', room: 'lab', channel: 'one' })).last).toBe(max + 1)
  })
})

describe.skipIf(skipWithout('valkey'))('a bus that ends while its store is away (degraded)', () => {
  test('tells how much it holds, and with the last frame how much is lost', async () => {
    const logged: unknown[] = []
    const warn = (event: string, facts?: object): void => void logged.push({ event, ...facts })
    const lab = await setUp('valkey', 'degraded', {}, { ...silentLogger, warn })
    await lab.server.kill()
    const publish = (): Promise<Envelope> => lab.publisher.publish('lab', 'one', {})
    await publish()
    await lab.member.until(isState('degraded'), 'state degraded')
    await publish()
    await publish()
    // A crash says nothing: the count in the last frame has to be of about now.
    await lab.member.until((frame) => frame.type === 'state' && isHeld(frame, 3), 'the count of what is held')
    await publish()
    const closing = lab.bus.close()
    const last = await lab.member.until((frame) => 'lost' in (frame.payload as JsonObject), 'the last word')
    expect(last).toMatchObject({
      type: 'state',
      payload: { storage: 'degraded', durability: 'memory', held: 4, lost: 4 },
    })
    await closing
    expect(lab.member.frames.at(-1)).toBe(last)
    expect(logged).toContainEqual(expect.objectContaining({ event: 'store.holding', records: 3 }))
    expect(logged).toContainEqual(expect.objectContaining({ event: 'store.lost_on_exit', records: 4 }))
  })
})

// Beside each other: both wait most of the time.
describe.skipIf(skipWithout('valkey')).concurrent('a Valkey', () => {
  async function flap(mode: Mode, { expect, onTestFinished }: TestContext): Promise<void> {
    const { server, bus, publisher, member } = await setUp('valkey', mode, {}, silentLogger, onTestFinished)
    const told: number[] = []
    member.ws.on('message', () => {
      if (member.frames.at(-1)?.type === 'state') told.push(performance.now())
    })
    const acked: unknown[] = [0]
    let isFlapping = true
    const publishing = (async () => {
      for (let n = 1; isFlapping; n++) {
        const frame = { id: nextId(), room: 'lab', channel: 'one', payload: { n } }
        let answer = await publisher.ask(frame)
        // Degraded takes everything: what is not known is sent again.
        while (mode === 'degraded' && answer.type === 'error') answer = await askAgain(publisher, frame)
        if (answer.type === 'message_response') acked.push(n)
        await pause(answer.type === 'error' ? 20 : 5) // not more than can be held
      }
    })()
    for (let n = 0; n < 5; n++) {
      await server.freeze()
      await pause(2_000) // up and down for so long is the fault
      server.thaw()
      await pause(2_000)
    }
    isFlapping = false
    await publishing
    const isLast = (frame: Envelope): boolean =>
      frame.type === 'message' && (frame.payload as JsonObject)['n'] === acked.at(-1)
    await member.until(isLast, 'the last')
    expect(acked.filter((n) => !numbers(member).includes(n))).toEqual([])
    expect(new Set(numbers(member)).size).toBe(numbers(member).length)
    expect(told.length).toBeGreaterThan(1)
    for (const [i, at] of told.entries()) if (i > 0) expect(at - told[i - 1]!).toBeGreaterThan(990)

    // The log has all of it, once.
    await expect.poll(() => [bus.store!.state, bus.store!.held.records], { timeout: 15_000 }).toEqual(['ready', 0])
    const { epoch } = positionOf(member.messages('one')[0]!)
    const reader = await bus.client()
    expect(dataOf(await reader.join('lab', 'one', { epoch, sequence: 0 }))).toMatchObject({ recovered: true })
    const { last } = await bus.store!.head({ tenant: 'default', room: 'lab', channel: 'one' })
    await reader.received(last)
    expect(new Set(numbers(reader)).size).toBe(last)
    expect(acked.filter((n) => !numbers(reader).includes(n))).toEqual([])
    expect(acked.length).toBeGreaterThan(100)
  }

  test('that comes and goes is told of at most once a second, and costs nothing that was acknowledged, in both modes', async (context) => {
    await Promise.all([flap('strict', context), flap('degraded', context)])
  })

  test('that is well does not make a bus ready whose canary does not come back', async ({ expect, onTestFinished }) => {
    const { bus } = await setUp('valkey', 'degraded', {}, silentLogger, onTestFinished)
    expect((await http(bus, '/ready')).status).toBe(200)
    bus.core.rooms.hide(bus.core.rooms.find(canaryKey)!) // nobody receives it any more
    await expect.poll(async () => (await http(bus, '/ready')).status, { timeout: 10_000 }).toBe(503)
    const { body } = await http(bus, '/ready')
    expect(body['components']).toContainEqual(expect.objectContaining({ name: 'delivery', state: 'down' }))
    expect(body['components']).toContainEqual(expect.objectContaining({ name: 'store', state: 'up' }))
  })
})

describe.skipIf(skipWithout('valkey'))('publishers faster than a frozen store', () => {
  test('are not read on, get every answer, and cost the bound and no more', async () => {
    const max = 1_048_576
    const lab = await setUp('valkey', 'strict', {
      ARQONBUS_LIMIT_MAX_PENDING_BYTES: String(max),
      ARQONBUS_LIMIT_MAX_INFLIGHT: '100000',
    })
    await lab.server.freeze()
    let highest = 0
    const looking = setInterval(() => {
      highest = Math.max(highest, lab.bus.core.publisher.pendingBytes)
    }, 1)
    const count = 1_000
    const pad = 'x'.repeat(16 * 1_024)
    const before = lab.publisher.frames.length
    for (let n = 0; n < count; n++) lab.publisher.send({ room: 'lab', channel: 'one', payload: { n, pad } })
    const answered = (): number =>
      lab.publisher.frames.slice(before).filter(({ type }) => type === 'message_response' || type === 'error').length
    await pause(1_000) // as long as the fault: all of it could have been read
    expect(lab.publisher.ws.bufferedAmount).toBeGreaterThan(max)
    expect(highest).toBeLessThan(max + 256 * 1_024) // what one read of the socket brings comes on top
    lab.server.thaw()
    await expect.poll(answered, { timeout: 15_000 }).toBe(count)
    clearInterval(looking)
    expect(highest).toBeGreaterThan(max / 2)
  })
})

let postgres: Promise<PostgresServerProcess> | undefined
function sharedPostgres(): Promise<PostgresServerProcess> {
  postgres ??= startPostgresServer()
  return postgres
}
afterAll(async () => (await postgres)?.close())

/** A store that can be filled, what makes room, and what it answers to who writes nothing while not a byte more fits. */
const fillable = {
  async maxmemory() {
    const { server, env } = await startHistoryServer('valkey', { maxmemory: '8mb', 'maxmemory-policy': 'noeviction' })
    onTestFinished(() => server.close())
    async function ask(): Promise<string> {
      await server.command('CONFIG SET maxmemory 1mb')
      return await server.command('PING')
    }
    return { env, ask, makeRoom: () => server.command('CONFIG SET maxmemory 100mb') }
  },
  async 'valkey-disk'() {
    const disk = await mountSmallDisk(8)
    if (disk === undefined) return undefined
    const { server, env } = await startHistoryServer('valkey', { dir: disk.path, appendfsync: 'everysec' })
    onTestFinished(() => server.close())
    return { env, ask: () => server.command('INFO server'), makeRoom: () => disk.grow(64) }
  },
  async 'postgres-disk'() {
    const disk = await mountSmallDisk(24)
    if (disk === undefined) return undefined
    const server = await sharedPostgres()
    const space = join(disk.path, 'space')
    await run('install', ['-d', '-o', 'postgres', '-m', '0700', space])
    const url = await server.createDatabase()
    const name = nameOf(url)
    await server.query(`CREATE TABLESPACE small_${name} LOCATION '${space}'`)
    await server.query(`ALTER DATABASE ${name} SET TABLESPACE small_${name}`)
    onTestFinished(async () => {
      await server.query(`DROP DATABASE ${name} WITH (FORCE)`)
      await server.query(`DROP TABLESPACE small_${name}`)
    })
    await migrateUp({ address: parsePostgresAddress(url) })
    // A small record may still find room: whether it is away then differs.
    return { env: { ARQONBUS_POSTGRES_URL: url }, ask: undefined, makeRoom: () => disk.grow(64) }
  },
}

const nameOf = (url: string): string => url.slice(url.lastIndexOf('/') + 1)

/** A file system of so many MiB, gone with the test; undefined where this user may not mount one. */
async function mountSmallDisk(mebibytes: number) {
  const path = await mkdtemp(join(tmpdir(), 'arqonbus-disk-'))
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=777`, 'tmpfs', path])
  } catch {
    await rm(path, { recursive: true })
    return undefined
  }
  onTestFinished(async () => {
    await run('umount', ['-l', path])
    await rm(path, { recursive: true })
  })
  return { path, grow: (to: number) => run('mount', ['-o', `remount,size=${to}m`, path]) }
}

describe.each([
  ['valkey', 'maxmemory'],
  ['valkey', 'valkey-disk'],
  ['postgres', 'postgres-disk'],
] as const)('a full store: %s, %s', (backend, how) => {
  async function fill(mode: Mode, context: TestContext): Promise<void> {
    const full = await fillable[how]()
    if (full === undefined) return context.skip('only root can mount a small disk')
    const { env, ask, makeRoom } = full
    const dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-outage-'))
    onTestFinished(() => rm(dataDir, { recursive: true, force: true }))
    const storage = { ARQONBUS_STORAGE_BACKEND: backend, ARQONBUS_STORAGE_MODE: mode, ARQONBUS_DATA_DIR: dataDir }
    const bus = await startBusInProcess({ env: { ...env, ...storage } })
    onTestFinished(() => bus.close())
    const publisher = await bus.client()
    const pad = randomBytes(65_536).toString('base64') // Postgres compresses what it can
    const acked: unknown[] = []
    let published = 0
    async function publish(): Promise<Envelope> {
      const n = published++
      const answer = await publisher.publish('lab', 'one', { n, pad })
      if (answer.type === 'message_response') acked.push(n)
      return answer
    }
    const isAway = (): boolean => bus.store!.state === 'unavailable'
    while (!isAway() && published < 3_000) await publish()
    expect(acked.length).toBeGreaterThan(20)
    const answer = await publish()
    if (mode === 'degraded') expect(answer.metadata).toEqual({ level: 'memory' })
    else expect(answer).toMatchObject({ error_code: 'STORE_UNAVAILABLE', payload: { outcome: 'not_stored' } })
    if (ask !== undefined) {
      expect(await ask()).toMatch(/^[+$]/)
      const states: string[] = []
      bus.store!.onState((state) => states.push(state))
      await pause(1_200) // as long as two probes
      expect(states.filter((state) => state !== 'unavailable')).toEqual([])
      expect((await http(bus, '/ready')).body['ready']).toBe(mode === 'degraded')
    }

    await makeRoom()
    await expect.poll(() => bus.store!.state, { timeout: 10_000 }).toBe('ready')
    expect((await publish()).metadata['position']).toBeDefined()
    const log = await bus.store!.readBySequence({ key: oneKey, after: 0, limit: 10_000, maxBytes: 1e9 })
    const logged = log.map(({ frame }) => (envelopeOfFrame(frame).payload as JsonObject)['n'])
    expect(logged).toEqual(acked)
  }

  test.skipIf(skipWithout(backend))(
    'claims nothing, though the server answers; loses nothing acknowledged; goes on when there is room',
    (context) => Promise.all([fill('strict', context), fill('degraded', context)]),
  )
})

/** Two running stores, each of which can be taken away and replaced by an empty one of another identity. */
const replaceable = {
  async valkey() {
    const { server, env } = await startHistoryServer('valkey')
    onTestFinished(() => server.close())
    async function takeAway(): Promise<void> {
      await server.kill()
      await rm(join(server.dir, 'appendonlydir'), { recursive: true })
    }
    return { env, takeAway, replace: () => server.restart() }
  },
  async postgres() {
    const server = await sharedPostgres()
    const [url, other] = [await server.createDatabase(), await server.createDatabase()]
    for (const one of [url, other]) await migrateUp({ address: parsePostgresAddress(one) })
    const name = nameOf(url)
    async function takeAway(): Promise<void> {
      await server.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`)
      await server.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`)
    }
    async function replace(): Promise<void> {
      await server.query(`ALTER DATABASE ${name} RENAME TO ${name}_before`)
      await server.query(`ALTER DATABASE ${nameOf(other)} RENAME TO ${name}`)
    }
    return { env: { ARQONBUS_POSTGRES_URL: url }, takeAway, replace }
  },
}

describe.each(backends)('%s that comes back as another store', (backend) => {
  async function lose(mode: Mode) {
    const { env, takeAway, replace } = await replaceable[backend]()
    const dataDir = await mkdtemp(join(tmpdir(), 'arqonbus-outage-'))
    onTestFinished(() => rm(dataDir, { recursive: true, force: true }))
    const storage = { ARQONBUS_STORAGE_BACKEND: backend, ARQONBUS_STORAGE_MODE: mode, ARQONBUS_DATA_DIR: dataDir }
    const bus = await startBusInProcess({ env: { ...env, ...storage } })
    onTestFinished(() => bus.close())
    const client = await bus.client()
    const { epoch } = positionOf(await client.publish('lab', 'one', { n: 0 }))
    await takeAway()
    while (bus.store!.state !== 'unavailable') await client.publish('lab', 'lost', {})
    return { bus, client, epoch, replace }
  }

  async function comeBackStrict(): Promise<void> {
    const { bus, client, replace } = await lose('strict')
    await replace()
    await expect.poll(() => bus.store!.state, { timeout: 10_000 }).toBe('replaced')
    const refused = await client.publish('lab', 'one', { n: 1 })
    expect(refused).toMatchObject({ error_code: 'STORE_UNAVAILABLE', payload: { reason: 'STORE_REPLACED' } })
    const { status, body } = await http(bus, '/ready')
    expect([status, JSON.stringify(body)]).toEqual([503, expect.stringContaining('ARQONBUS_STORAGE_ACCEPT_IDENTITY')])
  }

  async function comeBackDegraded(): Promise<void> {
    const { bus, client, epoch, replace } = await lose('degraded')
    const held = await client.publish('lab', 'one', { n: 1 })
    expect(held.metadata).toEqual({ level: 'memory' })
    await replace()
    const upgrade = await client.until(
      ({ id, metadata }) => id === held.id && 'durability' in metadata,
      'what became of it',
    )
    expect(positionOf(upgrade).epoch).toBeGreaterThan(epoch)
    await client.until(isState('ready'), 'state ready')
    const joined = dataOf(await (await bus.client()).join('lab', 'one', { epoch, sequence: 1 }))
    expect(joined).toMatchObject({ recovered: false, reason: 'epoch_changed' })
  }

  test.skipIf(skipWithout(backend))(
    'strict does not use it until an operator says so; degraded stores there what it held, in a later epoch',
    () => Promise.all([comeBackStrict(), comeBackDegraded()]),
  )
})
