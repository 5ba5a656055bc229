// Arguments of commands: every form that is taken, and every refusal by its reason.
import { describe, expect, it } from 'vitest'
import { isBusError } from '../../../src/base/errors.ts'
import type { JsonObject } from '../../../src/base/json.ts'
import {
  limitOf,
  optionalFlag,
  optionalText,
  optionalTime,
  requiredText,
  roomAndChannel,
} from '../../../src/router/args.ts'

/** The value, or `CODE REASON field` of the refusal. */
function outcome(run: () => unknown): unknown {
  try {
    return run()
  } catch (error) {
    if (!isBusError(error)) throw error
    return [error.code, error.details['reason'], error.details['field']].filter((part) => part !== undefined).join(' ')
  }
}

describe('room and channel', () => {
  const cases: readonly [JsonObject, unknown][] = [
    [
      { room: 'lab', channel: 'one' },
      { room: 'lab', channel: 'one' },
    ],
    [
      { room: 'lab', name: 'one' },
      { room: 'lab', channel: 'one' },
    ],
    [
      { room: 'lab', channel_id: 'one' },
      { room: 'lab', channel: 'one' },
    ],
    [{ channel_id: 'lab:one' }, { room: 'lab', channel: 'one' }],
    [{ channel: 'lab:one:two' }, { room: 'lab', channel: 'one:two' }],
    [
      { room: 'lab', channel: 'a:b' },
      { room: 'lab', channel: 'a:b' },
    ],
    [
      { room: null, channel: 'lab:one' },
      { room: 'lab', channel: 'one' },
    ],
    [
      { room: 'lab', channel: 'Raum 1 ü' },
      { room: 'lab', channel: 'Raum 1 ü' },
    ],
    [{ channel: 'one' }, 'VALIDATION_ERROR MISSING_ARGUMENT room'],
    [{ channel: ':one' }, 'VALIDATION_ERROR MISSING_ARGUMENT room'],
    [{ room: 'lab' }, 'VALIDATION_ERROR MISSING_ARGUMENT channel'],
    [{ room: 'lab', channel: null }, 'VALIDATION_ERROR MISSING_ARGUMENT channel'],
    [{}, 'VALIDATION_ERROR MISSING_ARGUMENT room'],
  ]
  it.each(cases)('%j become %j', (args, expected) => {
    expect(outcome(() => roomAndChannel(args))).toEqual(expected)
  })

  const bad: readonly JsonObject[] = [
    { room: 'lab', channel: '' },
    { room: '', channel: 'one' },
    { room: 'lab', channel: 7 },
    { room: ['lab'], channel: 'one' },
    { room: '*', channel: 'one' },
    { room: 'lab', channel: '>' },
    { room: 'lab', channel: 'a\u0000b' },
    { room: 'lab', channel: 'x'.repeat(129) },
    { room: 'lab', channel: '\ud800' },
  ]
  it.each(bad)('%j are refused', (args) => {
    expect(outcome(() => roomAndChannel(args, true))).toMatch(/^VALIDATION_ERROR /)
  })

  it('take * as the channel only where a whole room may be meant', () => {
    expect(roomAndChannel({ room: 'lab', channel: '*' }, true)).toEqual({ room: 'lab', channel: '*' })
    expect(roomAndChannel({ channel_id: 'lab:*' }, true)).toEqual({ room: 'lab', channel: '*' })
    expect(outcome(() => roomAndChannel({ room: 'lab', channel: '*' }))).toMatch(/^VALIDATION_ERROR /)
  })
})

describe('text', () => {
  it.each([
    [undefined, undefined],
    [null, undefined],
    ['', undefined],
    [' ', ' '],
    ['x', 'x'],
    [7, 'VALIDATION_ERROR BAD_ARGUMENT a'],
    [{}, 'VALIDATION_ERROR BAD_ARGUMENT a'],
  ])('%j is %j', (value, expected) => {
    const args: JsonObject = value === undefined ? {} : { a: value }
    expect(outcome(() => optionalText(args, 'a'))).toEqual(expected)
    expect(outcome(() => requiredText(args, 'a'))).toEqual(expected ?? 'VALIDATION_ERROR MISSING_ARGUMENT a')
  })
})

describe('a limit', () => {
  const bounds = { min: 1, max: 10, default: 5 }
  it.each([
    [undefined, 5],
    [null, 5],
    [1, 1],
    [10, 10],
    [10.0, 10],
  ])('%j is %j', (value, expected) => {
    expect(limitOf(value === undefined ? {} : { n: value }, 'n', bounds)).toBe(expected)
  })
  it.each([0, 11, -1, 1.5, '5', true, {}, []])('%j is refused', (value) => {
    expect(outcome(() => limitOf({ n: value }, 'n', bounds))).toBe('VALIDATION_ERROR BAD_LIMIT n')
  })
})

describe('a flag', () => {
  it.each([
    [undefined, true],
    [null, true],
    [false, false],
    [true, true],
    ['true', 'VALIDATION_ERROR BAD_ARGUMENT f'],
    [0, 'VALIDATION_ERROR BAD_ARGUMENT f'],
  ])('%j is %j', (value, expected) => {
    expect(outcome(() => optionalFlag(value === undefined ? {} : { f: value }, 'f', true))).toBe(expected)
  })
})

describe('a time', () => {
  it.each([
    ['2026-01-31T12:00:00Z', '2026-01-31T12:00:00.000Z'],
    ['2026-01-31T12:00:00.123456789Z', '2026-01-31T12:00:00.123Z'],
    ['2026-01-31 12:00:00', '2026-01-31T12:00:00.000Z'],
    ['2026-01-31T12:00', '2026-01-31T12:00:00.000Z'],
    ['2026-01-31', '2026-01-31T00:00:00.000Z'],
    ['2026-01-31T12:00:00+02:00', '2026-01-31T10:00:00.000Z'],
  ])('%s is %s', (text, expected) => {
    expect(new Date(optionalTime({ t: text }, 't')!).toISOString()).toBe(expected)
  })
  it.each(['yesterday', '2026-13-01T00:00:00Z', '2026-01-31T25:00:00Z', '12:00', '2026-1-1', '1700000000'])(
    '%s is refused',
    (text) => {
      expect(outcome(() => optionalTime({ t: text }, 't'))).toBe('INVALID_TIMESTAMP t')
    },
  )
  it('may be absent', () => {
    expect(optionalTime({}, 't')).toBeUndefined()
    expect(optionalTime({ t: '' }, 't')).toBeUndefined()
  })
})
