// Records as they cross to and from the server: few large blocks of bytes instead of many small arguments.
//
// A record: its size without this number (32 bits), time (double), size of id, size of sender (16 bits each), id, sender,
// frame; numbers little-endian. It is stored and read as it was sent.
import { BusError } from '../../base/errors.ts'
import type { StreamKey } from '../../envelope/envelope.ts'
import type { AppendRequest, AppendResult, StoredRecord } from '../store.ts'

const headBytes = 12
const hashBytes = 16
const markBytes = 26
const sumBytes = 29
const placeBytes = 12
const fullMark = -(2 ** 53)

// An entry is read as a whole, so it is kept small; one larger record makes an entry of its own.
const entryBytes = 64 * 1024

export interface PackedAppends {
  /** Of each record: hash of its payload, `atMs` (double), its place in this call (16 bits, the highest set). */
  readonly marks: Buffer
  /** Of each entry: records (32 bits), bytes, time of the first, latest time (doubles), 1 where the times are in order. */
  readonly sums: Buffer
  /** Entries of the log: how many records (32 bits), then the records. */
  readonly entries: readonly Buffer[]
  readonly ids: readonly string[]
  /** No id stands twice. */
  readonly isDistinct: boolean
}

/** `atMs` is when their ids are remembered. */
export function packAppends(requests: readonly AppendRequest[], atMs: number): PackedAppends {
  const marks = Buffer.allocUnsafe(requests.length * markBytes)
  const entries: Buffer[] = []
  const sums: Buffer[] = []
  for (let start = 0; start < requests.length; ) {
    let bytes = 4
    let end = start
    do bytes += recordBytes(requests[end++]!)
    while (end < requests.length && bytes + recordBytes(requests[end]!) <= entryBytes)
    entries.push(packEntry(requests, start, end, bytes))
    sums.push(sumUp(requests, start, end))
    start = end
  }
  for (const [i, { hash }] of requests.entries()) {
    const at = i * markBytes
    marks.set(hash, at)
    marks.writeDoubleLE(atMs, at + hashBytes)
    marks.writeUInt16BE(0x8000 | i, at + hashBytes + 8)
  }
  const ids = requests.map(({ id }) => id)
  return { marks, sums: Buffer.concat(sums), entries, ids, isDistinct: new Set(ids).size === ids.length }
}

function sumUp(requests: readonly AppendRequest[], start: number, end: number): Buffer {
  let bytes = 0
  let latest = requests[start]!.atMs
  let isInOrder = true
  for (let i = start; i < end; i++) {
    const { frame, atMs } = requests[i]!
    bytes += frame.length
    if (atMs < latest) isInOrder = false
    else latest = atMs
  }
  const sum = Buffer.allocUnsafe(sumBytes)
  sum.writeUInt32LE(end - start)
  sum.writeDoubleLE(bytes, 4)
  sum.writeDoubleLE(requests[start]!.atMs, 12)
  sum.writeDoubleLE(latest, 20)
  sum[28] = isInOrder ? 1 : 0
  return sum
}

function recordBytes({ id, sender, frame }: AppendRequest): number {
  return 4 + headBytes + Buffer.byteLength(id) + Buffer.byteLength(sender) + frame.length
}

function packEntry(requests: readonly AppendRequest[], start: number, end: number, bytes: number): Buffer {
  const entry = Buffer.allocUnsafe(bytes)
  entry.writeUInt32LE(end - start)
  let at = 4
  for (let i = start; i < end; i++) {
    const { id, sender, frame, atMs } = requests[i]!
    const text = at + 4 + headBytes
    const idBytes = entry.write(id, text)
    const senderBytes = entry.write(sender, text + idBytes)
    const size = headBytes + idBytes + senderBytes + frame.length
    entry.writeUInt32LE(size, at)
    entry.writeDoubleLE(atMs, at + 4)
    entry.writeUInt16LE(idBytes, at + 12)
    entry.writeUInt16LE(senderBytes, at + 14)
    entry.set(frame, text + idBytes + senderBytes)
    at += 4 + size
  }
  return entry
}

/** `outcomes` is absent when all were stored. */
export function unpackResults(
  epoch: number,
  last: number,
  count: number,
  outcomes: Buffer | undefined,
): readonly AppendResult[] {
  if (outcomes === undefined) {
    const first = last - count + 1
    return Array.from({ length: count }, (_, i) => ({ kind: 'stored', position: { epoch, sequence: first + i } }))
  }
  if (outcomes.length !== count * 8) {
    throw new BusError('STORE_TIMEOUT', 'Valkey answered for another number of records', { reason: 'BAD_REPLY' })
  }
  return Array.from({ length: count }, (_, i): AppendResult => {
    const outcome = outcomes.readDoubleLE(i * 8)
    if (outcome === 0) return { kind: 'conflict' }
    if (outcome === fullMark) return { kind: 'dedup-full' }
    return outcome > 0
      ? { kind: 'stored', position: { epoch, sequence: outcome } }
      : { kind: 'duplicate', position: { epoch, sequence: -outcome } }
  })
}

/** `start` is the sequence of the first; they go up from there by `step`, 1 or -1. */
export function unpackRecords(
  block: Buffer,
  key: StreamKey,
  { epoch, start, step }: { readonly epoch: number; readonly start: number; readonly step: 1 | -1 },
): StoredRecord[] {
  const records: StoredRecord[] = []
  let sequence = start
  for (let at = 0; at < block.length; sequence += step) {
    const size = block.readUInt32LE(at)
    const atMs = block.readDoubleLE(at + 4)
    const idEnd = at + 4 + headBytes + block.readUInt16LE(at + 12)
    const senderEnd = idEnd + block.readUInt16LE(at + 14)
    const id = block.toString('utf8', at + 4 + headBytes, idEnd)
    const sender = block.toString('utf8', idEnd, senderEnd)
    const end = at + 4 + size
    // A plain view: whoever compares or prints it need not know of Buffers.
    const frame = new Uint8Array(block.buffer, block.byteOffset + senderEnd, end - senderEnd)
    records.push({ key, position: { epoch, sequence }, id, sender, atMs, frame })
    at = end
  }
  return records
}

export interface Place {
  readonly sequence: number
  readonly atMs: number
  readonly bytes: number
}

export function unpackPlaces(block: Buffer, start: number, step: 1 | -1): Place[] {
  return Array.from({ length: block.length / placeBytes }, (_, i) => ({
    sequence: start + i * step,
    atMs: block.readDoubleLE(i * placeBytes),
    bytes: block.readUInt32LE(i * placeBytes + 8),
  }))
}

/** Times, and how many ids were remembered at each. */
export function unpackIdCounts(block: Buffer): { readonly atMs: number; readonly count: number }[] {
  return unpackPlaces(block, 0, 1).map(({ atMs, bytes }) => ({ atMs, count: bytes }))
}
