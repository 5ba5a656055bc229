// YAML as a form that people sign: one document of plain maps, lists, texts, whole numbers and booleans (1.2 core).
// Whatever could mean two things - anchors, aliases, merge keys, tags, a key twice - is refused. All problems at once.
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'
import { BusError } from '../base/errors.ts'

/** Files of this kind hold a few dozen entries; what is larger is refused unread. */
export const maxFileBytes = 1024 * 1024

/** One problem of a file: `waivers[0].scope.site (line 12): missing`. */
export interface Problem {
  readonly path: string
  readonly line: number
  readonly what: string
}

/** A value and where it stands. Readers note what is wrong with it and go on. */
export interface Place {
  readonly path: string
  readonly line: number
  readonly value: PlacedValue
}
export type PlacedValue = string | number | boolean | null | readonly Place[] | ReadonlyMap<string, Place>

export class Problems {
  readonly #all: Problem[] = []

  add({ path, line }: Pick<Place, 'path' | 'line'>, what: string): undefined {
    this.#all.push({ path, line, what })
    return undefined
  }

  /** Throws CONFIG_INVALID with that reason when there is one; each problem is one line of the message. */
  throwIfAny(reason: string, fileName: string): void {
    if (this.#all.length === 0) return
    const lines = [...this.#all]
      .sort((a, b) => a.line - b.line)
      .map(({ path, line, what }) => `  ${path === '' ? 'file' : path} (line ${line}): ${what}`)
    const count = lines.length === 1 ? '1 problem' : `${lines.length} problems`
    const problems = lines.map((line) => line.trim())
    throw new BusError('CONFIG_INVALID', `${fileName}: ${count}\n${lines.join('\n')}`, { reason, problems })
  }
}

/** The file as a tree of places; undefined, with the problem noted, when it is no such YAML. Never throws. */
export function readYaml(bytes: Uint8Array, problems: Problems): Place | undefined {
  const start = { path: '', line: 1 }
  if (bytes.length > maxFileBytes) return problems.add(start, `larger than ${maxFileBytes} bytes`)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return problems.add(start, 'not UTF-8')
  }
  try {
    return readText(text, problems)
  } catch {
    return problems.add(start, 'not YAML that can be read (nested too deep?)')
  }
}

const parserOptions = {
  version: '1.2',
  schema: 'core',
  strict: true,
  uniqueKeys: true,
  merge: false,
  resolveKnownTags: false,
  prettyErrors: false,
  logLevel: 'error',
} as const

function readText(text: string, problems: Problems): Place | undefined {
  const lines = new LineCounter()
  const document = parseDocument(text, { ...parserOptions, lineCounter: lines })
  const faults = [...document.errors, ...document.warnings]
  for (const { message, pos } of faults) {
    // "Source contains multiple documents" and the like; the first line says it.
    problems.add({ path: '', line: lines.linePos(pos[0]).line }, message.split('\n')[0]!)
  }
  if (faults.length > 0) return undefined
  const lineOf = (node: Node): number => lines.linePos(node.range?.[0] ?? 0).line
  return document.contents === null
    ? problems.add({ path: '', line: 1 }, 'empty')
    : placeOf(document.contents, '', { problems, lineOf })
}

interface Walk {
  readonly problems: Problems
  lineOf(node: Node): number
}

function placeOf(node: Node, path: string, walk: Walk): Place | undefined {
  const at = { path, line: walk.lineOf(node) }
  if (isAlias(node)) return walk.problems.add(at, 'an alias; write it out')
  if ('anchor' in node && node.anchor !== undefined) walk.problems.add(at, 'an anchor; take it away')
  if (node.tag !== undefined) walk.problems.add(at, 'a tag; take it away')
  if (isScalar(node)) return { ...at, value: scalarOf(node.value, at, walk.problems) }
  if (isSeq<Node>(node)) {
    const items = node.items.map((item, index) => placeOf(item, `${path}[${index}]`, walk))
    return { ...at, value: items.filter((item) => item !== undefined) }
  }
  if (!isMap<Node, Node | null>(node)) return walk.problems.add(at, 'not understood')
  const entries = new Map<string, Place>()
  for (const { key, value } of node.items) {
    if (!isScalar(key) || typeof key.value !== 'string' || key.anchor !== undefined || key.value === '<<') {
      walk.problems.add({ path, line: walk.lineOf(key) }, 'a key that is no plain text')
      continue
    }
    const inner = path === '' ? showKey(key.value) : `${path}.${showKey(key.value)}`
    const place = value === null ? { path: inner, line: walk.lineOf(key), value: null } : placeOf(value, inner, walk)
    if (place !== undefined) entries.set(key.value, place)
  }
  return { ...at, value: entries }
}

const showKey = (key: string): string => (/^[\w.-]{1,60}$/.test(key) ? key : JSON.stringify(key.slice(0, 60)))

function scalarOf(
  value: unknown,
  at: Pick<Place, 'path' | 'line'>,
  problems: Problems,
): string | number | boolean | null {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return value
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value
  problems.add(at, 'not a text, a whole number, true, false or null')
  return null
}

/** A map's fields, each read once; what nobody asked for is a problem. */
export class Fields {
  readonly #place: Place
  readonly #entries: ReadonlyMap<string, Place>
  readonly #problems: Problems
  readonly #asked = new Set<string>()
  readonly #isMap: boolean

