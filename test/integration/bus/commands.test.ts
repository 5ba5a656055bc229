// Every command of the table once in its good form and once in each bad one, by error code. A command without a row
// here fails the test.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mintToken } from '../../../src/auth/mint.ts'
import type { Role } from '../../../src/auth/identity.ts'
import type { JsonObject } from '../../../src/base/json.ts'
import type { Envelope } from '../../../src/envelope/envelope.ts'
import type { Permission } from '../../../src/router/command.ts'
import { commandNames, type CommandName } from '../../../src/router/table.ts'
import { type BusInProcess, startBusInProcess } from '../../support/launch/bus-in-process.ts'
import { dataOf, type WireClient } from '../../support/launch/wire-client.ts'

const secret = 'commands-only-0123456789-abcdefghijklmno'
const tokenOf = (
  subject: string,
  more: { role?: Role; permissions?: string[]; tenant?: string } = {},
): Promise<string> => mintToken({ secret, subject, tenant: 'acme', ttlSeconds: 600, ...more })

interface Bad {
  readonly args: JsonObject
  readonly code: string
  readonly reason?: string
}

interface Row {
  /** Arguments of the good form. */
  readonly args: (token: string) => JsonObject
  /** What its data must at least hold. */
  readonly data: JsonObject
  readonly bad: readonly Bad[]
  /** The permission without which it is refused. */
  readonly permission?: Exclude<Permission, 'none'>
  /** Of whoever sends it; `user` when absent. */
  readonly role?: Role
  /** Commands sent before the good form. */
  readonly before?: readonly (readonly [CommandName, JsonObject])[]
}

const missing = (args: JsonObject): Bad => ({ args, code: 'VALIDATION_ERROR', reason: 'MISSING_ARGUMENT' })
const badName = (args: JsonObject): Bad => ({ args, code: 'VALIDATION_ERROR', reason: 'BAD_NAME' })
const badLimit = (args: JsonObject): Bad => ({ args, code: 'VALIDATION_ERROR', reason: 'BAD_LIMIT' })
const badTime = (args: JsonObject): Bad => ({ args, code: 'INVALID_TIMESTAMP' })
const badChannel = [missing({}), missing({ room: 'lab' }), badName({ room: 'lab', channel: '>' })]
const noChannel: Bad = { args: { room: 'lab', channel: 'not-there' }, code: 'CHANNEL_NOT_FOUND' }

const window = { from_ts: '2020-01-01T00:00:00Z', to_ts: '2100-01-01T00:00:00Z' }
const get: Row = {
  args: () => ({ room: 'stored', channel: 'one', limit: 2 }),
  data: { count: 2, room: 'stored', channel: 'one', limit: 2 },
  permission: 'channel_view',
  bad: [
    missing({}),
    missing({ channel: 'one' }),
    badLimit({ room: 'stored', limit: 0 }),
    badLimit({ room: 'stored', limit: 1_001 }),
    badTime({ room: 'stored', since: 'yesterday' }),
    {
      args: { room: 'stored', since: window.to_ts, until: window.from_ts },
      code: 'VALIDATION_ERROR',
      reason: 'BAD_WINDOW',
    },
  ],
}
const replay: Row = {
  args: () => ({ room: 'stored', channel: 'one', ...window }),
  data: { count: 3, strict_sequence: true, limit: 1_000, latency_ms: expect.any(Number) },
  permission: 'channel_view',
  bad: [
    missing({ room: 'stored' }),
    missing({ room: 'stored', from_ts: window.from_ts }),
    badTime({ room: 'stored', from_ts: 'then', to_ts: window.to_ts }),
    badLimit({ room: 'stored', ...window, limit: 5_001 }),
    { args: { room: 'stored', ...window, strict_sequence: 'yes' }, code: 'VALIDATION_ERROR', reason: 'BAD_ARGUMENT' },
    {
      args: { room: 'stored', from_ts: window.to_ts, to_ts: window.from_ts },
      code: 'VALIDATION_ERROR',
      reason: 'BAD_WINDOW',
    },
    {
      args: { room: 'stored', channel: 'regressing', ...window },
      code: 'VALIDATION_ERROR',
      reason: 'SEQUENCE_REGRESSION',
    },
  ],
}

