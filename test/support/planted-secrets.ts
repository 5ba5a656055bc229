// Forty secrets as people choose and generate them, and the forms in which other programs print one. The encoders are
// the platform's or written here: none is the preflight's.
import { createHash } from 'node:crypto'

const digest = (index: number): Buffer => createHash('sha256').update(`planted ${index}`).digest()

const shapes: readonly ((index: number) => string)[] = [
  (index) => digest(index).toString('base64'),
  (index) => digest(index).toString('hex').slice(0, 24),
  (index) => `p@ss/${digest(index).toString('base64url').slice(0, 12)}?#&=`,
  (index) => `it's "${digest(index).toString('base64url').slice(0, 10)}" \\ <ok>`,
  (index) => `geheim-${digest(index).toString('hex').slice(0, 8)}-ÄöüßØ`,
  (index) => `${digest(index).toString('base64url').slice(0, 20)}\n`,
  (index) => `100%25-${digest(index).toString('hex').slice(0, 10)}`,
  (index) => digest(index).toString('base64url').slice(0, 8),
  (index) => `🔑${digest(index).toString('hex').slice(0, 12)}`,
  (index) => `two words ${digest(index).toString('base64').slice(0, 9)}`,
]

export const plantedSecrets: readonly { readonly name: string; readonly value: string }[] = Array.from(
  { length: 40 },
  (_, index) => ({ name: `PLANTED_${index}_SECRET`, value: shapes[index % shapes.length]!(index) }),
)

const hex = (byte: number): string => byte.toString(16).padStart(2, '0')
const bytes = (text: string): number[] => [...Buffer.from(text, 'utf8')]
const units = (text: string): string[] => Array.from({ length: text.length }, (_, at) => hex16(text.charCodeAt(at)))
const hex16 = (unit: number): string => unit.toString(16).padStart(4, '0')
const base64 = (text: string): string => Buffer.from(text, 'utf8').toString('base64')
const asText = (encoded: Buffer): string => encoded.toString('latin1')

/** What it looks like, by name; texts of one letter for each byte where it is not text. */
export const printedForms: Readonly<Record<string, (secret: string) => string>> = {
  'as it is': (secret) => secret,
  trimmed: (secret) => secret.trim(),
  'in a URL': (secret) => encodeURIComponent(secret),
  'in a URL, lower case': (secret) => encodeURIComponent(secret).replace(/%../g, (code) => code.toLowerCase()),
  'in a form': (secret) => new URLSearchParams({ a: secret }).toString().slice(2),
  'percent, every byte': (secret) =>
    bytes(secret)
      .map((byte) => `%${hex(byte).toUpperCase()}`)
      .join(''),
  'percent, every second byte': (secret) =>
    bytes(secret)
      .map((byte, at) => (at % 2 === 0 || byte > 0x7e || byte <= 0x25 ? `%${hex(byte)}` : String.fromCharCode(byte)))
      .join(''),
  'percent, twice': (secret) => encodeURIComponent(encodeURIComponent(secret)),
  base64,
  'base64, unpadded': (secret) => base64(secret).replace(/=+$/, ''),
  base64url: (secret) => Buffer.from(secret, 'utf8').toString('base64url'),
  'base64 of a longer text, one before': (secret) => base64(`x${secret} and more`),
  'base64 of a longer text, two before': (secret) => base64(`xy${secret} and more`),
  'base64 of a longer text, three before': (secret) => base64(`xyz${secret} and more`),
  'Basic credentials': (secret) => base64(`user:${secret}`),
  hex: (secret) => bytes(secret).map(hex).join(''),
  'hex, upper case': (secret) => bytes(secret).map(hex).join('').toUpperCase(),
  'in JSON': (secret) => JSON.stringify(secret),
  'in JSON in JSON': (secret) => JSON.stringify(JSON.stringify(secret)),
  'in JSON, only ASCII': (secret) => JSON.stringify(secret).replace(/[^\0-\x7f]/g, (unit) => `\\u${units(unit)[0]}`),
  'in JSON, every unit': (secret) =>
    units(secret)
      .map((unit) => `\\u${unit}`)
      .join(''),
  'in JSON, some units': (secret) =>
    JSON.stringify(secret).replace(/[&<>'+/=]/g, (unit) => `\\u${units(unit)[0]!.toUpperCase()}`),
  'for a shell': (secret) => `'${secret.replaceAll("'", String.raw`'\''`)}'`,
  'for HTML': (secret) =>
    secret
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replaceAll('"', '&quot;')
      .replaceAll("'", '&#39;'),
  'for HTML, numbers': (secret) => Array.from(secret, (letter) => `&#${letter.codePointAt(0)!};`).join(''),
  'as C bytes': (secret) =>
    bytes(secret)
      .map((byte) => `\\x${hex(byte)}`)
      .join(''),
  'UTF-16': (secret) => asText(Buffer.from(secret, 'utf16le')),
  'UTF-16, big end first': (secret) => asText(Buffer.from(secret, 'utf16le').swap16()),
}
