// A text read without its escapes, with the place in the original of each byte: however percent signs, backslashes and
// entities are mixed and nested, what they hide stands in it plainly.

export interface View {
  readonly bytes: Uint8Array
  /** Place in the original of each byte, and of the end. */
  readonly at: Uint32Array
}

const percentSign = 0x25
const backslash = 0x5c
const ampersand = 0x26

/** One after the other; a secret may hold what is an escape elsewhere, so no kind is always read. */
const readings: readonly (readonly number[])[][] = [
  [[percentSign], [percentSign]],
  [[backslash], [backslash]],
  [[ampersand]],
  [
    [percentSign, backslash, ampersand],
    [percentSign, backslash, ampersand],
    [percentSign, backslash, ampersand],
  ],
]

/** What the text says in each reading that changes it: one kind of escape, all kinds, and escapes of escapes. */
export function unescapedViews(original: Uint8Array): View[] {
  return readings.flatMap((rounds) => {
    const views: View[] = []
    for (const kinds of rounds) {
      const last = views.at(-1)
      const next = unescapeOnce(last?.bytes ?? original, kinds)
      if (next === undefined) break
      views.push(last === undefined ? next : { bytes: next.bytes, at: next.at.map((place) => last.at[place]!) })
    }
    return views
  })
}

function unescapeOnce(text: Uint8Array, kinds: readonly number[]): View | undefined {
  if (!kinds.some((kind) => text.includes(kind))) return undefined
  const bytes = new Uint8Array(text.length)
  const at = new Uint32Array(text.length + 1)
  let size = 0
  let hasChanged = false
  for (let place = 0; place < text.length; ) {
    const found = kinds.includes(text[place]!) ? escapeAt(text, place) : undefined
    if (found === undefined) {
      at[size] = place
      bytes[size++] = text[place++]!
      continue
    }
    hasChanged = true
    for (const byte of found.bytes) {
      at[size] = place
      bytes[size++] = byte
    }
    place += found.length
  }
  at[size] = text.length
  return hasChanged ? { bytes: bytes.subarray(0, size), at: at.subarray(0, size + 1) } : undefined
}

interface Escape {
  readonly bytes: Uint8Array | readonly number[]
  /** Of the escape in the text; never less than there are bytes. */
  readonly length: number
}

function escapeAt(text: Uint8Array, place: number): Escape | undefined {
  const first = text[place]
  if (first === percentSign) return digitsAt(text, place + 1, 2, 1)
  if (first === backslash) return backslashAt(text, place)
  return first === ampersand ? entityAt(text, place) : undefined
}

const single: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, b: 8, f: 12 }

function backslashAt(text: Uint8Array, place: number): Escape | undefined {
  const next = text[place + 1]
  if (next === undefined) return undefined
  const letter = String.fromCharCode(next)
  if (letter === 'x') return digitsAt(text, place + 2, 2, 2)
  if (letter === 'u') return unitAt(text, place)
  if (single[letter] !== undefined) return { bytes: [single[letter]], length: 2 }
  return /[^a-z0-9]/i.test(letter) ? { bytes: [next], length: 2 } : undefined
}

/** `\uXXXX`, and the second half of a pair with it. */
function unitAt(text: Uint8Array, place: number): Escape | undefined {
  const unit = hexAt(text, place + 2, 4)
  if (unit === undefined) return undefined
  const isHigh = unit >= 0xd800 && unit < 0xdc00 && text[place + 6] === backslash && text[place + 7] === 0x75
  const low = isHigh ? hexAt(text, place + 8, 4) : undefined
  const letter = low === undefined ? String.fromCharCode(unit) : String.fromCharCode(unit, low)
  return { bytes: Buffer.from(letter, 'utf8'), length: low === undefined ? 6 : 12 }
}

const names: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function entityAt(text: Uint8Array, place: number): Escape | undefined {
  const end = text.subarray(place, place + 10).indexOf(0x3b)
  if (end < 2) return undefined
  const word = Buffer.from(text.subarray(place + 1, place + end)).toString('latin1')
  const named = names[word]
  const code = /^#\d{1,7}$/.test(word)
    ? Number(word.slice(1))
    : /^#x[0-9a-f]{1,6}$/i.test(word)
      ? Number.parseInt(word.slice(2), 16)
      : undefined
  if (named === undefined && (code === undefined || code > 0x10ffff)) return undefined
  return { bytes: Buffer.from(named ?? String.fromCodePoint(code!), 'utf8'), length: end + 1 }
}

function digitsAt(text: Uint8Array, place: number, count: number, lead: number): Escape | undefined {
  const byte = hexAt(text, place, count)
  return byte === undefined ? undefined : { bytes: [byte], length: lead + count }
}

function hexAt(text: Uint8Array, place: number, count: number): number | undefined {
  let value = 0
  for (let at = place; at < place + count; at++) {
    const digit = hexDigit(text[at])
    if (digit === undefined) return undefined
    value = value * 16 + digit
  }
  return value
}

function hexDigit(byte: number | undefined): number | undefined {
  if (byte === undefined) return undefined
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : undefined
}
