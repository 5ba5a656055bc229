// How the text of a variable becomes a value. Strict and total: nothing is trimmed, no tail is ignored, no word other
// than the listed ones is a boolean; whatever is not understood is refused with a code and what was expected.
import { parsePattern } from '../base/subject-pattern.ts'
import { Secret } from './secret.ts'
import { isLoopbackHost } from './urls.ts'

export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly code: string }

export interface Reader<T> {
  /** What is accepted, as words that follow "set": `an integer from 1 to 10`. */
  readonly expects: string
  /** `name` is the variable's. Never throws. */
  parse(text: string, name: string): Parsed<T>
}

const good = <T>(value: T): Parsed<T> => ({ ok: true, value })
const bad = (code: string): Parsed<never> => ({ ok: false, code })

/** What is wrong with a text whatever its type: empty, or with white space at an end. */
export function textFault(text: string): string | undefined {
  if (text === '') return 'BLANK'
  if (/^\s+$/u.test(text)) return 'BLANK'
  if (/^\S[^\n]*\n$/u.test(text) && !/\s/u.test(text.at(-2) ?? '')) return 'TRAILING_NEWLINE'
  if (/^\s|\s$/u.test(text)) return 'SURROUNDING_SPACE'
  return undefined
}

function plain<T>(expects: string, parse: (text: string, name: string) => Parsed<T>): Reader<T> {
  return {
    expects,
    parse(text, name) {
      const fault = textFault(text)
      return fault === undefined ? parse(text, name) : bad(fault)
    },
  }
}

const booleans: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['1', true],
  ['false', false],
  ['0', false],
])

export const boolean: Reader<boolean> = plain('true or false (also 1 or 0)', (text) => {
  const value = booleans.get(text.toLowerCase())
  return value === undefined ? bad('NOT_A_BOOLEAN') : good(value)
})

/** Decimal digits only, inclusive bounds. */
export function integer(min: number, max: number): Reader<number> {
  return plain(`an integer from ${min} to ${max}`, (text) => {
    if (!/^\d{1,16}$/.test(text)) return bad('NOT_AN_INTEGER')
    const value = Number(text)
    return value < min || value > max ? bad('OUT_OF_RANGE') : good(value)
  })
}

/** 0 lets the system choose a free port; production rules refuse it. */
export const port: Reader<number> = integer(0, 65_535)

const hostForm =
  /^(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}))*|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?)$/

export const host: Reader<string> = plain('a host name or an IP address, without port', (text) =>
  text.length <= 253 && hostForm.test(text) ? good(text) : bad('NOT_A_HOST'),
)

const hasControlCharacter = (value: string): boolean => {
  for (const letter of value) if (letter < ' ' || letter === '\u007f') return true
  return false
}

export const text: Reader<string> = plain('a non-empty text', (value) =>
  hasControlCharacter(value) ? bad('CONTROL_CHARACTER') : good(value),
)

export const path: Reader<string> = { ...text, expects: 'the path of a file or folder' }

const publicKeyForm = /^ed25519:(?<key>[A-Za-z0-9+/]{43}=)$/

/** One spelling for one key. */
export const publicKey: Reader<string> = plain('ed25519: and the base64 of 32 bytes', (value) => {
  const key = publicKeyForm.exec(value)?.groups?.['key']
  return key !== undefined && Buffer.from(key, 'base64').toString('base64') === key ? good(value) : bad('NOT_A_KEY')
})

export const secret: Reader<Secret> = plain('a secret text', (value, name) => good(new Secret(name, value)))

/** An address that may hold a password; its form is judged where it is used. */
export const address: Reader<Secret> = { ...secret, expects: 'an address' }

/** Where a file of keys is fetched: encrypted, unless it does not leave this machine. */
export const keysAddress: Reader<Secret> = plain('an https address (http only to this machine)', (value, name) => {
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) return bad('NOT_AN_ADDRESS')
  if (url.username !== '' || url.password !== '') return bad('HAS_CREDENTIALS')
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname)) return bad('NO_TLS')
  return good(new Secret(name, value))
})

