// Calls to a worker thread: each is answered once, or rejects when the thread dies.
import type { Worker } from 'node:worker_threads'
import { BusError } from '../../base/errors.ts'
import type { AnswerMessage, AskMessage, WorkerCall, WorkerCalls, WorkerFailure } from './worker-calls.ts'

export interface WorkerChannel {
  /**
   * Rejects with the worker's own BusError; with STORE_TIMEOUT when no answer came in `timeoutMs` or the worker died
   * meanwhile (what became of the call is unknown); with STORE_UNAVAILABLE when it was dead before.
   */
  call<C extends WorkerCall>(
    call: C,
    ask: WorkerCalls[C]['ask'],
    options?: CallOptions,
  ): Promise<WorkerCalls[C]['answer']>
  /** Ends the thread; waiting calls reject. */
  terminate(): Promise<void>
}

export interface CallOptions {
  /** Absent: waits as long as the worker lives. */
  readonly timeoutMs?: number
  /** Handed over to the worker, unusable here afterwards. */
  readonly transfer?: readonly ArrayBuffer[]
}

export interface WorkerReports {
  /** The thread ended without being told to. Called once. */
  died(cause: Error): void
  /** Something failed there that no call waits for. */
  failed(error: BusError): void
}

interface Waiting {
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: BusError) => void
}

function toError({ code, message, details, cause }: WorkerFailure): BusError {
  return new BusError(code, message, details, cause === undefined ? undefined : new Error(cause))
}

export function createWorkerChannel(worker: Worker, reports: WorkerReports): WorkerChannel {
  const waiting = new Map<number, Waiting>()
  let lastNumber = 0
  let ended: Error | undefined
  let isEnding = false

  function end(cause: Error): void {
    if (ended !== undefined) return
    ended = cause
    const unknown = new BusError('STORE_TIMEOUT', undefined, { reason: 'WORKER_DIED' }, cause)
    for (const { reject } of waiting.values()) reject(unknown)
    waiting.clear()
    if (!isEnding) reports.died(cause)
  }

  worker.on('error', (error) => end(error instanceof Error ? error : new Error(String(error))))
  worker.on('messageerror', (error) => end(error))
  worker.on('exit', (code) => end(new Error(`the storage worker ended with exit code ${code}`)))
  worker.on('message', (message: AnswerMessage) => {
    if (message.number === undefined) {
      reports.failed(toError(message.failure))
      return
    }
    const waiter = waiting.get(message.number) // none when it timed out
    waiting.delete(message.number)
    if ('failure' in message) waiter?.reject(toError(message.failure))
    else waiter?.resolve(message.answer)
  })

  return {
    call(call, ask, { timeoutMs, transfer = [] } = {}) {
      if (ended !== undefined) {
        const message = 'History storage has stopped working; nothing was stored'
        return Promise.reject(new BusError('STORE_UNAVAILABLE', message, { reason: 'WORKER_DIED' }, ended))
      }
      const number = ++lastNumber
      const { promise, resolve, reject } = Promise.withResolvers<unknown>()
      waiting.set(number, { resolve, reject })
      const message: AskMessage = { number, call, ask }
      worker.postMessage(message, transfer)
      const answered = promise as Promise<never> // the worker's table of answers is typed by the same WorkerCalls
      if (timeoutMs === undefined) return answered
      const timer = setTimeout(() => {
        waiting.delete(number)
        reject(new BusError('STORE_TIMEOUT', undefined, { reason: 'NO_ANSWER', timeoutMs }))
      }, timeoutMs)
      return answered.finally(() => clearTimeout(timer))
    },
    async terminate() {
      isEnding = true
      await worker.terminate()
      end(new Error('the storage worker was stopped'))
    },
  }
}
