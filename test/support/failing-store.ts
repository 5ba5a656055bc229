// A real store on a bad line: told to fail, it refuses, or does what it was asked and loses the answer.
import { BusError } from '../../src/base/errors.ts'
import type { HistoryStore } from '../../src/storage/store.ts'

/**
 * `refuses`: nothing happens, STORE_UNAVAILABLE. `loses-answer`: it happens, and ends in STORE_TIMEOUT.
 * `times-out`: nothing happens, STORE_TIMEOUT.
 */
export type Trouble = 'none' | 'refuses' | 'loses-answer' | 'times-out'

export interface FailingStore extends HistoryStore {
  trouble: Trouble
  /** Calls that reached it, probes included. */
  calls: number
}

export function createFailingStore(inner: HistoryStore): FailingStore {
  let failing = 0
  let shared: Trouble = 'none'

  /** What is sent behind a call that is failing shares its fate, as on one connection. */
  function troubleOfCall(): Trouble {
    if (failing === 0) shared = store.trouble
    if (shared !== 'none') failing++
    return shared
  }

  async function ask<T>(call: () => Promise<T>): Promise<T> {
    store.calls++
    const trouble = troubleOfCall()
    // It happens in the order of the calls; answers take from one turn to three.
    const happening = trouble === 'none' || trouble === 'loses-answer' ? call() : undefined
    happening?.catch(() => undefined)
    for (let turns = store.calls % 3; turns >= 0; turns--) await new Promise((resolve) => setImmediate(resolve))
    if (trouble !== 'none') failing--
    if (trouble === 'refuses') throw new BusError('STORE_UNAVAILABLE', undefined, { reason: 'TEST' })
    if (happening === undefined) throw new BusError('STORE_TIMEOUT', undefined, { reason: 'TEST' })
    const result = await happening
    if (trouble === 'loses-answer') throw new BusError('STORE_TIMEOUT', undefined, { reason: 'TEST' })
    return result
  }
  const store: FailingStore = {
    trouble: 'none',
    calls: 0,
    capabilities: inner.capabilities,
    append: (requests) => ask(() => inner.append(requests)),
    head: (key) => ask(() => inner.head(key)),
    readBySequence: (query) => ask(() => inner.readBySequence(query)),
    readByTime: (query) => ask(() => inner.readByTime(query)),
    streams: (tenant, room) => ask(() => inner.streams(tenant, room)),
    stats: (tenant) => ask(() => inner.stats(tenant)),
    report: () => inner.report(),
    probe: () => ask(() => inner.probe()),
    close: () => inner.close(),
  }
  return store
}
