// Numbers the distinct streams of a block of records, in order of first appearance.
import type { StreamKey } from '../../envelope/envelope.ts'
import { streamName } from '../stream-name.ts'

export interface KeyNumbers {
  readonly keys: StreamKey[]
  readonly numberOf: (key: StreamKey) => number
}

export function createKeyNumbers(): KeyNumbers {
  const keys: StreamKey[] = []
  const numbers = new Map<string, number>()
  let last: StreamKey | undefined
  let lastNumber = 0
  return {
    keys,
    numberOf(key) {
      // Most items follow one of the same stream; then no name is built.
      if (last?.channel === key.channel && last.room === key.room && last.tenant === key.tenant) return lastNumber
      const name = streamName(key)
      const number = numbers.get(name) ?? keys.push({ tenant: key.tenant, room: key.room, channel: key.channel }) - 1
      numbers.set(name, number)
      last = keys[number]
      lastNumber = number
      return number
    },
  }
}
