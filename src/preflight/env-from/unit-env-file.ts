// The file that a unit's EnvironmentFile= names: NAME=VALUE lines as a shell would nearly read them.
import { badSource, isVariableName, type Variables } from './variables.ts'

/** Adds what the file sets. A line that systemd would ignore is refused: nobody meant it to be ignored. */
export function addUnitEnvFile(variables: Variables, text: string, path: string): void {
  const reader = new Letters(text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n'))
  for (;;) {
    reader.skip(/\s/)
    if (reader.isAtEnd) return
    const where = `${path}:${reader.line}`
    if (/[#;]/.test(reader.peek)) {
      skipComment(reader)
      continue
    }
    const name = reader.take(/[^=\n]/).trimEnd()
    if (reader.peek !== '=' || !isVariableName(name)) {
      throw badSource(`${where} is not NAME=VALUE (content hidden), and systemd ignores it: correct or remove the line`)
    }
    reader.next()
    variables.set(name, readValue(reader, where), where)
  }
}

/** A backslash at its end continues a comment too. */
function skipComment(reader: Letters): void {
  while (!reader.isAtEnd && reader.peek !== '\n') {
    if (reader.next() === '\\') reader.next()
  }
}

/** Quoted pieces, one after the other, and one piece without quotes: up to the end of the line. */
function readValue(reader: Letters, where: string): string {
  let value = ''
  for (;;) {
    reader.skip(/[^\S\n]/)
    if (reader.isAtEnd || reader.peek === '\n') return value
    if (reader.peek === "'") value += single(reader, where)
    else if (reader.peek === '"') value += double(reader, where)
    else return value + bare(reader)
  }
}

function single(reader: Letters, where: string): string {
  reader.next()
  const text = reader.take(/[^']/)
  endQuote(reader, where)
  return text
}

/** A backslash keeps its own meaning but before the letters a shell would escape. */
function double(reader: Letters, where: string): string {
  reader.next()
  let text = ''
  while (!reader.isAtEnd && reader.peek !== '"') {
    const letter = reader.next()
    if (letter !== '\\') text += letter
    else if (/["\\`$]/.test(reader.peek)) text += reader.next()
    else if (reader.peek === '\n') reader.next()
    else text += letter
  }
  endQuote(reader, where)
  return text
}

function endQuote(reader: Letters, where: string): void {
  if (reader.isAtEnd) throw badSource(`${where} has a quote without an end`)
  reader.next()
}

/** Quotes inside are letters; white space at the end goes, unless it was escaped. */
function bare(reader: Letters): string {
  let text = ''
  let kept = 0
  while (!reader.isAtEnd && reader.peek !== '\n') {
    const letter = reader.next()
    if (letter !== '\\') {
      text += letter
      if (/\S/.test(letter)) kept = text.length
      continue
    }
    const escaped = reader.next()
    if (escaped !== '\n') text += escaped
    kept = text.length
  }
  return text.slice(0, kept)
}

/** A text read letter by letter, counting lines. */
class Letters {
  line = 1
  #at = 0
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length
  }

  /** The empty text at the end. */
  get peek(): string {
    return this.#text[this.#at] ?? ''
  }

  next(): string {
    const letter = this.peek
    this.#at++
    if (letter === '\n') this.line++
    return letter
  }

  take(form: RegExp): string {
    let text = ''
    while (!this.isAtEnd && form.test(this.peek)) text += this.next()
    return text
  }

  skip(form: RegExp): void {
    this.take(form)
  }
}