/** Those of the projector need Postgres: test/integration/projector/commands.test.ts. */
const isProjectors = (name: string): name is ProjectorCommand => name.startsWith('op.continuum.projector.')
type ProjectorCommand = Extract<CommandName, `op.continuum.projector.${string}`>

const rows: Readonly<Record<Exclude<CommandName, ProjectorCommand>, Row>> = {
  status: {
    args: () => ({}),
    data: { server: { status: 'healthy' }, clients: {}, rooms: {}, channels: {}, storage: { enabled: true } },
    bad: [],
  },
  ping: {
    args: () => ({ timestamp: 'then' }),
    data: { pong: true, echo: 'then', client_info: { tenant: 'acme' }, latency_ms: expect.any(Number) },
    bad: [],
  },
  help: {
    args: () => ({ command: 'join_channel' }),
    data: { commands: [{ name: 'join_channel', permission: 'channel_access' }] },
    bad: [
      { args: { command: 'nothing' }, code: 'COMMAND_NOT_FOUND' },
      { args: { command: 'constructor' }, code: 'COMMAND_NOT_FOUND' },
      { args: { command: 7 }, code: 'VALIDATION_ERROR', reason: 'BAD_ARGUMENT' },
    ],
  },
  'auth.refresh': {
    args: (token) => ({ token }),
    data: { expires_at: expect.any(String) },
    bad: [missing({}), { args: { token: 'a.b.c' }, code: 'AUTHENTICATION_FAILED' }],
  },
  join_channel: {
    args: () => ({ room: 'lab', channel: 'joined' }),
    data: { room: 'lab', channel: 'joined', position: { sequence: 0 }, members: 1, room_joined: true },
    permission: 'channel_access',
    bad: [
      ...badChannel,
      { args: { room: 'lab', channel: 'x', recover: 1 }, code: 'VALIDATION_ERROR', reason: 'BAD_RECOVER' },
      { args: { room: 'lab', channel: 'x', recover: { epoch: 1 } }, code: 'VALIDATION_ERROR', reason: 'BAD_RECOVER' },
      {
        args: { room: 'lab', channel: 'x', recover: { epoch: 1, sequence: -1 } },
        code: 'VALIDATION_ERROR',
        reason: 'BAD_RECOVER',
      },
      { args: { room: 'lab', channel: '*', recover: [] }, code: 'VALIDATION_ERROR', reason: 'BAD_RECOVER' },
    ],
  },
  leave_channel: {
    before: [['join_channel', { room: 'lab', channel: 'left' }]],
    args: () => ({ channel_id: 'lab:left' }),
    data: { room: 'lab', channel: 'left', room_left: true },
    permission: 'channel_access',
    bad: [
      ...badChannel,
      { args: { room: 'lab', channel: 'never' }, code: 'NOT_JOINED' },
      { args: { room: 'lab', channel: '*' }, code: 'NOT_JOINED' },
    ],
  },
  create_channel: {
    args: () => ({ room: 'lab', name: 'made', description: 'a channel' }),
    data: { room_id: 'lab', channel_id: 'lab:made', channel_name: 'made', description: 'a channel' },
    permission: 'channel_management',
    bad: [
      ...badChannel,
      badName({ room: 'lab', channel: '*' }),
      { args: { room: 'stored', channel: 'one' }, code: 'CHANNEL_EXISTS' },
      { args: { room: 'lab', channel: 'x', description: 1 }, code: 'VALIDATION_ERROR', reason: 'BAD_ARGUMENT' },
    ],
  },
  delete_channel: {
    before: [['join_channel', { room: 'lab', channel: 'doomed' }]],
    args: () => ({ room: 'lab', channel: 'doomed' }),
    data: { channel_id: 'lab:doomed', members_removed: 1 },
    permission: 'channel_management',
    bad: [...badChannel, noChannel],
  },
  list_channels: {
    args: () => ({ room: 'stored' }),
    data: { room_id: 'stored', total_channels: 2, channels: [{ channel_name: 'one' }, { channel_name: 'regressing' }] },
    permission: 'channel_view',
    bad: [missing({}), badName({ room: '*' })],
  },
  channel_info: {
    args: () => ({ room: 'stored', channel: 'one' }),
    data: { channel_id: 'stored:one', statistics: { first_sequence: 1, last_sequence: 3 }, member_count: 0 },
    permission: 'channel_view',
    bad: [...badChannel, noChannel],
  },
  presence: {
    before: [['join_channel', { room: 'lab', channel: 'present' }]],
    args: () => ({ room: 'lab', channel: 'present' }),
    data: { member_count: 1, members: [{ subject: 'user' }] },
    permission: 'channel_view',
    bad: badChannel,
  },
  history: {
    args: () => ({ room: 'stored', channel: 'one', limit: 2 }),
    data: { channel_id: 'stored:one', total_messages: 2, limit: 2 },
    permission: 'channel_view',
    bad: [
      ...badChannel,
      badLimit({ room: 'stored', channel: 'one', limit: 1.5 }),
      badTime({ room: 'stored', channel: 'one', since: 'x' }),
    ],
  },
  'op.history.get': get,
  'history.get': get,
  'op.history.replay': replay,
  'history.replay': replay,
  'auth.revoke': {
    args: () => ({ subject: 'somebody' }),
    data: { tenant_id: 'acme', subject: 'somebody', until: expect.any(String) },
    permission: 'admin',
    role: 'admin',
    bad: [
      missing({}),
      missing({ everyone: false }),
      missing({ subject: 'somebody', everyone: true }),
      { args: { subject: 7 }, code: 'VALIDATION_ERROR', reason: 'BAD_ARGUMENT' },
      badName({ subject: 'x'.repeat(257) }),
    ],
  },
  'op.store.set': {
    args: () => ({ key: ' colour ', value: { shade: [1, 2.5, 'dark'] } }),
    data: { namespace: 'tenant:acme', key: 'colour', updated: expect.any(Boolean) },
    permission: 'store_access',
    bad: [
      missing({}),
      missing({ key: 'k' }),
      missing({ key: 'k', value: null }),
      missing({ key: '  ', value: 1 }),
      { args: { key: 7, value: 1 }, code: 'VALIDATION_ERROR', reason: 'BAD_ARGUMENT' },
      badName({ key: 'k'.repeat(257), value: 1 }),
      badName({ key: 'a\u0000b', value: 1 }),
      badName({ key: 'k', namespace: '\u00e9'.repeat(129), value: 1 }),
      { args: { key: 'k', value: 'x'.repeat(65_535) }, code: 'LIMIT_EXCEEDED' },
    ],
  },
  'op.store.get': {
    before: [['op.store.set', { key: 'kept', namespace: 'ns', value: [true, { deep: { est: 'x' } }] }]],
    args: () => ({ key: 'kept', namespace: 'ns' }),
    data: { namespace: 'ns', key: 'kept', found: true, value: [true, { deep: { est: 'x' } }] },
    permission: 'store_access',
    bad: [missing({}), missing({ namespace: 'ns' })],
  },
  'op.store.delete': {
    before: [['op.store.set', { key: 'gone', value: false }]],
    args: () => ({ key: 'gone' }),
    data: { namespace: 'tenant:acme', key: 'gone', deleted: true },
    permission: 'store_access',
    bad: [missing({}), badName({ key: '\u007f' })],
  },
  'op.store.list': {
    before: [
      ['op.store.set', { key: 'b', namespace: 'list', value: 1 }],
      ['op.store.set', { key: 'a:b', namespace: 'list', value: 1 }],
    ],
    args: () => ({ namespace: 'list' }),
    data: { namespace: 'list', count: 2, keys: ['a:b', 'b'] },
    permission: 'store_access',
    bad: [badName({ namespace: 'n'.repeat(257) })],
  },
}

