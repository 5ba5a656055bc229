// Frames of one connection, in order of arrival, to be waited for.

export interface Inbox<T> {
  readonly name: string
  /** Everything that came, in order. */
  readonly all: readonly T[]
  put(item: T): void
  /** Nothing more will come: waiting calls reject with the error. */
  end(error: Error): void
  /** The first one of all. */
  first(): Promise<T>
  /** The earliest one that matches, come or to come. */
  next(matches: (item: T) => boolean): Promise<T>
}

export function createInbox<T>(name: string, signal: AbortSignal): Inbox<T> {
  const all: T[] = []
  const waiting = new Set<{
    matches: (item: T) => boolean
    resolve: (item: T) => void
    reject: (error: Error) => void
  }>()
  let ended: Error | undefined

  function end(error: Error): void {
    ended ??= error
    for (const { reject } of waiting) reject(ended)
    waiting.clear()
  }
  signal.addEventListener('abort', () => end(new Error('the check was stopped')), { once: true })

  function next(matches: (item: T) => boolean): Promise<T> {
    const found = all.find(matches)
    if (found !== undefined) return Promise.resolve(found)
    if (ended !== undefined) return Promise.reject(ended)
    return new Promise((resolve, reject) => waiting.add({ matches, resolve, reject }))
  }

  return {
    name,
    all,
    put(item) {
      all.push(item)
      for (const entry of waiting) {
        if (!entry.matches(item)) continue
        waiting.delete(entry)
        entry.resolve(item)
      }
    },
    end,
    first: () => next(() => true),
    next,
  }
}

/** Was it there in time? Rejects as it does. */
export async function within(ms: number, waited: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms)
  })
  try {
    return await Promise.race([waited.then(() => true), late])
  } finally {
    clearTimeout(timer)
  }
}
