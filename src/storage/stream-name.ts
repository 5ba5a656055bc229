// One text for a stream, to look it up by in a Map.
import type { StreamKey } from '../envelope/envelope.ts'

/** Injective whatever the names hold: the lengths say where each part ends. */
export function streamName({ tenant, room, channel }: StreamKey): string {
  return `${tenant.length}:${room.length}:${tenant}${room}${channel}`
}
