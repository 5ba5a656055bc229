// Publishers of what is held for a store that is away: told when it is stored. Courtesy, never needed: the same id
// published again tells the same.
import type { AckLevel, StreamKey } from '../envelope/envelope.ts'
import type { Client } from '../session/client.ts'
import type { FlushedRecord } from '../storage/store.ts'
import type { Replies } from './replies.ts'

/** A client with more unread than this is not told. */
const maxUnreadBytes = 64 * 1024

export interface Upgrades {
  /** Held: its client wants to know; of several the last. */
  expect(publication: { readonly client: Client; readonly key: StreamKey; readonly id: string }): void
  tell(record: FlushedRecord, level: AckLevel): void
  /** Nothing is held any more. */
  forget(): void
}

export function createUpgrades(replies: Replies): Upgrades {
  /** As many as are held, or fewer. */
  const waiting = new Map<string, Client>()

  return {
    expect: ({ client, key, id }) => void waiting.set(nameOf(key, id), client),
    tell({ key, id, position }, level) {
      const name = nameOf(key, id)
      const client = waiting.get(name)
      waiting.delete(name)
      if (client === undefined || client.isClosed || (client.queuedBytes?.() ?? 0) > maxUnreadBytes) return
      client.send(replies.upgrade(id, level, position))
    },
    forget: () => waiting.clear(),
  }
}

/** Names hold no control characters. */
const nameOf = ({ tenant, room, channel }: StreamKey, id: string): string => [tenant, room, channel, id].join('\0')
