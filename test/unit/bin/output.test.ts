import { describe, expect, it } from 'vitest'
import { BusError } from '../../../src/base/errors.ts'
import { describe as describePublish } from '../../../src/bin/commands/publish.ts'
import { configRows } from '../../../src/bin/config-rows.ts'
import { describeFailure, ExitError, exitCodes } from '../../../src/bin/exit-codes.ts'
import { localUrl } from '../../../src/bin/local-url.ts'
import { envelopeLine, messageLine } from '../../../src/bin/message-line.ts'
import { toPrintableJson, toPrintableWord } from '../../../src/bin/terminal.ts'
import { ClientError } from '../../../src/client/client.ts'
import { resolveKeys } from '../../../src/config/resolve.ts'

const clearScreen = '\u001b[2J'

describe('what a command prints of a message', () => {
  const message = {
    timestamp: '2026-11-23T20:00:00.000Z',
    room: 'lab',
    channel: 'general',
    sender: 'arq_client_1',
    payload: { text: 'hi' },
    position: { epoch: 1, sequence: 7 },
  }

  it('is one line with time, place, position, sender and payload', () => {
    expect(messageLine(message)).toBe('2026-11-23T20:00:00.000Z  lab:general  1:7  arq_client_1  {"text":"hi"}')
    expect(messageLine({ ...message, position: undefined, sender: undefined })).toContain('  -  -  ')
    const { position, ...envelope } = message
    expect(envelopeLine(envelope, position)).toBe(messageLine(message))
  })

  it('cannot steer the terminal, whatever the message holds', () => {
    const nasty = `${clearScreen}\u009b2J\u202e\u{e0001}\n`
    const line = messageLine({ ...message, room: nasty, sender: nasty, timestamp: nasty, payload: { [nasty]: nasty } })
    const steering = Array.from(line).filter((mark) => /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(mark))
    expect(steering).toEqual([])
    expect(JSON.parse(toPrintableJson({ [nasty]: nasty }))).toEqual({ [nasty]: nasty })
  })

  it('leaves ordinary names as they are and quotes the rest', () => {
    expect(['lab', 'räume/größe', '*', 'a b', ''].map(toPrintableWord)).toEqual([
      'lab',
      'räume/größe',
      '*',
      '"a b"',
      '""',
    ])
  })
})

describe('what a publish says', () => {
  it('tells stored, stored before, accepted and merely sent apart', () => {
    const base = { id: 'arq_1', position: { epoch: 2, sequence: 5 }, level: 'disk' as const, duplicate: false }
    expect(describePublish(base)).toBe('stored at 2:5 (disk) as arq_1')
    expect(describePublish({ ...base, duplicate: true })).toBe('stored before at 2:5 (disk) as arq_1')
    expect(describePublish({ ...base, position: undefined, level: 'memory' })).toBe('accepted (memory) as arq_1')
    expect(describePublish({ ...base, position: undefined, level: undefined })).toBe('sent as arq_1')
  })
})

describe('an error', () => {
  it.each([
    [new ClientError('AUTHORIZATION_ERROR', 'no'), exitCodes.denied],
    [new ClientError('CONNECTION_FAILED', 'no'), exitCodes.unreachable],
    [new ClientError('CHANNEL_NOT_FOUND', 'no'), exitCodes.failure],
    [new BusError('CONFIG_INVALID'), exitCodes.config],
    [new BusError('PORT_UNAVAILABLE'), exitCodes.unreachable],
    [new ExitError(exitCodes.usage, 'no', 'do this'), exitCodes.usage],
    [new TypeError('a bug'), exitCodes.failure],
    ['not even an error', exitCodes.failure],
  ])('%s ends with its exit code', (error, exitCode) => {
    expect(describeFailure(error).exitCode).toBe(exitCode)
  })

  it('says what to do, and keeps the stack of what nobody foresaw', () => {
    expect(describeFailure(new ExitError(exitCodes.usage, 'wrong', 'do this')).lines).toEqual(['wrong', 'do this'])
    const unknown = new ClientError('REQUEST_TIMEOUT', 'no answer', { outcome: 'unknown' })
    expect(describeFailure(unknown).lines.join(' ')).toContain('same --id')
    expect(describeFailure(new TypeError('a bug')).lines[0]).toContain('output.test.ts')
  })
})

describe('the address on this machine', () => {
  it('follows the variables of the servers', () => {
    expect(localUrl('ws', 'server', {})).toBe('ws://127.0.0.1:9100')
    expect(localUrl('http', 'http', { ARQONBUS_HTTP_PORT: '8090', ARQONBUS_HTTP_HOST: '0.0.0.0' })).toBe(
      'http://127.0.0.1:8090',
    )
    expect(localUrl('ws', 'server', { ARQONBUS_SERVER_HOST: '::1' })).toBe('ws://[::1]:9100')
  })
})

describe('the printed configuration', () => {
  const secret = 'a-secret-of-at-least-thirty-two-bytes!'
  const rows = configRows(
    resolveKeys({
      JWT_SECRET: secret,
      NATS_URL: 'nats://user:hunter2@nats.internal:4222',
      ARQONBUS_SERVER_PORT: '9200',
    }),
  )
  const row = (key: string): (typeof rows)[number] | undefined => rows.find((one) => one.key === key)

  it('shows values and where they come from', () => {
    expect(row('ARQONBUS_SERVER_PORT')).toMatchObject({ value: '9200', source: 'env ARQONBUS_SERVER_PORT' })
    expect(row('ARQONBUS_SERVER_HOST')).toMatchObject({ value: '127.0.0.1', source: 'default' })
    expect(row('NATS_URL')?.value).toBe('nats://nats.internal:4222')
  })

  it('shows no secret', () => {
    expect(row('JWT_SECRET')?.value).toBe('[hidden]')
    expect(JSON.stringify(rows)).not.toMatch(/a-secret|hunter2/)
  })
})