  constructor(place: Place, problems: Problems) {
    this.#place = place
    this.#problems = problems
    this.#isMap = place.value instanceof Map
    this.#entries = place.value instanceof Map ? place.value : new Map()
    if (!this.#isMap) problems.add(place, 'not a map')
  }

  /** The field's place, or undefined where there is none; no problem by itself. */
  optional(name: string): Place | undefined {
    this.#asked.add(name)
    return this.#entries.get(name)
  }

  required(name: string): Place | undefined {
    const place = this.optional(name)
    if (place === undefined && this.#isMap) this.#problems.add(this.#place, `${name} is missing`)
    return place
  }

  end(): void {
    for (const [name, place] of this.#entries) {
      if (!this.#asked.has(name)) this.#problems.add(place, 'no such key')
    }
  }
}

const hasControlCharacter = (text: string): boolean => /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(text)

/** A text of one line, as people write it: nothing invisible in it, and no white space at an end. */
export function textOf(place: Place | undefined, problems: Problems, maxLength: number): string | undefined {
  if (place === undefined) return undefined
  const { value } = place
  if (typeof value !== 'string') return problems.add(place, 'not a text (put it in quotes)')
  if (value.trim() === '') return problems.add(place, 'empty')
  if (value !== value.trim()) return problems.add(place, 'white space at an end')
  if (!value.isWellFormed() || hasControlCharacter(value)) {
    return problems.add(place, 'more than one line, or a character that is not shown')
  }
  return value.length > maxLength ? problems.add(place, `longer than ${maxLength} characters`) : value
}

export function formOf(
  place: Place | undefined,
  problems: Problems,
  form: RegExp,
  expects: string,
): string | undefined {
  if (place === undefined) return undefined
  const { value } = place
  return typeof value === 'string' && form.test(value) ? value : problems.add(place, `not ${expects}`)
}

/** Inclusive bounds. */
export function integerOf(place: Place | undefined, problems: Problems, min: number, max: number): number | undefined {
  if (place === undefined) return undefined
  const { value } = place
  return typeof value === 'number' && value >= min && value <= max
    ? value
    : problems.add(place, `not a whole number from ${min} to ${max}`)
}

export function booleanOf(place: Place | undefined, problems: Problems): boolean | undefined {
  if (place === undefined) return undefined
  return typeof place.value === 'boolean' ? place.value : problems.add(place, 'neither true nor false')
}

export function itemsOf(place: Place | undefined, problems: Problems): readonly Place[] {
  if (place === undefined) return []
  if (Array.isArray(place.value)) return place.value as readonly Place[]
  problems.add(place, 'not a list')
  return []
}
