// A client behind a gateway, as the bus sees it: its answers leave over the link, its deliveries through the outlet.
// The last message that answers a frame says so: an answer is held until the turn ends or its frame is done.
import type { Identity } from '../auth/identity.ts'
import type { CloseName } from '../base/close-codes.ts'
import { BusError } from '../base/errors.ts'
import { edgeHeaders } from '../envelope/edge-protocol.ts'
import type { Envelope, Position, StreamKey, WireFormat } from '../envelope/envelope.ts'
import { escapeToken } from '../envelope/names.ts'
import { outSessionSubject } from '../envelope/subjects.ts'
import type { LinkHeaders } from '../link/link.ts'
import type { Client } from '../session/client.ts'
import { encodeProtobuf } from '../wire/protobuf-codec.ts'

export interface RemoteClientOptions {
  readonly id: string
  /** The gateway's process and the session there: the halves of the id. */
  readonly process: string
  readonly session: string
  readonly identity: Identity
  readonly format: WireFormat
  readonly address: string
  readonly connectedAtMs: number
  readonly firstFrame: number
  readonly epochOf: (position: { epoch: number }) => number
  /** False when it could not be sent: the gateway finds out by its own time-out. */
  readonly publish: (subject: string, data: Uint8Array, headers?: LinkHeaders) => boolean
  readonly maxAnswerBytes: number
  /** Builds the answer that replaces one too large for the link. */
  readonly tooLarge: (answer: Envelope, error: BusError) => Envelope
  readonly onClose: (client: RemoteClient, name: CloseName, detail: string | undefined) => void
}

/** Streams named in one `joined` header. */
const joinedPerMessage = 200
const empty = new Uint8Array()

export class RemoteClient implements Client {
  readonly id: string
  readonly isRemote = true
  readonly process: string
  readonly address: string
  readonly connectedAtMs: number
  identity: Identity
  format: WireFormat
  inflight = 0
  isClosed = false
  /** The number its next frame must have. */
  expected: number
  /** While memberships are restored: answers are for the bus, not for the client. */
  isRestoring = false
  /** How the last command ended, for receipts. */
  lastStatus: { status: string; code: string | undefined } | undefined
  readonly #options: RemoteClientOptions
  readonly #subject: string
  #held: Uint8Array | undefined
  #sent = 0
  #joined: { key: StreamKey; position: Position }[] = []
  /** Frames whose receipt is all there is to say, and has not left yet. */
  #receipts: { readonly first: number; last: number } | undefined

  constructor(options: RemoteClientOptions) {
    this.#options = options
    this.id = options.id
    this.process = options.process
    this.identity = options.identity
    this.format = options.format
    this.address = options.address
    this.connectedAtMs = options.connectedAtMs
    this.expected = options.firstFrame
    this.#subject = outSessionSubject(options.identity.tenant, options.process, options.session)
  }

  send(envelope: Envelope): void {
    if (this.isClosed || envelope.type === 'goaway') return // the gateway stays when the bus goes
    if (envelope.type === 'response') {
      this.lastStatus = { status: envelope.status ?? 'error', code: envelope.error_code }
    }
    const isAnswer = envelope.type === 'response' || envelope.type === 'command_response' || envelope.type === 'error'
    if (this.isRestoring && isAnswer) return
    this.#flushHeld()
    this.#held = this.#encode(envelope)
    queueMicrotask(() => this.#flushHeld())
  }

  write(): void {
    throw new Error('deliveries of a remote client leave through the outlet')
  }

  joined(key: StreamKey, position: Position): void {
    this.#joined.push({ key, position })
  }

  /** The streams joined since the last call. */
  takeJoined(): readonly { key: StreamKey; position: Position }[] {
    return this.#joined.splice(0)
  }

  /** All that answers the frame has been sent. */
  finish(frame: number, hasIntent: boolean): void {
    if (this.isClosed) return
    if (!hasIntent && this.#held === undefined) {
      this.#noteReceipt(frame)
      return
    }
    const headers: Record<string, string> = { [edgeHeaders.frame]: String(frame) }
    if (hasIntent) this.#reportMembership(headers)
    const data = this.#held ?? empty
    this.#held = undefined
    this.#publish(data, headers)
  }

  /** The frame was not taken: frames from `expected` on are missing. */
  reportGap(frame: number): void {
    this.#flushHeld()
    this.#publish(empty, {
      [edgeHeaders.frame]: String(frame),
      [edgeHeaders.gap]: String(this.expected),
    })
  }

  close(name: CloseName, detail?: string): void {
    if (this.isClosed) return
    this.#flushHeld()
    this.#flushReceipts()
    this.isClosed = true
    this.#options.onClose(this, name, detail)
  }

  #reportMembership(headers: Record<string, string>): void {
    const rows = this.takeJoined().map(({ key, position }) => [
      key.channel,
      this.#options.epochOf(position),
      position.sequence,
    ])
    const { status, code } = this.lastStatus ?? {}
    headers[edgeHeaders.status] = status === 'success' ? status : (code ?? 'INTERNAL_ERROR')
    headers[edgeHeaders.joinedTotal] = String(rows.length)
    while (rows.length > joinedPerMessage) {
      const joined = JSON.stringify(rows.splice(0, joinedPerMessage))
      this.#flushHeld()
      this.#publish(empty, { [edgeHeaders.joined]: joined })
    }
    headers[edgeHeaders.joined] = JSON.stringify(rows)
  }

  #encode(envelope: Envelope): Uint8Array {
    const bytes = encodeProtobuf(envelope)
    const { maxAnswerBytes } = this.#options
    if (bytes.length <= maxAnswerBytes) return bytes
    const error = new BusError('LIMIT_EXCEEDED', 'The answer is larger than the link carries; ask for less', {
      limit: 'answer',
      max: maxAnswerBytes,
    })
    return encodeProtobuf(this.#options.tooLarge(envelope, error))
  }

  /** Receipts of one turn leave as one, where their frames follow each other. */
  #noteReceipt(frame: number): void {
    if (this.#receipts !== undefined && frame === this.#receipts.last + 1) {
      this.#receipts.last = frame
      return
    }
    this.#flushReceipts()
    this.#receipts = { first: frame, last: frame }
    queueMicrotask(() => this.#flushReceipts())
  }

  #flushReceipts(): void {
    const receipts = this.#receipts
    if (receipts === undefined || this.isClosed) return
    this.#receipts = undefined
    const { first, last } = receipts
    this.#publish(empty, {
      [edgeHeaders.frame]: String(last),
      ...(first < last && { [edgeHeaders.since]: String(first) }),
    })
  }

  /** Counted also when it cannot be sent: the gateway notices by the next one. */
  #publish(data: Uint8Array, headers: LinkHeaders): void {
    this.#flushReceipts()
    this.#options.publish(this.#subject, data, { ...headers, [edgeHeaders.out]: String(++this.#sent) })
  }

  #flushHeld(): void {
    if (this.#held === undefined) return
    const data = this.#held
    this.#held = undefined
    this.#publish(data, {})
  }
}

/** The subject header of a token's subject: any text, as one harmless word. */
export function subjectHeader(identity: Identity): string {
  return escapeToken(identity.subject)
}
