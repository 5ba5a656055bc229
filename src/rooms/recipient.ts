// What rooms need of whoever is a member: a session of this process, or a gateway process standing for many.
import type { Envelope, WireFormat } from '../envelope/envelope.ts'

export interface Recipient {
  /** The client id; frames this sender published are cut from its own deliveries. */
  readonly id: string
  readonly format: WireFormat
  /** Behind a gateway: the outlet carries its deliveries, `write` is never called. */
  readonly isRemote: boolean
  /** Ready-made WebSocket frames, possibly many in one array, shared between recipients: never to be changed. */
  write(frames: Uint8Array): void
  /** A frame of its own. */
  send?(envelope: Envelope): void
  /** Bytes written and not yet taken by the peer; without it a recipient is never behind. */
  queuedBytes?(): number
  /** Calls back, later, when what was written so far has been taken; never when the connection ends before. */
  whenWritten?(done: () => void): void
}
