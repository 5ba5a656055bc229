// Secrets known by where they stand: nobody had to tell us of them. Each rule is one pass; none backtracks over more
// than a bounded stretch. Texts are of one letter for each byte (latin1).

/** Puts a marker in the place of what was found. */
export type Mark = (kind: string, value: string) => string

export interface StructureRule {
  readonly name: string
  readonly apply: (text: string, mark: Mark) => string
}

const marker = /(\u00c2\u00absecret:[^\u00c2]{1,200}\u00c2\u00bb)/ // « and » as two bytes each

/** Markers that are there already stay as they are; what stands between them is a secret like the rest. */
function markRest(value: string, mark: (part: string) => string): string {
  return value
    .split(marker)
    .map((part) => (marker.test(part) || /^[:,@]*$/.test(part) ? part : mark(part)))
    .join('')
}

/** `form` has three groups: before, value, after. */
function rule(name: string, form: RegExp, isSecret: (value: string) => boolean = () => true): StructureRule {
  return {
    name,
    apply: (text, mark) =>
      text.replace(form, (whole, before: string, value: string, after: string) =>
        isSecret(value) ? `${before}${markRest(value, (part) => mark(name, part))}${after}` : whole,
      ),
  }
}

const words = 'password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential'
/** What stands where a secret would and is none: words, variables to fill in, versions of packages. */
const harmless =
  /^(?:true|false|null|undefined|none|yes|no|on|off|set|unset|absent|hidden|\[secret.*|[$<{%].*|…|\.{3}|\*+|\d{1,4}\.\d{1,4}\.\d{1,4})$/i
const isValue = (value: string): boolean => !harmless.test(value)
/** Of the examples in the texts of checks. */
const isUser = (value: string): boolean => value !== 'user:password'

export const structureRules: readonly StructureRule[] = [
  { name: 'pem', apply: hidePrivateKeys },
  // To the last @ before the path, so that an @ in a password and lists of hosts with users of their own are covered.
  rule('userinfo', /(:\/\/)([^\s/?#"'<>\\`]{1,4096})(@)/gi, isUser),
  // A password that holds what ends an authority: nothing but a user has a colon before an @.
  rule('userinfo', /(:\/\/)([^\s@"'<>`/]{0,1024}:[^\s@"'<>`]{1,1024})(@)/gi, isUser),
  rule(
    'header',
    /(\b(?:(?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-auth-token|apikey)["'\\]{0,4}\s{0,4}[:=,]\s{0,4}["'\\]{0,4})([^\r\n"'\\]{1,8192})()/gi,
    isValue,
  ),
  rule('scheme', /(\b(?:bearer|basic|digest)\s{1,4})([\w.~+/=-]{8,8192})()/gi, (value) => /[\d=.+/]/.test(value)),
  rule('jwt', /(\b)(eyJ[\w-]{5,8192}\.[\w-]{5,8192}\.[\w-]{0,8192})()/g),
  rule('nkey', /(\b)(S[ACNOUX][A-Z2-7]{56})(\b)/g),
  rule('parameter', new RegExp(`((?:${words})s?\\s?=\\s?["']?)([^\\s"'&,;<>\\\\)}\\]]{1,4096})()`, 'gi'), isValue),
  rule(
    'field',
    new RegExp(`((?:${words})s?\\\\{0,3}["']\\s{0,4}:\\s{0,4}\\\\{0,3}["'])([^"'\\\\\\r\\n]{1,8192})()`, 'gi'),
    isValue,
  ),
  rule(
    'line',
    new RegExp(`(^[ \\t\\w.-]{0,64}(?:${words}):[ \\t]{1,8})([^\\s"'{[]{1,4096})([ \\t]{0,8}$)`, 'gim'),
    isValue,
  ),
  rule('option', new RegExp(`(--[\\w-]{0,32}(?:${words})[ =]["']?)([^\\s"'-][^\\s"']{0,4096})()`, 'gi'), isValue),
]

const beginForm = /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----/g

/** Without its end line, a key goes on to the end of the text. */
function hidePrivateKeys(text: string, mark: Mark): string {
  const parts: string[] = []
  let from = 0
  beginForm.lastIndex = 0
  for (let begin = beginForm.exec(text); begin !== null; begin = beginForm.exec(text)) {
    const endLine = text.indexOf('-----END ', begin.index + begin[0].length)
    const close = endLine === -1 ? -1 : text.indexOf('-----', endLine + '-----END '.length)
    const end = close === -1 ? text.length : close + '-----'.length
    parts.push(text.slice(from, begin.index), mark('pem', text.slice(begin.index, end)))
    from = end
    beginForm.lastIndex = end
  }
  parts.push(text.slice(from))
  return parts.join('')
}
