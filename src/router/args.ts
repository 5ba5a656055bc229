// Reading the arguments of commands. Numbers may arrive as doubles (`10.0`) through protobuf; whole ones are taken.
import { BusError, invalid } from '../base/errors.ts'
import type { JsonObject, JsonValue } from '../base/json.ts'
import { parseName } from '../envelope/names.ts'

/** Blank counts as absent, as in the original's history commands. */
export function optionalText(args: JsonObject, name: string): string | undefined {
  const value = args[name]
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value !== 'string') throw invalid('BAD_ARGUMENT', `${name} must be text`, { field: name })
  return value
}

export function requiredText(args: JsonObject, name: string): string {
  const value = optionalText(args, name)
  if (value === undefined) throw invalid('MISSING_ARGUMENT', `${name} is missing`, { field: name })
  return value
}

/** One of the words, or undefined when absent. */
export function optionalChoice<Word extends string>(
  args: JsonObject,
  name: string,
  words: readonly Word[],
): Word | undefined {
  const value = args[name]
  if (value === undefined || value === null) return undefined
  const word = words.find((one) => one === value)
  if (word === undefined) {
    throw invalid('BAD_ARGUMENT', `${name} must be one of ${words.join(', ')}`, { field: name })
  }
  return word
}

/** A whole number within bounds, or the default when absent. */
export function limitOf(args: JsonObject, name: string, bounds: { min: number; max: number; default: number }): number {
  const value = args[name]
  if (value === undefined || value === null) return bounds.default
  if (typeof value !== 'number' || !Number.isInteger(value) || value < bounds.min || value > bounds.max) {
    throw invalid('BAD_LIMIT', `${name} must be a whole number from ${bounds.min} to ${bounds.max}`, {
      field: name,
      min: bounds.min,
      max: bounds.max,
    })
  }
  return value
}

export function optionalFlag(args: JsonObject, name: string, otherwise: boolean): boolean {
  const value = args[name]
  if (value === undefined || value === null) return otherwise
  if (typeof value !== 'boolean') throw invalid('BAD_ARGUMENT', `${name} must be true or false`, { field: name })
  return value
}

/** Milliseconds of an ISO 8601 time; a time without offset is UTC. */
export function optionalTime(args: JsonObject, name: string): number | undefined {
  const text = optionalText(args, name)
  return text === undefined ? undefined : parseTime(text, name)
}

/** The same of a text that may not be blank. `name` is the field's. */
export function parseTime(text: string, name: string): number {
  const form = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?$/
  const match = form.exec(text)
  const ms = match === null ? Number.NaN : Date.parse(match[1] === undefined && text.length > 10 ? `${text}Z` : text)
  if (Number.isNaN(ms)) {
    throw new BusError('INVALID_TIMESTAMP', `${name} must be an ISO 8601 time such as 2026-01-31T12:00:00Z`, {
      field: name,
    })
  }
  return ms
}

/**
 * The room and channel a command is about: `{room, channel}`, or the documented `{channel_id}` / `{channel}` alone in
 * the form `room:channel`. `*` is let through as the channel where `allowsWholeRoom`.
 */
export function roomAndChannel(args: JsonObject, allowsWholeRoom = false): { room: string; channel: string } {
  let room: JsonValue | undefined = args['room']
  let channel: JsonValue | undefined = args['channel'] ?? args['name'] ?? args['channel_id']
  if ((room === undefined || room === null) && typeof channel === 'string') {
    const colon = channel.indexOf(':')
    if (colon > 0) {
      room = channel.slice(0, colon)
      channel = channel.slice(colon + 1)
    }
  }
  if (room === undefined || room === null) throw invalid('MISSING_ARGUMENT', 'room is missing', { field: 'room' })
  if (channel === undefined || channel === null) {
    throw invalid('MISSING_ARGUMENT', 'channel is missing', { field: 'channel' })
  }
  if (allowsWholeRoom && channel === '*') return { room: parseName('room', room), channel }
  return { room: parseName('room', room), channel: parseName('channel', channel) }
}
