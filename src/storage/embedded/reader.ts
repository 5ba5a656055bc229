// Answers questions from the history file over a read-only connection of its own, beside the writer.
// Runs in a worker thread; everything here is synchronous.
import type { DatabaseSync } from 'node:sqlite'
import type { StreamKey } from '../../envelope/envelope.ts'
import type { ReadBySequence, ReadByTime, StoreStats, StreamHead } from '../store.ts'
import { compareKeys, mergeByTime } from '../time-merge.ts'
import { BlockItems } from './block.ts'
import { createRecordPacker, type PackedRecords, type RecordPacker } from './packed-records.ts'
import { createTimeCursors } from './time-cursors.ts'

export interface Reader {
  head(key: StreamKey): Omit<StreamHead, 'epoch'>
  readBySequence(query: ReadBySequence): PackedRecords
  readByTime(query: ReadByTime): PackedRecords
  streams(tenant: string, room?: string): StreamKey[]
  stats(tenant?: string): Omit<StoreStats, 'backend'>
}

/** A stream with records, as the reader found it. */
export interface FoundStream {
  readonly row: number
  readonly key: StreamKey
  readonly first: number
}

export function createReader(db: DatabaseSync): Reader {
  const selectHead = db.prepare('SELECT first, last FROM streams WHERE tenant = ? AND room = ? AND channel = ?')
  const selectStream = db.prepare('SELECT row, first FROM streams WHERE tenant = ? AND room = ? AND channel = ?')
  const selectBlocks = db.prepare(
    `SELECT b.first, b.items, f.frames FROM blocks AS b JOIN frames AS f ON f.row = b.row
     WHERE b.stream = ? AND b.last > ? ORDER BY b.last`,
  )
  const selectFrames = db.prepare('SELECT frames FROM frames WHERE row = ?')
  const selectStreams = db.prepare(
    `SELECT row, room, channel, first FROM streams
     WHERE tenant = ?1 AND (?2 IS NULL OR room = ?2) AND last >= first`,
  )
  const selectStats = db.prepare(
    `SELECT count(*) AS streams, coalesce(sum(last - first + 1), 0) AS records, coalesce(sum(bytes), 0) AS bytes
     FROM streams WHERE (?1 IS NULL OR tenant = ?1) AND last >= first`,
  )
  const cursors = createTimeCursors(db)

  /** One view of the file for all statements: a trim between two of them could take a block away. */
  function inOneView(read: (packer: RecordPacker) => void): PackedRecords {
    const packer = createRecordPacker()
    db.exec('BEGIN')
    try {
      read(packer)
    } finally {
      db.exec('COMMIT')
    }
    return packer.pack()
  }

  function streamOf(key: StreamKey): FoundStream | undefined {
    const found = selectStream.get(key.tenant, key.room, key.channel)
    return found === undefined ? undefined : { row: Number(found['row']), first: Number(found['first']), key }
  }

  function streamsOf(tenant: string, room: string | undefined, channel: string | undefined): FoundStream[] {
    if (room !== undefined && channel !== undefined) {
      const found = streamOf({ tenant, room, channel })
      return found === undefined ? [] : [found]
    }
    return selectStreams
      .all(tenant, room ?? null)
      .map((found) => ({
        row: Number(found['row']),
        key: { tenant, room: String(found['room']), channel: String(found['channel']) },
        first: Number(found['first']),
      }))
      .filter(({ key }) => channel === undefined || key.channel === channel)
  }

  function add(packer: RecordPacker, key: StreamKey, record: BlockRecord): void {
    const { items, i, sequence, frames } = record
    const frame = frames.subarray(items.frameStart(i), items.frameEnd(i))
    packer.add(key, { sequence, atMs: items.atMs(i), id: items.id(i), sender: items.sender(i), frame })
  }

  function packFrom(packer: RecordPacker, stream: FoundStream, query: ReadBySequence): void {
    let bytes = 0
    let left = query.limit
    const after = Math.max(query.after, stream.first - 1)
    for (const found of selectBlocks.iterate(stream.row, after)) {
      const items = new BlockItems(found['items'] as Uint8Array) // BLOB NOT NULL in the schema, as are the frames
      const frames = found['frames'] as Uint8Array
      const first = Number(found['first'])
      for (let i = Math.max(0, after + 1 - first); i < items.count; i++) {
        bytes += items.frameEnd(i) - items.frameStart(i)
        if (left === 0 || (left < query.limit && bytes > query.maxBytes)) return
        add(packer, query.key, { items, i, sequence: first + i, frames })
        left--
      }
      if (left === 0) return
    }
  }

  return {
    head(key) {
      const row = selectHead.get(key.tenant, key.room, key.channel)
      return row === undefined ? { first: 1, last: 0 } : { first: Number(row['first']), last: Number(row['last']) }
    },
    readBySequence: (query) =>
      inOneView((packer) => {
        const stream = streamOf(query.key)
        if (stream !== undefined && query.limit > 0) packFrom(packer, stream, query)
      }),
    readByTime: (query) =>
      inOneView((packer) => {
        if (query.limit <= 0) return
        const found = streamsOf(query.tenant, query.room, query.channel)
        const frames = new Map<number, Uint8Array>()
        for (const { key, row, items, i, sequence } of mergeByTime(
          found.flatMap((stream) => cursors.of(stream, query)),
          query,
        )) {
          const ofBlock = frames.get(row) ?? (selectFrames.get(row)?.['frames'] as Uint8Array) // there, in this view
          frames.set(row, ofBlock)
          add(packer, key, { items, i, sequence, frames: ofBlock })
        }
      }),
    streams: (tenant, room) =>
      streamsOf(tenant, room, undefined)
        .map((stream) => stream.key)
        .sort(compareKeys),
    stats(tenant) {
      const row = selectStats.get(tenant ?? null)
      return { streams: Number(row?.['streams']), records: Number(row?.['records']), bytes: Number(row?.['bytes']) }
    },
  }
}

interface BlockRecord {
  readonly items: BlockItems
  readonly i: number
  readonly sequence: number
  readonly frames: Uint8Array
}