let bus: BusInProcess
let unstored: BusInProcess
let user: WireClient
let json: WireClient
let admins: readonly WireClient[]
beforeAll(async () => {
  const env = { ARQONBUS_ENABLE_AUTH: 'true', ARQONBUS_AUTH_JWT_SECRET: secret }
  bus = await startBusInProcess({ env })
  unstored = await startBusInProcess({ history: 'none' })
  user = await bus.client({ token: await tokenOf('user'), format: 'protobuf' })
  json = await bus.client({ token: await tokenOf('user') })
  const token = await tokenOf('chief', { role: 'admin' })
  admins = [await bus.client({ token, format: 'protobuf' }), await bus.client({ token })]
  for (let n = 1; n <= 3; n++) await json.publish('stored', 'one', { n }, { sequence: n })
  for (const sequence of [2, 1]) await json.publish('stored', 'regressing', {}, { sequence })
})
afterAll(async () => {
  await bus.close()
  await unstored.close()
})

/** All frames that answer a command: they are all sent before the answer to the next one. */
async function answersTo(client: WireClient, command: string, args: JsonObject): Promise<Envelope[]> {
  const from = client.frames.length
  const response = await client.command(command, args)
  await client.command('ping')
  return client.frames.slice(from).filter((f) => f.request_id === response.request_id || f.id === response.request_id)
}

