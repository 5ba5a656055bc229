// One recipient's membership of one stream.
import type { LossyPolicy } from '../envelope/envelope.ts'
import type { Recipient } from './recipient.ts'

export interface Member {
  readonly recipient: Recipient
  cursor: number
  /** False once it has left: a fan-out under way skips it. */
  isActive: boolean
  /** Joined this channel by name, and / or the whole room. */
  byChannel: boolean
  byRoom: boolean
  readonly joinedAtMs: number
  /** Passed over while its socket is full, instead of being cut off. */
  overflow: LossyPolicy | undefined
}
