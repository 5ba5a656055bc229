import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toIsoTime } from '../../../src/base/clock.ts'
import { isWritableTime, parseTime } from '../../../src/wire/iso-time.ts'
import { anyText, anyTimeMs } from '../../support/frames.ts'

const noon = Date.parse('2026-01-31T12:00:00.000Z')

describe('parseTime', () => {
  it.each([
    ['what we emit', '2026-01-31T12:00:00.000Z', noon],
    ['without fraction', '2026-01-31T12:00:00Z', noon],
    ['without seconds', '2026-01-31T12:00Z', noon],
    ['without offset, which is UTC', '2026-01-31T12:00:00', noon],
    ['microseconds, cut to milliseconds', '2026-01-31T12:00:00.123999Z', noon + 123],
    ['a naive time of the original', '2026-01-31T12:00:00.147145', noon + 147],
    ['nanoseconds', '2026-01-31T12:00:00.000000001Z', noon],
    ['a tenth of a second', '2026-01-31T12:00:00.5Z', noon + 500],
    ['a decimal comma', '2026-01-31T12:00:00,25Z', noon + 250],
    ['a space in the middle', '2026-01-31 12:00:00+00:00', noon],
    ['a lower-case z', '2026-01-31T12:00:00z', noon],
    ['an offset', '2026-01-31T14:00:00+02:00', noon],
    ['an offset without colon', '2026-01-31T06:30:00-0530', noon],
    ['an offset of hours', '2026-01-31T14:00:00+02', noon],
    ['an offset into another day', '2026-02-01T01:00:00+13:00', noon],
    ['a day alone', '2026-01-31', Date.parse('2026-01-31T00:00:00.000Z')],
    ['a leap day', '2024-02-29T00:00:00.000Z', Date.parse('2024-02-29')],
  ])('reads %s', (_, text, ms) => {
    expect(parseTime(text)).toBe(ms)
  })

  it.each([
    ['30 February as we would emit it', '2026-02-30T00:00:00.000Z'],
    ['30 February without fraction', '2026-02-30T00:00:00Z'],
    ['29 February of a common year', '2026-02-29T12:00:00+01:00'],
    ['31 April alone', '2026-04-31'],
    ['month 13', '2026-13-01T00:00:00.000Z'],
    ['month 0', '2026-00-01T00:00:00Z'],
    ['day 0', '2026-01-00T00:00:00Z'],
    ['hour 25', '2026-01-31T25:00:00.000Z'],
    ['minute 60', '2026-01-31T12:60:00Z'],
    ['second 61', '2026-01-31T12:00:61Z'],
    ['nothing', ''],
    ['a number', '1795417006860'],
    ['words', 'yesterday'],
    ['a date as Americans write it', '01/31/2026'],
    ['a date with words of 24 characters', 'Jan 31 2026 12:00:00.00Z'],
    ['an offset of 99 hours', '2026-01-31T12:00:00+99:00'],
    ['something before', ' 2026-01-31T12:00:00Z'],
    ['something after', '2026-01-31T12:00:00Z\n'],
    ['a year of six digits', '+002026-01-31T12:00:00Z'],
    ['the year 10000 by its offset', '9999-12-31T23:59:59.999-00:01'],
    ['the year -1 by its offset', '0000-01-01T00:00:00+00:01'],
  ])('refuses %s', (_, text) => {
    expect(parseTime(text)).toBeUndefined()
  })

  it('reads every time that can be written', () => {
    fc.assert(fc.property(anyTimeMs, (ms) => parseTime(toIsoTime(ms)) === ms && isWritableTime(ms)))
  })

  it('gives only times that can be written, whatever the text', () => {
    const digit = fc.constantFrom(...'0123456789-:.TZ+ '.split(''))
    const nearly = fc.string({ unit: digit, maxLength: 30 })
    fc.assert(
      fc.property(fc.oneof(anyText, nearly), (text) => {
        const ms = parseTime(text)
        return ms === undefined || isWritableTime(ms)
      }),
      { numRuns: 2_000 },
    )
  })
})