it('every command of the table has a row', () => {
  expect(Object.keys(rows).sort()).toEqual(commandNames.filter((name) => !isProjectors(name)).sort())
})

describe.each(Object.entries(rows))('%s', (name, row) => {
  it.each(['json', 'protobuf'] as const)(
    'succeeds with one response, then the original’s second frame (%s)',
    async (format) => {
      const token = await tokenOf('user', row.role === undefined ? {} : { role: row.role })
      const client = await bus.client({ token, format })
      for (const [command, args] of row.before ?? []) await client.command(command, args)
      const [response, second, ...more] = await answersTo(client, name, row.args(await tokenOf('user')))
      expect(response).toMatchObject({ type: 'response', status: 'success' })
      expect(dataOf(response!)).toMatchObject(row.data)
      expect(second).toMatchObject({ type: 'command_response', command: name, payload: { result: 'ok' } })
      expect(more).toEqual([])
      for (const command of ['delete_channel'] as const) {
        if (name === 'create_channel') await client.command(command, { room: 'lab', channel: 'made' })
      }
      await client.terminate()
    },
  )

  it('answers each bad form with its code, and with no second frame', async () => {
    for (const { args, code, reason } of row.bad) {
      for (const client of row.role === 'admin' ? admins : [user, json]) {
        const [response, ...more] = await answersTo(client, name, args)
        expect(response, JSON.stringify(args)).toMatchObject({ type: 'response', status: 'error', error_code: code })
        if (reason !== undefined) expect(response!.payload, JSON.stringify(args)).toMatchObject({ reason })
        expect(more).toEqual([])
      }
    }
  })

  it('asks for its permission, which an admin always has', async () => {
    const others = ['channel_access', 'channel_view', 'channel_management'].filter((one) => one !== row.permission)
    const poor = await bus.client({ token: await tokenOf('user', { permissions: others }) })
    const answer = await poor.command(name, {})
    if (row.permission === undefined) expect(answer.error_code).not.toBe('AUTHORIZATION_ERROR')
    else expect(answer.error_code).toBe('AUTHORIZATION_ERROR')
    const admin = await bus.client({ token: await tokenOf('boss', { role: 'admin', permissions: [] }) })
    expect((await admin.command(name, {})).error_code).not.toBe('AUTHORIZATION_ERROR')
    for (const client of [poor, admin]) await client.terminate()
  })

  it('refuses another tenant', async () => {
    const client = row.role === 'admin' ? admins[1]! : json
    const answer = await client.command(name, { tenant_id: 'globex' })
    expect(answer).toMatchObject({ status: 'error', error_code: 'TENANT_MISMATCH' })
  })
})

