// Finds a repeated key in JSON text. JSON.parse keeps the last one silently, so two readers of one token could see
// two different tenants (reliability 0.1, finding 10).

const stringForm = /"(?:[^"\\]|\\.)*"/y

/** Does any object of this JSON, at any depth, name a key twice? `text` must be JSON already parsed without error. */
export function hasDuplicateKeys(text: string): boolean {
  // One entry per open bracket: the keys seen so far of an object, null for an array.
  const open: (Set<string> | null)[] = []
  let expectsKey = false
  for (let i = 0; i < text.length; i++) {
    const char = text[i]
    if (char === '"') {
      stringForm.lastIndex = i
      const literal = stringForm.exec(text)![0]
      i += literal.length - 1
      const keys = open.at(-1)
      if (!expectsKey || keys === null || keys === undefined) continue
      expectsKey = false
      const key = JSON.parse(literal) as string // resolves escapes: "\u0061" is "a"
      if (keys.has(key)) return true
      keys.add(key)
    } else if (char === '{') {
      open.push(new Set())
      expectsKey = true
    } else if (char === '[') {
      open.push(null)
      expectsKey = false
    } else if (char === '}' || char === ']') {
      open.pop()
      expectsKey = false
    } else if (char === ',') expectsKey = open.at(-1) !== null
  }
  return false
}
