// Takes secrets out of whatever the preflight shows or writes: known values in every form they can take (encodings.ts),
// then what stands where secrets stand (structure.ts). Markers name the variable, with four hex of a keyed hash.
import { createHmac } from 'node:crypto'
import { isJsonObject } from '../../base/json.ts'
import { formsOf, minSecretBytes } from './encodings.ts'
import type { KnownSecret } from './known-secrets.ts'
import { type Match, Matcher } from './matcher.ts'
import { isOwnWord } from './own-words.ts'
import { structureRules } from './structure.ts'
import { unescapedViews } from './unescape.ts'

export interface Redacted {
  readonly bytes: Buffer
  /** By `exact`, `unescaped` and the name of a structure rule; only what found something. */
  readonly counts: Readonly<Record<string, number>>
}

/** Secrets that have the same value, without it. */
export interface Relation {
  readonly fingerprint: string
  readonly names: readonly string[]
}

export interface RedactorFacts {
  /** Names of what is searched for everywhere. */
  readonly swept: readonly string[]
  /** Names of what is replaced only where its place gives it away, and why. */
  readonly structuralOnly: readonly { readonly name: string; readonly because: string }[]
  readonly relations: readonly Relation[]
}

export interface Redactor {
  redact(bytes: Buffer): Redacted
  /** As `redact`, for a text. */
  text(text: string): string
  /** A copy in which every string, names of fields included, is redacted. */
  value<T>(value: T): T
  /** Names of the known secrets that are left in there, however they are encoded; empty when none is. */
  remains(bytes: Buffer): readonly string[]
  /** Four hex: enough to see that two are the same, too little to guess from. */
  fingerprint(value: string): string
  facts(): RedactorFacts
  /** Passes over texts so far, for tests: it does not depend on how many secrets there are. */
  passes(): number
}

/** `key` keys the fingerprints; it is asked for when the first one is made. */
export function createRedactor(secrets: readonly KnownSecret[], key: () => Buffer): Redactor {
  const nameOf = new Map<string, string>()
  const sorted = [...secrets].sort((a, b) => (a.name < b.name ? -1 : 1))
  for (const { name, value } of sorted) if (!nameOf.has(value)) nameOf.set(value, name)
  const names = sorted.map(({ name }) => name).join('\n')
  const why = new Map(sorted.map((secret) => [secret, whyNotSwept(secret, names)]))
  const swept = sorted.filter((secret) => why.get(secret) === undefined)
  const patterns = swept.flatMap(({ value }) => formsOf(value).map((bytes) => ({ bytes, of: value })))
  const matcher = new Matcher(patterns)
  const hmac = (value: string): string => createHmac('sha256', key()).update(value, 'utf8').digest('hex')
  const fingerprints = new Map<string, string>()
  function fingerprint(value: string): string {
    const made = fingerprints.get(value) ?? hmac(value).slice(0, 4)
    fingerprints.set(value, made)
    return made
  }
  const markKnown = (value: string): string => `«secret:${nameOf.get(value) ?? 'unknown'}:${fingerprint(value)}»`
  let passes = 0

  /** A value that is known keeps its name, wherever it stood. */
  const markFound = (kind: string, latin1: string): string => {
    const value = Buffer.from(latin1, 'latin1').toString('utf8')
    const text = nameOf.has(value) ? markKnown(value) : `«secret:${kind}:${fingerprint(value)}»`
    return Buffer.from(text, 'utf8').toString('latin1')
  }

  function replace(bytes: Buffer, matches: readonly Match<string>[]): Buffer {
    const parts: Buffer[] = []
    let from = 0
    for (const { start, end, of } of matches) {
      parts.push(bytes.subarray(from, start), Buffer.from(markKnown(of), 'utf8'))
      from = end
    }
    return Buffer.concat([...parts, bytes.subarray(from)])
  }

  function redact(original: Buffer): Redacted {
    const counts: Record<string, number> = {}
    const exact = matcher.find(original)
    const hidden = unescapedViews(original).flatMap(({ bytes, at }) =>
      matcher.find(bytes).map(({ start, end, of }) => ({ start: at[start]!, end: at[end]!, of })),
    )
    const matches = joined([...exact, ...hidden])
    if (exact.length > 0) counts['exact'] = exact.length
    if (matches.length > exact.length) counts['unescaped'] = matches.length - exact.length
    const bytes = matches.length === 0 ? original : replace(original, matches)
    let text = bytes.toString('latin1')
    for (const { name, apply } of structureRules) {
      passes++
      text = apply(text, (kind, value) => {
        counts[name] = (counts[name] ?? 0) + 1
        return markFound(kind, value)
      })
    }
    return { bytes: Buffer.from(text, 'latin1'), counts }
  }

  const text = (plain: string): string => redact(Buffer.from(plain, 'utf8')).bytes.toString('utf8')

  return {
    redact,
    text,
    value: (value) => mapStrings(value, text),
    remains: (bytes) => {
      const values = new Set(viewsOf(bytes).flatMap((view) => matcher.find(view).map(({ of }) => of)))
      return [...values].map((value) => nameOf.get(value) ?? 'unknown').sort()
    },
    fingerprint,
    facts: () => ({
      swept: [...new Set(swept.map(({ name }) => name))],
      structuralOnly: sorted.flatMap((secret) => {
        const because = why.get(secret)
        return because === undefined ? [] : [{ name: secret.name, because }]
      }),
      relations: relationsOf(sorted, hmac),
    }),
    passes: () => passes + matcher.passes,
  }
}

