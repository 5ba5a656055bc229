// A secret as it can stand in a text: the forms other programs give it. Each is searched for as it is; mixtures of the
// escaping ones (half percent-encoded, escaped twice) are found by reading the text unescaped (unescape.ts).

/** Every form has a name, so that a test can go through all of them. */
export const encodings: Readonly<Record<string, (value: Buffer) => readonly (Buffer | string)[]>> = {
  raw: (value) => [value],
  'percent, all bytes': (value) => [percent(value, () => true), percent(value, () => true).toLowerCase()],
  'percent, as needed': (value) => [percent(value, isReserved), lowerPercent(percent(value, isReserved))],
  'percent, as in a form': (value) => [percent(value, isReserved).replaceAll('%20', '+')],
  'percent, twice': (value) => [percent(Buffer.from(percent(value, isReserved)), isReserved)],
  base64: (value) => [value.toString('base64'), value.toString('base64').replace(/=+$/, '')],
  base64url: (value) => [value.toString('base64url')],
  'base64, inside a longer one': (value) => [0, 1, 2].map((offset) => insideBase64(value, offset, 'base64')),
  'base64url, inside a longer one': (value) => [0, 1, 2].map((offset) => insideBase64(value, offset, 'base64url')),
  hex: (value) => [value.toString('hex'), value.toString('hex').toUpperCase()],
  'hex, with colons': (value) => {
    const pairs = value.toString('hex').match(/../g)?.join(':') ?? ''
    return [pairs, pairs.toUpperCase()]
  },
  JSON: (value) => [quoted(value.toString('utf8')), quoted(value.toString('utf8')).replaceAll('/', '\\/')],
  'JSON, twice': (value) => [quoted(quoted(value.toString('utf8')))],
  'JSON, only ASCII': (value) => [quoted(value.toString('utf8')).replace(/[^\0-\x7f]/g, unit)],
  'JSON, all escaped': (value) => {
    const escaped = Array.from({ length: value.toString('utf8').length }, (_, at) => unit(value.toString('utf8')[at]!))
    return [escaped.join(''), escaped.join('').replace(/[0-9a-f]{4}/g, (digits) => digits.toUpperCase())]
  },
  'byte escapes': (value) => [Array.from(value, (byte) => `\\x${hex(byte)}`).join('')],
  'shell, in quotes': (value) => [value.toString('utf8').replaceAll("'", String.raw`'\''`)],
  'shell, escaped': (value) => [value.toString('utf8').replace(/[^\w@%+=:,./-]/g, String.raw`\$&`)],
  'source text': (value) => [value.toString('utf8').replace(/['\\]/g, String.raw`\$&`)],
  'HTML, names': (value) => [
    value.toString('utf8').replace(/[&<>"']/g, (letter) => htmlNames[letter]!),
    value.toString('utf8').replace(/[&<>"]/g, (letter) => htmlNames[letter]!),
  ],
  'HTML, numbers': (value) => {
    const letters = Array.from(value.toString('utf8'), (letter) => letter.codePointAt(0)!)
    return [
      letters.map((code) => `&#${code};`).join(''),
      letters.map((code) => `&#x${code.toString(16)};`).join(''),
      letters.map((code) => `&#x${code.toString(16).toUpperCase()};`).join(''),
    ]
  },
  'quoted-printable': (value) => [Array.from(value, (byte) => `=${hex(byte).toUpperCase()}`).join('')],
  'UTF-16, little end first': (value) => [Buffer.from(value.toString('utf8'), 'utf16le')],
  'UTF-16, big end first': (value) => [Buffer.from(value.toString('utf8'), 'utf16le').swap16()],
}

/** Below this many bytes a value is too short to be told from ordinary text. */
export const minSecretBytes = 6

/** Every distinct form of at least six bytes: of the value as it is, trimmed, and percent-decoded. */
export function formsOf(value: string): readonly Buffer[] {
  const forms = new Map<string, Buffer>()
  for (const variant of new Set([value, value.trim(), unpercent(value), unpercent(value).trim()])) {
    const bytes = Buffer.from(variant, 'utf8')
    if (bytes.length < minSecretBytes) continue
    for (const form of Object.values(encodings).flatMap((encode) => encode(bytes))) {
      const encoded = typeof form === 'string' ? Buffer.from(form, 'utf8') : form
      if (encoded.length >= minSecretBytes) forms.set(encoded.toString('latin1'), encoded)
    }
  }
  return [...forms.values()]
}

const htmlNames: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

const hex = (byte: number): string => byte.toString(16).padStart(2, '0')
const unit = (letter: string): string => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`
const quoted = (text: string): string => JSON.stringify(text).slice(1, -1)
const isReserved = (byte: number): boolean => !/[\w.~-]/.test(String.fromCharCode(byte)) || byte > 0x7f

function percent(value: Buffer, test: (byte: number) => boolean): string {
  return Array.from(value, (byte) => (test(byte) ? `%${hex(byte).toUpperCase()}` : String.fromCharCode(byte))).join('')
}

const lowerPercent = (text: string): string => text.replace(/%../g, (code) => code.toLowerCase())

function unpercent(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The letters that are the same whatever stands before and after, with `offset` bytes before it modulo three. */
function insideBase64(value: Buffer, offset: number, alphabet: 'base64' | 'base64url'): string {
  const first = Math.ceil((offset * 8) / 6)
  const end = Math.floor(((offset + value.length) * 8) / 6)
  return Buffer.concat([Buffer.alloc(offset), value])
    .toString(alphabet)
    .slice(first, end)
}
