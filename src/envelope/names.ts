// The grammars of names, and their escaping into subject tokens and key parts. A name is refused, never normalised:
// mapping bad characters together would merge tenants.
import { invalid } from '../base/errors.ts'

const tenantForm = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/ // reliability 2.1 (6)

/** Is this a tenant id? `arqon-` tenants are reserved for the system (design 4) but are valid names. */
export function isTenant(name: string): boolean {
  return tenantForm.test(name)
}

/** Reserved tenants belong to the system's own probes; tokens of clients may not name them. */
export function isReservedTenant(name: string): boolean {
  return name.startsWith('arqon-')
}

const encoder = new TextEncoder()

/**
 * Why a room or channel name is refused, or undefined when it is good: 1 to 128 bytes of well-formed UTF-8,
 * no control characters, neither `*` nor `>` as the whole name (design 4).
 */
export function nameProblem(name: string): string | undefined {
  if (name === '') return 'is empty'
  if (name === '*' || name === '>') return 'may not be a wildcard'
  // A UTF-16 unit is at most three bytes of UTF-8: short names need not be encoded to be measured.
  if (name.length > 128 || (name.length > 42 && encoder.encode(name).length > 128)) return 'is longer than 128 bytes'
  if (!name.isWellFormed()) return 'is not well-formed Unicode'
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i)
    if (code < 0x20 || (code >= 0x7f && code <= 0x9f)) return 'has a control character'
  }
  return undefined
}

/** Returns the name, or throws `VALIDATION_ERROR` / `BAD_NAME` without echoing it. */
export function parseName(field: 'room' | 'channel', name: unknown): string {
  const problem = typeof name === 'string' ? nameProblem(name) : 'is not text'
  if (problem !== undefined) throw invalid('BAD_NAME', `${field} ${problem}`, { field })
  return name as string
}

/**
 * A name as one subject token or key part, without collisions: `A-Z a-z 0-9 - _` stay, every other byte of its
 * UTF-8 form is written `=XX` in upper-case hex (design 4).
 */
export function escapeToken(name: string): string {
  if (/^[A-Za-z0-9_-]*$/.test(name)) return name
  let text = ''
  for (const byte of encoder.encode(name)) {
    const isPlain =
      (byte >= 0x30 && byte <= 0x39) ||
      (byte >= 0x41 && byte <= 0x5a) ||
      (byte >= 0x61 && byte <= 0x7a) ||
      byte === 0x2d ||
      byte === 0x5f
    text += isPlain ? String.fromCharCode(byte) : `=${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return text
}

/** The name behind a token of `escapeToken`, or undefined when the token is not one it could have made. */
export function unescapeToken(token: string): string | undefined {
  if (!/^(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+$/.test(token)) return undefined
  const bytes: number[] = []
  for (let i = 0; i < token.length; i++) {
    if (token[i] === '=') {
      bytes.push(Number.parseInt(token.slice(i + 1, i + 3), 16))
      i += 2
    } else bytes.push(token.charCodeAt(i))
  }
  try {
    const name = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes))
    return escapeToken(name) === token ? name : undefined
  } catch {
    return undefined // not UTF-8: no name escapes to it
  }
}
