// What a `gap` frame tells a member that was passed over (docs/wire.md): the same at the bus and at the edge.
import type { JsonObject } from '../base/json.ts'
import type { OverflowPolicy } from './envelope.ts'

/** The messages that are not delivered: numbers of the stream, both ends included. */
export interface MissedRange {
  readonly epoch: number
  readonly from: number
  readonly to: number
}

/** `range` where the stream is stored and clients see positions: there the log may bring the messages. */
export function overflowFacts(policy: OverflowPolicy, missed: number, range: MissedRange | undefined): JsonObject {
  return { reason: 'overflow', policy, missed, recoverable: range !== undefined, ...range }
}
