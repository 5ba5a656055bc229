// One connected client of this process. States: open -> draining -> closed; a closed session swallows writes.
// Everything written leaves in order; bytes waiting in the socket are bounded, and whoever reads too slowly is closed
// instead of making others wait.
import { type CloseName, closeTable } from '../base/close-codes.ts'
import type { Envelope, WireFormat } from '../envelope/envelope.ts'
import type { Identity } from '../auth/identity.ts'
import { encodeJson } from '../wire/json-codec.ts'
import { encodeProtobuf } from '../wire/protobuf-codec.ts'
import { wsFrame } from '../wire/ws-frame.ts'
import type { Client } from './client.ts'

/** What a session needs of its socket. */
export interface Connection {
  /** Takes ready-made WebSocket frames; never blocks, never throws. */
  write(frames: Uint8Array): void
  /** Bytes written and not yet taken by the peer's kernel. */
  queuedBytes(): number
  /** Calls back, later, when what was written so far has been taken; never when the connection ends before. */
  whenWritten(done: () => void): void
  close(name: CloseName, detail?: string): void
  pauseReading(isPaused: boolean): void
}

export interface SessionOptions {
  readonly id: string
  readonly identity: Identity
  readonly format: WireFormat
  readonly address: string
  readonly connectedAtMs: number
  readonly maxQueuedBytes: number
  readonly onSlow: (session: Session) => void
}

const encoder = new TextEncoder()

/** The WebSocket frame of an envelope, in one wire format. */
export function encodeForSocket(envelope: Envelope, format: WireFormat): Uint8Array {
  return format === 'json' ? wsFrame(1, encoder.encode(encodeJson(envelope))) : wsFrame(2, encodeProtobuf(envelope))
}

export class Session implements Client {
  readonly id: string
  readonly isRemote = false
  readonly address: string
  readonly connectedAtMs: number
  identity: Identity
  /** That of the last good frame received (original-contract 3.3). */
  format: WireFormat
  inflight = 0
  isClosed = false
  readonly #connection: Connection
  readonly #maxQueuedBytes: number
  readonly #onSlow: (session: Session) => void

  constructor(connection: Connection, options: SessionOptions) {
    this.#connection = connection
    this.id = options.id
    this.identity = options.identity
    this.format = options.format
    this.address = options.address
    this.connectedAtMs = options.connectedAtMs
    this.#maxQueuedBytes = options.maxQueuedBytes
    this.#onSlow = options.onSlow
  }

  send(envelope: Envelope): void {
    this.write(encodeForSocket(envelope, this.format))
  }

  write(frames: Uint8Array): void {
    if (this.isClosed) return
    const queued = this.#connection.queuedBytes()
    // The next frame counts too: a bound checked only before the write lets one huge batch through (reliability P5).
    if (queued > 0 && queued + frames.length > this.#maxQueuedBytes) {
      this.#onSlow(this)
      this.close('SLOW_CONSUMER', `queued=${queued}`)
      return
    }
    this.#connection.write(frames)
  }

  queuedBytes(): number {
    return this.#connection.queuedBytes()
  }

  pauseReading(isPaused: boolean): void {
    if (!this.isClosed) this.#connection.pauseReading(isPaused)
  }

  whenWritten(done: () => void): void {
    if (!this.isClosed) this.#connection.whenWritten(done)
  }

  close(name: CloseName, detail: string = closeTable[name].text): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#connection.close(name, detail)
  }
}
