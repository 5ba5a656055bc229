// `${NAME:-default}` as compose reads it, in compose files and in the files they name.
import { badSource } from './variables.ts'

export type Lookup = (name: string) => string | undefined

/** `where` names the place in errors. Throws USAGE for a form that is none, and for a variable that has to be there. */
export function interpolate(text: string, lookup: Lookup, where: string): string {
  let result = ''
  let at = 0
  while (at < text.length) {
    if (text[at] !== '$') {
      result += text[at++]
      continue
    }
    const next = text[at + 1]
    if (next === '$') {
      result += '$'
      at += 2
    } else if (next === '{') {
      const end = endOfBraces(text, at + 1, where)
      result += expand(text.slice(at + 2, end), lookup, where)
      at = end + 1
    } else {
      const name = /^[A-Za-z_][A-Za-z0-9_]*/.exec(text.slice(at + 1))?.[0]
      if (name === undefined) throw badSource(`${where} has a dollar sign before no name: write $$ for one`)
      result += lookup(name) ?? ''
      at += 1 + name.length
    }
  }
  return result
}

/** `at` is the opening brace. */
function endOfBraces(text: string, at: number, where: string): number {
  let depth = 0
  for (let index = at; index < text.length; index++) {
    if (text[index] === '{' && text[index - 1] === '$') depth++
    if (text[index] === '}' && --depth === 0) return index
  }
  throw badSource(`${where} has \${ without an end`)
}

function expand(inner: string, lookup: Lookup, where: string): string {
  const [, name = '', form = '', word = ''] = /^([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])(.*))?$/s.exec(inner) ?? []
  if (name === '') throw badSource(`${where} has \${…} that names no variable`)
  const value = lookup(name)
  const isThere = value !== undefined && !(form.startsWith(':') && value === '')
  if (form.endsWith('+')) return isThere ? interpolate(word, lookup, where) : ''
  if (isThere) return value
  if (form.endsWith('?')) throw badSource(`${where} needs ${name}, which is not set in this shell or in .env`)
  return interpolate(word, lookup, where)
}
