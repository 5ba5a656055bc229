// ISO 8601 times as clients write them (original-contract 2.2), and as we print them. Portable.
import { toIsoTime } from '../base/clock.ts'

const form = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?\s?(Z|z|[+-]\d{2}(?::?\d{2})?)?$/

const earliest = Date.parse('0000-01-01T00:00:00.000Z')
const latest = Date.parse('9999-12-31T23:59:59.999Z')

/** Can it be written with a year of four digits? Other times would not survive being printed and read again. */
export function isWritableTime(ms: number): boolean {
  return ms >= earliest && ms <= latest
}

/** Milliseconds since the epoch, fractions of one cut off; a time without offset is UTC. Undefined when it is none. */
export function parseTime(text: string): number | undefined {
  return text.length === 24 ? (parsePrinted(text) ?? parseAny(text)) : parseAny(text)
}

/** The form that `printTime` makes, by far the commonest, at a tenth of the cost of the general way. */
function parsePrinted(text: string): number | undefined {
  const isForm =
    text.charCodeAt(4) === 0x2d &&
    text.charCodeAt(7) === 0x2d &&
    text.charCodeAt(10) === 0x54 &&
    text.charCodeAt(13) === 0x3a &&
    text.charCodeAt(16) === 0x3a &&
    text.charCodeAt(19) === 0x2e &&
    text.charCodeAt(23) === 0x5a
  if (!isForm) return undefined
  const [year, month, day] = [digits(text, 0, 4), digits(text, 5, 2), digits(text, 8, 2)]
  const [hour, minute, second] = [digits(text, 11, 2), digits(text, 14, 2), digits(text, 17, 2)]
  const ms = digits(text, 20, 3)
  // Written so that NaN fails. Days that only some months have, and years that Date.UTC moves, are left to parseAny.
  const isPlain = year >= 100 && month >= 1 && month <= 12 && day >= 1 && day <= 28
  if (!(isPlain && hour < 24 && minute < 60 && second < 60 && ms >= 0)) return undefined
  return Date.UTC(year, month - 1, day, hour, minute, second, ms)
}

/** NaN when one of them is no digit. */
function digits(text: string, start: number, count: number): number {
  let value = 0
  for (let i = start; i < start + count; i++) {
    const digit = text.charCodeAt(i) - 0x30
    if (digit < 0 || digit > 9) return Number.NaN
    value = value * 10 + digit
  }
  return value
}

function parseAny(text: string): number | undefined {
  const match = form.exec(text)
  if (match === null) return undefined
  const [, day, minutes = '00:00', seconds = '00', fraction = '', offset = 'Z'] = match
  const zone =
    offset.length === 3
      ? `${offset}:00`
      : offset.length === 5
        ? `${offset.slice(0, 3)}:${offset.slice(3)}`
        : offset.toUpperCase()
  const ms = Date.parse(`${day}T${minutes}:${seconds}.${fraction.padEnd(3, '0').slice(0, 3)}${zone}`)
  if (!isWritableTime(ms)) return undefined // nor is NaN
  // JavaScript turns 30 February into 2 March: a day must survive the round trip.
  const wall = new Date(Date.parse(`${day}T00:00:00Z`))
  return wall.toISOString().startsWith(day!) ? ms : undefined
}

const dayMs = 86_400_000
const printedDay = { number: Number.NaN, text: '' }
const twoDigits = Array.from({ length: 60 }, (_, n) => String(n).padStart(2, '0'))

/** As `toIsoTime`, for times that `isWritableTime`; the day is printed once and remembered. */
export function printTime(ms: number): string {
  const number = Math.floor(ms / dayMs)
  if (number !== printedDay.number) {
    printedDay.text = toIsoTime(ms).slice(0, 11)
    printedDay.number = number
  }
  const rest = ms - number * dayMs
  const fraction = rest % 1_000
  const seconds = (rest - fraction) / 1_000
  const hour = twoDigits[Math.floor(seconds / 3_600)]!
  const minute = twoDigits[Math.floor(seconds / 60) % 60]!
  const thousandths = fraction < 10 ? `00${fraction}` : fraction < 100 ? `0${fraction}` : `${fraction}`
  return `${printedDay.text}${hour}:${minute}:${twoDigits[seconds % 60]!}.${thousandths}Z`
}