describe('what is no command', () => {
  it.each(['nothing', 'constructor', '__proto__', 'JOIN_CHANNEL', 'x'.repeat(200)])('%s is unknown', async (name) => {
    for (const client of [user, json]) {
      const [response, ...more] = await answersTo(client, name, {})
      expect(response).toMatchObject({ type: 'response', status: 'error', error_code: 'UNKNOWN_COMMAND' })
      expect(more).toEqual([])
    }
  })

  it('is refused when it has no name', async () => {
    const answer = await json.ask({ type: 'command' })
    expect(answer).toMatchObject({ type: 'error', error_code: 'VALIDATION_ERROR', payload: { field: 'command' } })
  })

  it('is operator.join, which this server does not have', async () => {
    const answer = await json.ask({ type: 'operator.join', payload: { group: 'x' } })
    expect(answer).toMatchObject({ type: 'error', error_code: 'FEATURE_DISABLED' })
  })
})

it.each(['history', 'op.history.get', 'op.history.replay'])('%s is switched off without history', async (name) => {
  const answer = await (await unstored.client()).command(name, { room: 'lab', channel: 'x', ...window })
  expect(answer).toMatchObject({ status: 'error', error_code: 'FEATURE_DISABLED' })
})

it('the original’s form, with command and parameters in the payload, is taken', async () => {
  const id = 'arq_7_1_abcdef'
  const payload = { command: 'list_channels', parameters: { room: 'stored' } }
  json.ws.send(JSON.stringify({ id, type: 'command', payload }))
  const answer = await json.until((frame) => frame.request_id === id, 'response')
  expect(dataOf(answer)).toMatchObject({ total_channels: 2 })
})

it('admins may read every room, an operator alone every tenant', async () => {
  const admin = await bus.client({ token: await tokenOf('boss', { role: 'admin' }) })
  expect(dataOf(await admin.command('op.history.get', {}))).toMatchObject({ count: 5, room: null })
  const operator = await bus.client({ token: await tokenOf('root', { role: 'operator', tenant: '*' }) })
  expect(dataOf(await operator.command('op.history.get', { tenant_id: 'acme' }))).toMatchObject({ count: 5 })
  expect(dataOf(await operator.command('op.history.get', {}))).toMatchObject({ count: 0 })
})

it('frames behind a command wait for it, and take effect in their order', async () => {
  const client = await bus.client({ token: await tokenOf('user') })
  const member = await bus.client({ token: await tokenOf('user') })
  await member.join('order', 'one')
  client.send({ type: 'command', command: 'join_channel', args: { room: 'order', channel: 'one' } })
  client.send({ room: 'order', channel: 'one', payload: { n: 1 } })
  client.send({ type: 'command', command: 'leave_channel', args: { room: 'order', channel: 'one' } })
  const last = client.send({ room: 'order', channel: 'one', payload: { n: 2 } })
  await client.until((frame) => frame.id === last, 'last answer')
  // Acknowledgements wait for the store, and may come after the answer to a later command.
  const types = client.frames.slice(1).map((frame) => frame.type)
  expect(types.slice(0, 2)).toEqual(['response', 'command_response'])
  expect(types.toSorted()).toEqual(
    ['response', 'response', 'command_response', 'command_response', 'message_response', 'message_response'].sort(),
  )
  expect((await member.received(2)).map((frame) => frame.payload)).toEqual([{ n: 1 }, { n: 2 }])
})
