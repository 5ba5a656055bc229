// Trims streams to which nothing is appended, and forgets their ids: some streams at a time, all of them in turn.
import type { Clock } from '../../base/clock.ts'
import type { StreamKey } from '../../envelope/envelope.ts'
import { asNumber } from '../../valkey/replies.ts'
import type { ValkeyClient } from '../../valkey/valkey-client.ts'
import type { DedupWindow, Retention } from '../store.ts'
import type { KeyNames } from './keys.ts'
import { inSlices, type Reader } from './reader.ts'
import { tidyScript } from './scripts.ts'
import { runScript } from './session.ts'

/** A tenth of a second of the server's time at most, where there is little to remove. */
const streamsPerRound = 2_048
/** So that a round ends, however much there is to remove. */
const maxPasses = 64

export interface TidierOptions {
  readonly clock: Clock
  readonly retention: Retention
  readonly dedup: DedupWindow
}

/** Each call is one round; one at a time, a call during another does nothing. */
export function createTidier(
  client: ValkeyClient,
  names: KeyNames,
  reader: Reader,
  { clock, retention, dedup }: TidierOptions,
): () => Promise<void> {
  let rest: readonly StreamKey[] = []
  let isBusy = false

  async function tidyOne(key: StreamKey): Promise<boolean> {
    const { meta, log, ids, order, sums } = names.of(key)
    const { maxRecords, maxBytes, maxAgeMs } = retention
    const args = [clock.now(), dedup.maxAgeMs, maxRecords, maxBytes, maxAgeMs].map(String)
    return asNumber(await runScript(client.connection(), tidyScript, [meta, log, ids, order, sums], args)) === 1
  }

  return async () => {
    if (isBusy) return
    isBusy = true
    try {
      if (rest.length === 0) rest = await reader.allStreams()
      let keys = rest.slice(0, streamsPerRound)
      rest = rest.slice(streamsPerRound)
      for (let pass = 0; pass < maxPasses && keys.length > 0; pass++) {
        const hasMore = await inSlices(keys, tidyOne)
        keys = keys.filter((_, i) => hasMore[i])
      }
    } finally {
      isBusy = false
    }
  }
}
