// Who listens to a subject.

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
