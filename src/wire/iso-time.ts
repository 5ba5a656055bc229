// ISO 8601 times as clients write them (original-contract 2.2). Portable.

const form = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?\s?(Z|z|[+-]\d{2}(?::?\d{2})?)?$/

const earliest = Date.parse('0000-01-01T00:00:00.000Z')
const latest = Date.parse('9999-12-31T23:59:59.999Z')

/** Can it be written with a year of four digits? Other times would not survive being printed and read again. */
export function isWritableTime(ms: number): boolean {
  return ms >= earliest && ms <= latest
}

/** Milliseconds since the epoch, fractions of one cut off; a time without offset is UTC. Undefined when it is none. */
export function parseTime(text: string): number | undefined {
  // The form we emit ourselves, by far the commonest. Printed again, because Date.parse lets 30 February through.
  if (text.length === 24 && text.charCodeAt(23) === 0x5a) {
    const ms = Date.parse(text)
    if (!Number.isNaN(ms) && new Date(ms).toISOString() === text) return ms
  }
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
