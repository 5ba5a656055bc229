// A message as one line for people.
import type { JsonObject } from '../base/json.ts'
import type { Message, Position } from '../client/client.ts'
import { toPrintableJson, toPrintableWord } from './terminal.ts'

/** `time  room:channel  epoch:sequence  sender  payload` */
export function messageLine(message: Omit<Message, 'id' | 'metadata'>): string {
  const { room, channel, position, sender, payload } = message
  const place = `${toPrintableWord(room ?? '-')}:${toPrintableWord(channel ?? '-')}`
  const at = position === undefined ? '-' : `${position.epoch}:${position.sequence}`
  return [toPrintableWord(message.timestamp), place, at, toPrintableWord(sender ?? '-'), toPrintableJson(payload)].join(
    '  ',
  )
}

/** The same for an entry of the history, whose envelope is plain JSON. */
export function envelopeLine(envelope: JsonObject, position: Position | undefined): string {
  const text = (field: string): string | undefined => {
    const value = envelope[field]
    return typeof value === 'string' ? value : undefined
  }
  return messageLine({
    timestamp: text('timestamp') ?? '-',
    room: text('room'),
    channel: text('channel'),
    sender: text('sender'),
    payload: envelope['payload'] ?? {},
    position,
  })
}
