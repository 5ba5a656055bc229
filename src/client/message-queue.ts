// Messages between their arrival and `for await`: bounded, and never silently incomplete.
import { ClientError } from './client-error.ts'

export interface MessageQueue<T> extends AsyncIterable<T> {
  push(item: T): void
  /** Iteration ends after what is already here; with an error, by throwing it. */
  end(error?: ClientError): void
}

/** Above `limit` waiting items the queue ends with BUFFER_FULL: a hole would be worse than a stop. */
export function createMessageQueue<T>(limit: number): MessageQueue<T> {
  let items: T[] = []
  let isEnded = false
  let failure: ClientError | undefined
  let wake: (() => void) | undefined

  function end(error?: ClientError): void {
    if (isEnded) return
    isEnded = true
    failure = error
    wake?.()
  }

  async function* iterate(): AsyncGenerator<T, void, undefined> {
    for (;;) {
      const taken = items
      items = []
      yield* taken
      if (items.length > 0) continue
      if (isEnded) {
        if (failure !== undefined) throw failure
        return
      }
      await new Promise<void>((done) => {
        wake = done
      })
      wake = undefined
    }
  }

  return {
    push(item) {
      if (isEnded) return
      if (items.length >= limit) {
        end(new ClientError('BUFFER_FULL', `${limit} messages wait to be read; read faster, or use onMessage`))
        return
      }
      items.push(item)
      wake?.()
    },
    end,
    [Symbol.asyncIterator]: iterate,
  }
}
