// A page of history, whoever asks for it: from the store, or from memory while that is away and memory has all of it.
import { toIsoTime } from '../base/clock.ts'
import type { JsonObject } from '../base/json.ts'
import type { Envelope } from '../envelope/envelope.ts'
import type { Rooms } from '../rooms/rooms.ts'
import type { AppendRequest, HistoryStore, ReadByTime, StoredRecord } from '../storage/store.ts'
import { envelopeOfFrame } from '../wire/message-frame.ts'
import { keyOf } from './command.ts'
import { heldFrom } from './load-stream.ts'

export type HistoryEntry = JsonObject & { readonly envelope: Envelope & JsonObject }

export interface HistoryPage {
  /** In the order of the query. */
  readonly entries: HistoryEntry[]
  /** For the answer: that nothing of it is stored. */
  readonly facts: JsonObject
}

export function toEntry({ frame, position, atMs }: StoredRecord): HistoryEntry {
  return {
    envelope: { ...envelopeOfFrame(frame, position) },
    stored_at: toIsoTime(atMs),
    storage_metadata: { epoch: position.epoch, sequence: position.sequence },
  }
}

/** Held for a store that is away: it has no position yet, and the time it will have. */
function toHeldEntry({ frame, atMs }: AppendRequest): HistoryEntry {
  return {
    envelope: { ...envelopeOfFrame(frame) },
    stored_at: toIsoTime(atMs),
    storage_metadata: { durability: 'memory' },
  }
}

export interface HistoryPagePorts {
  readonly store: HistoryStore
  readonly rooms: Rooms
}

/** Rejects as the store does where it is away and memory cannot answer for it. */
export async function readPage(query: ReadByTime, { store, rooms }: HistoryPagePorts): Promise<HistoryPage> {
  const held = store.heldLog?.byTime(query, holdsWholeLog(query, rooms))
  if (held !== undefined) return { entries: held.map(toHeldEntry), facts: { durability: 'memory' } }
  return { entries: (await store.readByTime(query)).map(toEntry), facts: {} }
}

function holdsWholeLog({ tenant, room, channel }: ReadByTime, rooms: Rooms): boolean {
  if (room === undefined || channel === undefined) return false
  const stream = rooms.find(keyOf(tenant, room, channel))
  return stream !== undefined && heldFrom(stream)?.sequence === 0
}
