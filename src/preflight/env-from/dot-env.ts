// Files of variables beside a compose file: `.env`, and those that env_file names.
import { interpolate, type Lookup } from './interpolate.ts'
import { badSource, isVariableName, type Variables } from './variables.ts'

/** `$NAME` in values finds what came before in the file, then what `outer` has. */
export function addDotEnv(variables: Variables, content: string, path: string, outer: Lookup): void {
  const text = content.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n')
  const lookup: Lookup = (name) => outer(name) ?? variables.get(name)
  let at = 0
  while (at < text.length) {
    const blank = /^(?:\s+|#[^\n]*)/.exec(text.slice(at))?.[0]
    if (blank !== undefined) {
      at += blank.length
      continue
    }
    const where = `${path}:${lineAt(text, at)}`
    const [all = '', name = '', equals] =
      /^(?:export[^\S\n]+)?([^\s=:#]+)[^\S\n]*([=:])?[^\S\n]*/.exec(text.slice(at)) ?? []
    if (!isVariableName(name)) throw badSource(`${where} is not NAME=VALUE (content hidden)`)
    at += all.length
    if (equals === undefined) {
      if (at < text.length && text[at] !== '\n') throw badSource(`${where} is not NAME=VALUE (content hidden)`)
      // A name alone is taken over from the shell.
      const value = outer(name)
      if (value !== undefined) variables.set(name, value, where)
      continue
    }
    const [value, length] = valueAt(text.slice(at), lookup, where)
    variables.set(name, value, where)
    at += length
  }
}

/** NAME=VALUE lines as they stand: `format: raw` of an env_file. */
export function addRawEnv(variables: Variables, content: string, path: string): void {
  for (const [index, raw] of content
    .replace(/^\uFEFF/, '')
    .split('\n')
    .entries()) {
    const line = raw.replace(/\r$/, '')
    if (line.trim() === '' || line.startsWith('#')) continue
    const where = `${path}:${index + 1}`
    const equals = line.indexOf('=')
    const name = line.slice(0, Math.max(0, equals))
    if (!isVariableName(name)) throw badSource(`${where} is not NAME=VALUE (content hidden)`)
    variables.set(name, line.slice(equals + 1), where)
  }
}

const lineAt = (text: string, at: number): number => text.slice(0, at).split('\n').length

/** The value and how many letters it takes. */
function valueAt(text: string, lookup: Lookup, where: string): [string, number] {
  const quote = text[0]
  if (quote !== '"' && quote !== "'") {
    const line = /^[^\n]*/.exec(text)![0]
    const value = line.startsWith('#') ? '' : line.replace(/\s+#.*$/, '').trimEnd()
    return [interpolate(value, lookup, where), line.length]
  }
  const form = quote === '"' ? /^"((?:\\[\s\S]|[^"\\])*)"/ : /^'((?:\\'|[^'])*)'/
  const [all, inner = ''] = form.exec(text) ?? []
  if (all === undefined) throw badSource(`${where} has a quote without an end`)
  const tail = /^[^\S\n]*(?:#[^\n]*)?(?=\n|$)/.exec(text.slice(all.length))?.[0]
  if (tail === undefined) throw badSource(`${where} has text after its closing quote`)
  const value = quote === '"' ? unescapeDouble(inner, lookup, where) : inner.replaceAll("\\'", "'")
  return [value, all.length + tail.length]
}

const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\', $: '$$' }

/** A dollar sign after a backslash is one, whatever follows. */
function unescapeDouble(inner: string, lookup: Lookup, where: string): string {
  const plain = inner.replaceAll(/\\([\s\S])/g, (all, letter: string) => escapes[letter] ?? all)
  return interpolate(plain, lookup, where)
}
