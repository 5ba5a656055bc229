// Group commit: appends that wait while the worker is busy go to it together, as one transaction, in their order.
import { BusError } from '../base/errors.ts'
import type { AppendRequest, AppendResult } from './store.ts'

export interface AppendQueue {
  /** Settles within `timeoutMs`: STORE_UNAVAILABLE when it was never sent, STORE_TIMEOUT when its fate is unknown. */
  append(requests: readonly AppendRequest[]): Promise<readonly AppendResult[]>
  /** Resolves when everything begun has settled, answered late or not. */
  drain(): Promise<void>
}

export interface AppendQueueOptions {
  /** Sends a group; its results are in the order of its requests. */
  readonly send: (group: readonly AppendRequest[]) => Promise<readonly AppendResult[]>
  readonly timeoutMs: number
}

// Two: while one group is committed the next is already with the worker, and the rest gathers here.
const maxInFlight = 2
// Bounds what one transaction holds, and with it the time that a small append waits behind a large group.
const maxGroupRequests = 2_048
const maxGroupBytes = 4 * 1024 * 1024

interface Waiting {
  readonly requests: readonly AppendRequest[]
  readonly bytes: number
  isSent: boolean
  isSettled: boolean
  readonly resolve: (results: readonly AppendResult[]) => void
  readonly reject: (error: unknown) => void
}

export function createAppendQueue({ send, timeoutMs }: AppendQueueOptions): AppendQueue {
  let waiting: Waiting[] = []
  const inFlight = new Set<Promise<void>>()
  let isFlushPlanned = false

  function takeGroup(): Waiting[] {
    let requests = 0
    let bytes = 0
    let taken = 0
    for (const call of waiting) {
      requests += call.requests.length
      bytes += call.bytes
      if (taken > 0 && (requests > maxGroupRequests || bytes > maxGroupBytes)) break
      taken++
    }
    const group = waiting.slice(0, taken).filter((call) => !call.isSettled)
    waiting = waiting.slice(taken)
    return group
  }

  function flush(): void {
    isFlushPlanned = false
    while (inFlight.size < maxInFlight && waiting.length > 0) {
      const group = takeGroup()
      if (group.length === 0) continue
      const sending = sendGroup(group).finally(() => {
        inFlight.delete(sending)
        flush()
      })
      inFlight.add(sending)
    }
  }

  async function sendGroup(group: readonly Waiting[]): Promise<void> {
    for (const call of group) call.isSent = true
    try {
      const results = await send(group.flatMap((call) => call.requests))
      let start = 0
      for (const call of group) {
        call.resolve(results.slice(start, start + call.requests.length))
        start += call.requests.length
      }
    } catch (error) {
      for (const call of group) call.reject(error)
    }
  }

  function settleByTime(call: Waiting): void {
    call.isSettled = true
    if (call.isSent) call.reject(new BusError('STORE_TIMEOUT', undefined, { reason: 'NO_ANSWER', timeoutMs }))
    else call.reject(new BusError('STORE_UNAVAILABLE', undefined, { reason: 'QUEUED_TOO_LONG', timeoutMs }))
  }

  return {
    async append(requests) {
      const { promise, resolve, reject } = Promise.withResolvers<readonly AppendResult[]>()
      const bytes = requests.reduce((sum, request) => sum + request.frame.length, 0)
      const call: Waiting = { requests, bytes, isSent: false, isSettled: false, resolve, reject }
      waiting.push(call)
      if (!isFlushPlanned) {
        isFlushPlanned = true
        queueMicrotask(flush) // so that the calls of this turn share a transaction
      }
      const timer = setTimeout(settleByTime, timeoutMs, call)
      try {
        return await promise
      } finally {
        clearTimeout(timer)
      }
    },
    async drain() {
      flush()
      while (inFlight.size > 0) await Promise.all(inFlight)
    },
  }
}
