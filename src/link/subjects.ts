// The grammar of subjects and patterns, the same for every adapter: what passes here can neither inject a protocol
// line nor match more than its author meant.
import { invalid } from '../base/errors.ts'

const token = /^[A-Za-z0-9_=-]+$/
/** Longer than any subject this system builds; servers refuse protocol lines above 4 KiB. */
const maxSubjectLength = 1_024

/** The tokens of a subject without wildcards. Throws VALIDATION_ERROR / BAD_SUBJECT without echoing it. */
export function parseSubject(subject: string): readonly string[] {
  return parse(subject, (part) => token.test(part))
}

/** As `parseSubject`, where `*` may stand for one token and a last `>` for one token or more. */
export function parsePattern(pattern: string): readonly string[] {
  return parse(pattern, (part, isLast) => part === '*' || (part === '>' && isLast) || token.test(part))
}

function parse(text: string, isGood: (part: string, isLast: boolean) => boolean): readonly string[] {
  const tokens = text.length > maxSubjectLength ? [] : text.split('.')
  if (tokens.length === 0 || !tokens.every((part, i) => isGood(part, i === tokens.length - 1))) {
    throw invalid('BAD_SUBJECT', 'not a subject of the link')
  }
  return tokens
}

/** Does the pattern cover the subject? Both as their parsers gave them. */
export function matches(pattern: readonly string[], subject: readonly string[]): boolean {
  for (let i = 0; i < pattern.length; i++) {
    if (pattern[i] === '>') return subject.length > i
    if (i >= subject.length || (pattern[i] !== '*' && pattern[i] !== subject[i])) return false
  }
  return pattern.length === subject.length
}

/** Patterns with values, looked up by subject in time of the subject's length, however many patterns there are. */
export class SubjectTree<Value> {
  readonly #root = createNode<Value>()

  add(pattern: readonly string[], value: Value): void {
    let node = this.#root
    for (const part of pattern) {
      let next = node.children.get(part)
      if (next === undefined) {
        next = createNode()
        node.children.set(part, next)
      }
      node = next
    }
    node.values.add(value)
  }

  remove(pattern: readonly string[], value: Value): void {
    const path: TreeNode<Value>[] = [this.#root]
    for (const part of pattern) {
      const next = path[path.length - 1]!.children.get(part)
      if (next === undefined) return
      path.push(next)
    }
    path[pattern.length]!.values.delete(value)
    for (let i = pattern.length; i > 0; i--) {
      if (path[i]!.values.size > 0 || path[i]!.children.size > 0) return
      path[i - 1]!.children.delete(pattern[i - 1]!)
    }
  }

  find(subject: readonly string[]): Value[] {
    const found: Value[] = []
    collect(this.#root, subject, 0, found)
    return found
  }
}

interface TreeNode<Value> {
  readonly children: Map<string, TreeNode<Value>>
  readonly values: Set<Value>
}

function createNode<Value>(): TreeNode<Value> {
  return { children: new Map(), values: new Set() }
}

function collect<Value>(node: TreeNode<Value>, subject: readonly string[], depth: number, found: Value[]): void {
  if (depth === subject.length) {
    found.push(...node.values)
    return
  }
  const rest = node.children.get('>')
  if (rest !== undefined) found.push(...rest.values)
  const literal = node.children.get(subject[depth]!)
  if (literal !== undefined) collect(literal, subject, depth + 1, found)
  const any = node.children.get('*')
  if (any !== undefined) collect(any, subject, depth + 1, found)
}
