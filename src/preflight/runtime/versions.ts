// Versions and the few forms of ranges that pins use: `24.21.0`, `>=24 <25`, `^24.1`, `~1.82.0`.

type Triple = readonly [number, number, number]

/** Undefined for what is no version. Missing parts count as 0. */
export function parseVersion(text: string): Triple | undefined {
  const match = /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?$/.exec(text)
  return match === null ? undefined : [Number(match[1]), Number(match[2] ?? 0), Number(match[3] ?? 0)]
}

function compare(a: Triple, b: Triple): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2]
}

/** False also for a range or a version of another form: what cannot be read is not met. */
export function inRange(version: string, range: string): boolean {
  const own = parseVersion(version)
  const parts = range.trim().split(/\s+/)
  return own !== undefined && parts.every((part) => meets(own, part))
}

function meets(own: Triple, part: string): boolean {
  const match = /^(>=|>|<=|<|=|\^|~)?(.+)$/.exec(part)
  const bound = parseVersion(match?.[2] ?? '')
  if (bound === undefined) return false
  const order = compare(own, bound)
  switch (match?.[1] ?? '=') {
    case '>=':
      return order >= 0
    case '>':
      return order > 0
    case '<=':
      return order <= 0
    case '<':
      return order < 0
    case '^':
      return order >= 0 && own[0] === bound[0]
    case '~':
      return order >= 0 && own[0] === bound[0] && own[1] === bound[1]
    default:
      return order === 0
  }
}
