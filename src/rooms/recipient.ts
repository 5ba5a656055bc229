// What rooms need of whoever is a member: a session of this process, or a gateway process standing for many.
import type { WireFormat } from '../envelope/envelope.ts'

export interface Recipient {
  /** The client id; frames this sender published are cut from its own deliveries. */
  readonly id: string
  readonly format: WireFormat
  /** Behind a gateway: the outlet carries its deliveries, `write` is never called. */
  readonly isRemote: boolean
  /** Ready-made WebSocket frames, possibly many in one array, shared between recipients: never to be changed. */
  write(frames: Uint8Array): void
}
