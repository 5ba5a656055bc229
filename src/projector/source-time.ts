// `source_ts` of an event: strict RFC 3339 with an offset, kept at microseconds. What a calendar has not is refused:
// JavaScript's own parser makes 2 March of 30 February, and Postgres takes `tomorrow`.

export interface SourceTime {
  /** Microseconds since the epoch, a safe integer for every year of four digits. */
  readonly micros: number
  /** UTC with six digits and `Z`: what goes into a timestamptz. */
  readonly text: string
}

const form =
  /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))$/

/** Undefined for what is no such time. Digits behind the microsecond are cut off. */
export function parseSourceTime(text: string): SourceTime | undefined {
  const match = form.exec(text)
  if (match === null) return undefined
  const part = (index: number): number => Number(match[index] ?? 0)
  const [year, month, day, hour, minute, second] = [part(1), part(2), part(3), part(4), part(5), part(6)]
  if (month < 1 || month > 12 || day < 1 || day > daysOf(year, month)) return undefined
  if (hour > 23 || minute > 59 || second > 59) return undefined
  const fraction = Number((match[7] ?? '').padEnd(6, '0').slice(0, 6))
  const offsetMinutes = (match[8] === '-' ? -1 : 1) * (part(9) * 60 + part(10))
  const utc = new Date(0)
  utc.setUTCFullYear(year, month - 1, day) // Date.UTC takes the years 0 to 99 for those of 1900
  utc.setUTCHours(hour, minute - offsetMinutes, second)
  return fromMicros(utc.getTime() * 1_000 + fraction)
}

export function fromMicros(micros: number): SourceTime {
  const ms = Math.floor(micros / 1_000)
  return { micros, text: `${new Date(ms).toISOString().slice(0, -1)}${String(micros - ms * 1_000).padStart(3, '0')}Z` }
}

function daysOf(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28
  return [4, 6, 9, 11].includes(month) ? 30 : 31
}
