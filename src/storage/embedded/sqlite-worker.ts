// The worker thread in which SQLite runs: opened once, as the writer or as the reader, it answers one call at a time.
import { parentPort } from 'node:worker_threads'
import { BusError, isBusError } from '../../base/errors.ts'
import { createBlockTable } from './block-table.ts'
import { isDamage, openForReading, openForWriting } from './history-database.ts'
import { createReader } from './reader.ts'
import { createRememberedIds } from './remembered-ids.ts'
import { createStreamTable } from './stream-table.ts'
import { createTrimmer } from './trimmer.ts'
import type { AnswerMessage, AskMessage, OpenWriter, WorkerCall, WorkerCalls, WorkerFailure } from './worker-calls.ts'
import { createWriter } from './writer.ts'

type Answers = { [C in WorkerCall]?: (ask: WorkerCalls[C]['ask']) => WorkerCalls[C]['answer'] }

function answersOfWriter(options: OpenWriter): { answers: Answers; epoch: number } {
  const { retention, dedup } = options
  const { db, epoch, forgotten, close } = openForWriting(options)
  const streams = createStreamTable(db)
  const blocks = createBlockTable(db, forgotten)
  const ids = createRememberedIds(db, blocks, dedup)
  const writer = createWriter({ db, streams, blocks, ids, dedup })
  const trimmer = createTrimmer({ db, streams, blocks, ids, retention })
  let nowMs = Number.NEGATIVE_INFINITY
  let next: NodeJS.Immediate | undefined

  /** Tidies a step at a time; between the steps the calls that wait are answered. */
  function tidySoon(): void {
    next ??= setImmediate(() => {
      next = undefined
      try {
        if (trimmer.step(nowMs)) tidySoon()
      } catch (error) {
        post({ number: undefined, failure: toFailure(error) }) // retried after the next append
      }
    })
  }

  return {
    epoch,
    answers: {
      append(ask) {
        nowMs = ask.nowMs
        const { results, touched } = writer.append(ask.batch, nowMs)
        trimmer.noteGrown(touched)
        tidySoon()
        return results
      },
      tidy(ask) {
        nowMs = ask.nowMs
        trimmer.noteTimePassed()
        tidySoon()
        return null
      },
      probe() {
        writer.probe()
        return null
      },
      close() {
        clearImmediate(next)
        db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
        close()
        return null
      },
    },
  }
}

function answersOfReader(dataDir: string): Answers {
  const db = openForReading(dataDir)
  const reader = createReader(db)
  return {
    head: (key) => reader.head(key),
    readBySequence: (query) => reader.readBySequence(query),
    readByTime: (query) => reader.readByTime(query),
    streams: ({ tenant, room }) => reader.streams(tenant, room),
    stats: ({ tenant }) => reader.stats(tenant),
    close() {
      db.close()
      return null
    },
  }
}

function toFailure(error: unknown): WorkerFailure {
  const known = isBusError(error)
    ? error
    : new BusError('STORE_UNAVAILABLE', undefined, { reason: isDamage(error) ? 'DAMAGED' : 'STORE_FAILED' }, error)
  const { code, message, details, cause } = known
  return { code, message, details, ...(cause instanceof Error && { cause: cause.message }) }
}

let answers: Answers = {
  openWriter(options) {
    const opened = answersOfWriter(options)
    answers = opened.answers
    return { epoch: opened.epoch }
  },
  openReader({ dataDir }) {
    answers = answersOfReader(dataDir)
    return null
  },
}

function post(message: AnswerMessage, transfer: readonly ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer)
}

function bytesOf(answer: unknown): readonly ArrayBuffer[] {
  if (answer instanceof Float64Array && answer.buffer instanceof ArrayBuffer) return [answer.buffer]
  if (typeof answer !== 'object' || answer === null || !('bytes' in answer)) return []
  const { bytes } = answer
  return bytes instanceof Uint8Array && bytes.buffer instanceof ArrayBuffer ? [bytes.buffer] : []
}

parentPort?.on('message', ({ number, call, ask }: AskMessage) => {
  try {
    // The sender's type ties `ask` to `call`; that is lost in the message.
    const answer = (answers[call] as ((ask: unknown) => unknown) | undefined)?.(ask)
    if (answer === undefined) throw new Error(`this worker does not answer ${call}`)
    post({ number, answer }, bytesOf(answer))
  } catch (error) {
    post({ number, failure: toFailure(error) })
  }
})
