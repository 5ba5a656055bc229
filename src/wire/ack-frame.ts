// The binary acknowledgement of a publish, laid out without an envelope object: there is one for each message.
import type { AckLevel, Position } from '../envelope/envelope.ts'
import { encodeStruct, fieldTags, writeText } from './protobuf-codec.ts'
import { Writer } from './writer.ts'

export interface AckFacts {
  readonly id: string
  readonly atMs: number
  readonly sender: string
  readonly level: AckLevel
  readonly position: Position | undefined
  readonly isDuplicate: boolean
}

const writer = new Writer()
const duplicateEntry = encodeStruct({ duplicate: true })
const levelEntries: Readonly<Record<AckLevel, Uint8Array>> = {
  memory: encodeStruct({ level: 'memory' }),
  process: encodeStruct({ level: 'process' }),
  disk: encodeStruct({ level: 'disk' }),
  replica: encodeStruct({ level: 'replica' }),
}
/** `position {epoch, sequence}` with both numbers still to be filled in, and where. */
const positionEntry = Buffer.from(encodeStruct({ position: { epoch: 1, sequence: 1 } }))
const epochOffset = positionEntry.indexOf('epoch') + 'epoch'.length + 3
const sequenceOffset = positionEntry.indexOf('sequence') + 'sequence'.length + 3

/** A whole WebSocket frame; the same envelope as the general encoder makes of the acknowledgement. */
export function ackFrame({ id, atMs, sender, level, position, isDuplicate }: AckFacts): Uint8Array {
  writer.begin()
  if (isDuplicate) writer.copy(duplicateEntry, 0, duplicateEntry.length)
  if (position !== undefined) {
    positionEntry.writeDoubleLE(position.epoch, epochOffset)
    positionEntry.writeDoubleLE(position.sequence, sequenceOffset)
    writer.copy(positionEntry, 0, positionEntry.length)
  }
  const levelEntry = levelEntries[level]
  writer.copy(levelEntry, 0, levelEntry.length)
  writer.varint(writer.written)
  writer.varint(fieldTags.metadata)
  writer.byte(0)
  writer.varint(fieldTags.args)
  writer.byte(0)
  writer.varint(fieldTags.payload)
  writeText(writer, 8, 'success')
  writeText(writer, 4, sender)
  writeText(writer, 3, '1.0')
  writer.varint(writer.written)
  writer.byte(0x12)
  writeText(writer, 1, 'message_response')
  writer.varint(writer.written)
  writer.varint(fieldTags.event)
  writer.varint(atMs)
  writer.byte(0x20)
  writeText(writer, 1, id)
  // The WebSocket header stands before all this (RFC 6455 5.2); an acknowledgement is far below 65,536 bytes.
  const length = writer.written
  if (length < 126) writer.byte(length)
  else {
    writer.byte(length & 255)
    writer.byte(length >> 8)
    writer.byte(126)
  }
  writer.byte(0x82)
  return writer.finish()
}