/** One of a list of words in any letter case; a word may stand for another one. */
export function oneOf<const T extends string>(words: Readonly<Record<string, T>>): Reader<T> {
  const table = new Map(Object.entries(words).map(([word, value]) => [word.toLowerCase(), value]))
  return plain(`one of ${Object.keys(words).join(', ')}`, (value) => {
    const found = table.get(value.toLowerCase())
    return found === undefined ? bad('NOT_ONE_OF') : good(found)
  })
}

/** Comma separated; an empty text is the empty list, an empty item or one with white space around it an error. */
export function list(item: Reader<string>): Reader<readonly string[]> {
  return {
    expects: `a comma-separated list, each ${item.expects}`,
    parse(value, name) {
      if (value === '') return good([])
      const items: string[] = []
      for (const part of value.split(',')) {
        const parsed = item.parse(part, name)
        if (!parsed.ok) return parsed
        items.push(parsed.value)
      }
      return good(items)
    },
  }
}

/** As `list`, with one item at least: an empty text must not switch off what it was set for. */
export function someOf(item: Reader<string>): Reader<readonly string[]> {
  const all = list(item)
  return { expects: all.expects, parse: (value, name) => (value === '' ? bad('BLANK') : all.parse(value, name)) }
}

/** Whatever proves who someone is stays with the gateway. */
const credentialHeader =
  /^(?:authorization|proxy-authorization|cookie|set-cookie|sec-websocket-.*|x-arqon-.*|.*token.*|.*secret.*|.*api-?key.*)$/

export const headerName: Reader<string> = plain(
  'the name of a header in lower case, not one with credentials',
  (value) => {
    if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(value)) return bad('NOT_A_HEADER')
    return credentialHeader.test(value) ? bad('HOLDS_CREDENTIALS') : good(value)
  },
)

export const fieldName: Reader<string> = plain('a name of letters, digits, - and _', (value) =>
  /^[A-Za-z0-9_-]{1,64}$/.test(value) && /[A-Za-z0-9]/.test(value) ? good(value) : bad('NOT_A_NAME'),
)

export const origin: Reader<string> = plain('an origin such as https://app.example.com', (value) => {
  const url = URL.canParse(value) ? new URL(value) : undefined
  return url !== undefined && url.origin === value ? good(value) : bad('NOT_AN_ORIGIN')
})

export const sha256: Reader<string> = plain('the 64 hex digits of a SHA-256', (value) =>
  /^[0-9A-Fa-f]{64}$/.test(value) ? good(value.toLowerCase()) : bad('NOT_A_SHA256'),
)

/** The file's name without `.wasm` says which policy. */
export const policyPin: Reader<string> = plain(
  'the name of a policy, a colon and the 64 hex digits of its SHA-256',
  (value) => (/^[\w.-]{1,128}:[0-9A-Fa-f]{64}$/.test(value) ? good(lowerHex(value)) : bad('NOT_A_PIN')),
)

const lowerHex = (pin: string): string => pin.slice(0, -64) + pin.slice(-64).toLowerCase()

/** Subjects have no colon: it divides. */
export const mirrorRule: Reader<string> = plain(
  'a subject pattern, a colon and a share from 0 to 1, such as in.t.acme.raw:0.1',
  (value) => {
    const [pattern = '', share = '', ...rest] = value.split(':')
    const isGood = rest.length === 0 && shareForm.test(share) && isPattern(pattern)
    return isGood ? good(value) : bad('NOT_A_MIRROR_RULE')
  },
)

const shareForm = /^(?:0(?:\.\d{1,9})?|1(?:\.0{1,9})?)$/

function isPattern(text: string): boolean {
  try {
    parsePattern(text)
    return true
  } catch {
    return false
  }
}
