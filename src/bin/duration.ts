// Durations of the command line: `500ms`, `90s`, `5m`, `2h`, `1d`.
import { InvalidArgumentError } from 'commander'

const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds. Throws InvalidArgumentError with the form that is meant. */
export function parseDuration(text: string): number {
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text)
  if (match === null) throw new InvalidArgumentError('It has to be a number with ms, s, m, h or d, for example 90s.')
  return Number(match[1]) * units[match[2]!]!
}
