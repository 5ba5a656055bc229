// YAML with places: compose files and manifests are read as trees, so that each value can say on which line it stands.
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseAllDocuments, type YAMLMap } from 'yaml'
import { badSource } from './variables.ts'

/** A node of a file, read on demand. */
export interface Place {
  readonly kind: 'map' | 'list' | 'text' | 'other' | 'nothing'
  /** `path:line`. */
  readonly where: string
  /** Of text as it is written; `null` and nothing give undefined. */
  readonly text: string | undefined
  /** Was it text already, or a number or boolean written without quotes? */
  readonly isString: boolean
  readonly isNull: boolean
  /** Merged maps (`<<`) come first, so that own keys win; each key once. */
  entries(): readonly { readonly name: string; readonly where: string; readonly value: Place }[]
  items(): readonly Place[]
  /** A child by name; of the kind `nothing` where there is none. */
  at(name: string): Place
}

/** Every document of the file. Throws USAGE naming the line of what is no YAML. */
export function readYaml(text: string, path: string): Place[] {
  const counter = new LineCounter()
  const documents = parseAllDocuments(text, { lineCounter: counter, prettyErrors: false })
  const found = Array.isArray(documents) ? documents : []
  const open = new Set<YAMLMap>()
  const whereAt = (offset: number | undefined): string =>
    offset === undefined ? path : `${path}:${counter.linePos(offset).line}`
  return found.map((document) => {
    const [error] = document.errors
    // Its own words quote the file.
    if (error !== undefined) throw badSource(`${whereAt(error.pos[0])} is no YAML (${error.code})`)
    return placeOf(document.contents, path)
  })

  function placeOf(written: unknown, fallback: string): Place {
    const alias = written as Node | null
    const node = isAlias(alias)
      ? found.map((document) => alias.resolve(document)).find((one) => one !== undefined)
      : alias
    const where = node?.range == null ? fallback : whereAt((isAlias(alias) ? alias : node).range?.[0])
    const value = isScalar(node) ? node.value : undefined
    return {
      kind: isMap(node) ? 'map' : isSeq(node) ? 'list' : isScalar(node) ? 'text' : node == null ? 'nothing' : 'other',
      where,
      text: isPlain(value) ? String(value) : undefined,
      isString: typeof value === 'string',
      isNull: isScalar(node) && value === null,
      entries: () => (isMap(node) ? entriesOf(node) : []),
      items: () => (isSeq(node) ? node.items.map((item) => placeOf(item, where)) : []),
      at: (name) =>
        (isMap(node) ? entriesOf(node) : []).find((entry) => entry.name === name)?.value ?? placeOf(null, where),
    }
  }

  function entriesOf(map: YAMLMap): { name: string; where: string; value: Place }[] {
    if (open.has(map)) throw badSource(`${path} has a map that merges itself`)
    open.add(map)
    const entries = new Map<string, { name: string; where: string; value: Place }>()
    const add = (name: string, entry: { name: string; where: string; value: Place }): void => {
      entries.set(name, entry)
    }
    const pairs = map.items.map(({ key, value }) => {
      const at = placeOf(key, path)
      return { name: at.text ?? '', where: at.where, value: placeOf(value, at.where) }
    })
    for (const { value } of pairs.filter(({ name }) => name === '<<')) {
      const merged = value.kind === 'list' ? [...value.items()].reverse() : [value]
      for (const one of merged) for (const entry of one.entries()) add(entry.name, entry)
    }
    for (const pair of pairs) if (pair.name !== '<<') add(pair.name, pair)
    open.delete(map)
    return [...entries.values()]
  }
}

const isPlain = (value: unknown): value is string | number | boolean | bigint =>
  ['string', 'number', 'boolean', 'bigint'].includes(typeof value)
