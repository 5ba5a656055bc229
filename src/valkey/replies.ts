// Replies of the server as values: bulk strings are bytes, maps are flat lists.
import { BusError } from '../base/errors.ts'

export type ValkeyReply = Buffer | string | number | boolean | null | readonly ValkeyReply[]

function unexpected(wanted: string): BusError {
  return new BusError('STORE_UNAVAILABLE', `The server answered something else than ${wanted}`, { reason: 'BAD_REPLY' })
}

export function asBytes(reply: ValkeyReply | undefined): Buffer {
  if (reply instanceof Buffer) return reply
  throw unexpected('bytes')
}

export function asText(reply: ValkeyReply | undefined): string {
  if (typeof reply === 'string') return reply
  return asBytes(reply).toString('utf8')
}

/** Of an integer, or of decimal digits in a string. */
export function asNumber(reply: ValkeyReply | undefined): number {
  const number = typeof reply === 'number' ? reply : Number(asText(reply))
  if (Number.isFinite(number)) return number
  throw unexpected('a number')
}

export function asList(reply: ValkeyReply | undefined): readonly ValkeyReply[] {
  if (Array.isArray(reply)) return reply
  throw unexpected('a list')
}

/** Of a flat list of names and values. */
export function asTextMap(reply: ValkeyReply | undefined): Map<string, string> {
  const list = asList(reply)
  const map = new Map<string, string>()
  for (let i = 0; i + 1 < list.length; i += 2) map.set(asText(list[i]), asText(list[i + 1]))
  return map
}