/** In order and without overlap; of two that overlap, the longer one gives the name. */
function joined(matches: readonly Match<string>[]): Match<string>[] {
  const result: Match<string>[] = []
  for (const match of [...matches].sort((a, b) => a.start - b.start || b.end - a.end)) {
    const last = result.at(-1)
    if (last === undefined || match.start >= last.end) result.push(match)
    else if (match.end > last.end) result[result.length - 1] = { ...last, end: match.end }
  }
  return result
}

function whyNotSwept({ value, kind }: KnownSecret, names: string): string | undefined {
  if (kind === 'user') return 'a user name'
  // `API_TOKEN=API_TOKEN`: markers and this report itself would hold it.
  if (Buffer.byteLength(value.trim()) < minSecretBytes) return `shorter than ${minSecretBytes} bytes`
  if (names.includes(value.trim())) return 'the name of a variable'
  return isOwnWord(value) ? 'a word of the preflight' : undefined
}

function relationsOf(secrets: readonly KnownSecret[], hmac: (value: string) => string): Relation[] {
  const names = new Map<string, Set<string>>()
  for (const { name, value } of secrets) {
    const id = hmac(value)
    names.set(id, (names.get(id) ?? new Set()).add(name))
  }
  return [...names]
    .filter(([, group]) => group.size > 1)
    .map(([id, group]) => ({ fingerprint: id.slice(0, 4), names: [...group].sort() }))
    .sort((a, b) => (a.names.join() < b.names.join() ? -1 : 1))
}

function mapStrings<T>(value: T, change: (text: string) => string): T {
  const map = (inner: unknown): unknown => {
    if (typeof inner === 'string') return change(inner)
    if (Array.isArray(inner)) return inner.map(map)
    if (!isJsonObject(inner)) return inner
    return Object.fromEntries(Object.entries(inner).map(([name, field]) => [change(name), map(field)]))
  }
  return map(value) as T // the same shape, string for string
}

/** What is encoded twice is decoded twice. */
const maxNesting = 2
const minRun = 12
const letters = (form: RegExp): readonly boolean[] =>
  Array.from({ length: 256 }, (_, byte) => form.test(String.fromCharCode(byte)))
const base64Letters = letters(/[A-Za-z0-9+/_-]/)
const hexLetters = letters(/[0-9a-f]/i)

/** The bytes, and what they hold when they are unescaped and when runs of base64 and hex in them are decoded. */
function viewsOf(bytes: Uint8Array, nesting = 0): Uint8Array[] {
  const views = [bytes, ...unescapedViews(bytes).map((view) => view.bytes)]
  if (nesting === maxNesting) return views
  // The last view has everything unescaped: padding, and slashes in base64, may be.
  const text = views.at(-1)!
  const inside: Buffer[] = []
  const add = (part: Buffer): void => void inside.push(part, Buffer.from('\n'))
  for (const run of runsOf(text, base64Letters)) {
    // A run may begin anywhere in an encoded text: at each of the four letters of a group.
    for (let skip = 0; skip < 4; skip++) add(Buffer.from(run.slice(skip), 'base64url'))
  }
  for (const run of runsOf(text, hexLetters))
    for (let skip = 0; skip < 2; skip++) add(Buffer.from(run.slice(skip), 'hex'))
  return inside.length === 0 ? views : [...views, ...viewsOf(Buffer.concat(inside), nesting + 1)]
}

/** By hand: a regular expression runs out of stack over a run of megabytes. */
function* runsOf(text: Uint8Array, isLetter: readonly boolean[]): Generator<string> {
  const buffer = Buffer.from(text.buffer, text.byteOffset, text.length)
  for (let start = 0; start < text.length; ) {
    let end = start
    while (end < text.length && isLetter[text[end]!] === true) end++
    if (end - start >= minRun) yield buffer.toString('latin1', start, end)
    start = end + 1
  }
}
