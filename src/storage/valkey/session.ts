// What the parts of the Valkey store share: running scripts on one connection, and what was seen of each stream.
import { isBusError } from '../../base/errors.ts'
import type { StreamKey } from '../../envelope/envelope.ts'
import type { ValkeyConnection } from '../../valkey/connection.ts'
import type { ValkeyReply } from '../../valkey/replies.ts'
import { streamName } from '../stream-name.ts'
import type { Script } from './scripts.ts'

/** By its name, or with its source where the server has forgotten it. */
export async function runScript(
  connection: ValkeyConnection,
  script: Script,
  keys: readonly string[],
  args: readonly (string | Buffer)[],
): Promise<ValkeyReply> {
  const rest = [String(keys.length), ...keys, ...args]
  try {
    return await connection.send(['EVALSHA', script.sha, ...rest])
  } catch (error) {
    if (!isBusError(error) || error.details['reason'] !== 'NOSCRIPT') throw error
    return await connection.send(['EVAL', script.source, ...rest])
  }
}

/**
 * The furthest of each stream that this process has seen: a server that has less has lost it. Kept for every stream
 * while the store is open.
 */
export interface Seen {
  get(key: StreamKey): { readonly epoch: number; readonly last: number } | undefined
  note(key: StreamKey, epoch: number, last: number): void
}

export function createSeen(): Seen {
  const seen = new Map<string, { epoch: number; last: number }>()
  return {
    get: (key) => seen.get(streamName(key)),
    note(key, epoch, last) {
      // A stream without records has given no position out.
      if (last === 0) return
      const name = streamName(key)
      const known = seen.get(name)
      if (known === undefined) seen.set(name, { epoch, last })
      else if (epoch > known.epoch) Object.assign(known, { epoch, last })
      else if (epoch === known.epoch && last > known.last) known.last = last
    },
  }
}
