// What tests of history on Valkey share: stores and servers that are closed again, appends, a publisher that retries.
import { afterEach } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { isBusError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/logger.ts'
import type { StreamKey } from '../../src/envelope/envelope.ts'
import type { AppendRequest, AppendResult, HistoryStore, StoredRecord } from '../../src/storage/store.ts'
import { openValkeyStore, type ValkeyStoreOptions } from '../../src/storage/valkey/valkey-store.ts'
import { startValkeyServer, type ValkeyServerOptions } from './servers/valkey-server.ts'

export const lobby: StreamKey = { tenant: 'acme', room: 'lobby', channel: 'general' }
const everything = { limit: 1_000_000, maxBytes: 2 ** 40 }
const hash = new Uint8Array(16).fill(7)

export function makeAppend(id: string, more: Partial<AppendRequest> = {}): AppendRequest {
  const frame = new TextEncoder().encode(`frame of ${id}`)
  return { key: lobby, id, hash, sender: 'arq_client_1', frame, atMs: systemClock.now(), ...more }
}

export async function readAll(store: HistoryStore, key = lobby): Promise<readonly StoredRecord[]> {
  return await store.readBySequence({ key, after: 0, ...everything })
}

/** Resolves with the error, and rejects when there is none. */
export async function failureOf(doing: Promise<unknown>): Promise<unknown> {
  const worked = Symbol()
  const outcome = await doing.then(() => worked).catch((error: unknown) => error)
  if (outcome === worked) throw new Error('it worked, and should not')
  return outcome
}

/** Asks again until it is true. */
export async function until(isTrue: () => boolean | Promise<boolean>, deadlineMs = 15_000): Promise<void> {
  const endMs = performance.now() + deadlineMs
  while (!(await isTrue())) {
    if (performance.now() > endMs) throw new Error('did not come true in time')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** As a client does: the same id again until there is an answer. */
export async function appendUntilAnswered(store: HistoryStore, requests: readonly AppendRequest[]) {
  let retries = 0
  let answer: readonly AppendResult[] | undefined
  await until(async () => {
    try {
      answer = await store.append(requests)
      return true
    } catch (error) {
      if (!isBusError(error, 'STORE_TIMEOUT') && !isBusError(error, 'STORE_UNAVAILABLE')) throw error
      retries++
      return false
    }
  })
  return { results: answer!, retries }
}

/** Servers and stores that are closed after each test. */
export function createValkeyLab() {
  const closers: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close()
  })
  return {
    closeLater: (close: () => Promise<unknown>) => void closers.push(close),
    async server(options: ValkeyServerOptions = {}) {
      const server = await startValkeyServer(options)
      closers.push(() => server.close())
      return server
    },
    async store(url: string, more: Partial<ValkeyStoreOptions> = {}) {
      const store = await openValkeyStore({
        url,
        clock: systemClock,
        logger: silentLogger,
        retention: { maxRecords: 1_000_000, maxBytes: 2 ** 40, maxAgeMs: 86_400_000 },
        dedup: { maxAgeMs: 600_000, maxIds: 1_000_000 },
        ...more,
      })
      closers.push(() => store.close())
      return store
    },
  }
}
