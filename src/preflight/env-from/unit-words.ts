// The grammar of systemd's unit files: lines with continuations, words with quotes and escapes, specifiers.
import { badSource } from './variables.ts'

/** One `Name=value` of a unit file. */
export interface Setting {
  readonly section: string
  readonly name: string
  readonly value: string
  /** `path:line`, of its first line. */
  readonly where: string
}

/** Comments inside a continued line are skipped, as systemd does. */
export function parseUnit(text: string, path: string): Setting[] {
  const settings: Setting[] = []
  let section = ''
  let open: { text: string; line: number } | undefined
  for (const [index, raw] of text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .entries()) {
    const line = raw.replace(/\r$/, '')
    if (/^\s*[#;]/.test(line)) continue
    const joined = (open?.text ?? '') + line
    const start = open?.line ?? index + 1
    if (joined.endsWith('\\')) {
      open = { text: `${joined.slice(0, -1)} `, line: start }
      continue
    }
    open = undefined
    take(joined.trim(), start)
  }
  if (open !== undefined) take(open.text.trim(), open.line)
  return settings

  function take(line: string, number: number): void {
    if (line === '') return
    const where = `${path}:${number}`
    const header = /^\[([^\]]*)\]$/.exec(line)
    if (header !== null) {
      section = header[1]!
      return
    }
    const equals = line.indexOf('=')
    if (equals < 1) throw badSource(`${where} is no setting (content hidden): correct or remove the line`)
    settings.push({ section, name: line.slice(0, equals).trimEnd(), value: line.slice(equals + 1).trimStart(), where })
  }
}

const escapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  s: ' ',
  '\\': '\\',
  '"': '"',
  "'": "'",
}

/** Words at white space; quotes of both kinds, anywhere in a word; escapes as in C. */
export function unitWords(text: string, where: string): string[] {
  const words: string[] = []
  let word: string | undefined
  let quote: string | undefined
  for (let at = 0; at < text.length; at++) {
    const letter = text[at]!
    if (letter === '\\') {
      const [plain, length] = unescapeAt(text, at, where)
      word = (word ?? '') + plain
      at += length - 1
    } else if (quote !== undefined) {
      if (letter === quote) quote = undefined
      else word = (word ?? '') + letter
    } else if (letter === '"' || letter === "'") {
      quote = letter
      word ??= ''
    } else if (/\s/.test(letter)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else word = (word ?? '') + letter
  }
  if (quote !== undefined) throw badSource(`${where} has a quote without an end: systemd would ignore the setting`)
  if (word !== undefined) words.push(word)
  return words
}

/** The text of an escape and how many letters it takes. */
function unescapeAt(text: string, at: number, where: string): [string, number] {
  const simple = escapes[text[at + 1] ?? '']
  if (simple !== undefined) return [simple, 2]
  const rest = text.slice(at, at + 10)
  const coded = /^\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2}))/.exec(rest)
  const [all = '', byte, short, long, octal] = coded ?? []
  const point = octal === undefined ? Number.parseInt(byte ?? short ?? long ?? '0', 16) : Number.parseInt(octal, 8)
  if (coded === null || point === 0 || point > 0x10ffff) {
    throw badSource(`${where} has an escape that means nothing: systemd would ignore the setting`)
  }
  return [String.fromCodePoint(point), all.length]
}

/** What `%` and a letter stand for in the unit of this name, for the system manager. Throws for what only systemd knows. */
export function expandSpecifiers(text: string, unit: string, where: string): string {
  const stem = unit.replace(/\.[a-z]+$/, '')
  const at = stem.indexOf('@')
  const prefix = at === -1 ? stem : stem.slice(0, at)
  const instance = at === -1 ? '' : stem.slice(at + 1)
  const meanings: Readonly<Record<string, string>> = {
    '%': '%',
    n: unit,
    N: stem,
    p: prefix,
    P: unescapeName(prefix),
    i: instance,
    I: unescapeName(instance),
    j: prefix.slice(prefix.lastIndexOf('-') + 1),
    t: '/run',
    S: '/var/lib',
    C: '/var/cache',
    L: '/var/log',
    E: '/etc',
    T: '/tmp',
    V: '/var/tmp',
  }
  return text.replaceAll(/%(.?)/gs, (_all, letter: string) => {
    const meaning = meanings[letter]
    if (meaning === undefined) {
      throw badSource(`${where} uses %${letter}, which only systemd can tell: read the process (--env-from pid:N)`)
    }
    return meaning
  })
}

/** `-` is a slash, `\x2d` a byte. */
const unescapeName = (name: string): string =>
  name
    .replaceAll('-', '/')
    .replaceAll(/\\x([0-9a-fA-F]{2})/g, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
