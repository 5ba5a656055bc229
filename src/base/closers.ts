// What was opened, to be closed in reverse order. Closing twice is harmless; a failing closer does not stop the rest.

export interface Closers {
  push(name: string, close: () => void | Promise<void>): void
  /** Runs every closer once, last opened first; rejects with an AggregateError naming those that failed. */
  close(): Promise<void>
}

export function createClosers(): Closers {
  const stack: { name: string; close: () => void | Promise<void> }[] = []
  let closing: Promise<void> | undefined

  async function run(): Promise<void> {
    const failures: Error[] = []
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      try {
        await next.close()
      } catch (cause) {
        failures.push(new Error(`closing ${next.name} failed`, { cause }))
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, failures.map((f) => f.message).join('; '))
  }

  return {
    push(name, close) {
      stack.push({ name, close })
    },
    close() {
      closing ??= run()
      return closing
    },
  }
}
