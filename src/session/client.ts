// A client as commands and publishes see it: connected here, or behind a gateway. Structurally a room's recipient.
import type { Identity } from '../auth/identity.ts'
import type { CloseName } from '../base/close-codes.ts'
import type { Envelope, Position, StreamKey, WireFormat } from '../envelope/envelope.ts'

export interface Client {
  /** `arq_client_` + 8 hex of the process holding its socket + 24 random hex. */
  readonly id: string
  readonly isRemote: boolean
  identity: Identity
  /** The format its answers take. */
  format: WireFormat
  readonly address: string
  readonly connectedAtMs: number
  /** Publishes received and not yet answered. */
  inflight: number
  readonly isClosed: boolean
  /** Frames to the client leave in the order of these calls. */
  send(envelope: Envelope): void
  /** Ready-made WebSocket frames; never called for a remote client. */
  write(frames: Uint8Array): void
  /** Bytes written here and not yet taken by the peer. */
  queuedBytes?(): number
  whenWritten?(done: () => void): void
  close(name: CloseName, detail?: string): void
  /** Stops or resumes reading its socket; absent behind gateways, which bound their own sessions. */
  pauseReading?(isPaused: boolean): void
  /** Told once for each stream a join made it a member of, after the answer and the recovered messages were sent. */
  joined?(key: StreamKey, position: Position): void
}
