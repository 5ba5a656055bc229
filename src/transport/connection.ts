// One WebSocket after its handshake: reads frames within the limits, writes ready-made frames, pings, closes.
// Whatever a peer sends or does, nothing is thrown out of here and no other connection notices.
import type { Socket } from 'node:net'
import type { RawData, WebSocket } from 'ws'
import type { CloseName } from '../base/close-codes.ts'
import type { Clock } from '../base/clock.ts'
import { BusError } from '../base/errors.ts'
import type { Connection } from '../session/session.ts'
import { TokenBucket } from '../session/rate-limit.ts'
import { safeClose } from './safe-socket.ts'

export interface ConnectionLimits {
  readonly messagesPerSecond: number
  readonly messagesBurst: number
  readonly bytesPerSecond: number
  readonly bytesBurst: number
  readonly controlFramesPerSecond: number
  readonly controlFramesBurst: number
  readonly maxStrikes: number
  readonly pingIntervalMs: number
  readonly pongTimeoutMs: number
}

/** The owner of a connection: a session, at the bus or at the edge. Its methods must not throw. */
export interface ConnectionOwner {
  frame(data: Uint8Array, isBinary: boolean): void
  /** A frame was thrown away for the reason given; the owner tells the peer. */
  refused(error: BusError): void
  closed(code: number): void
}

/** A strike is forgotten after this long. */
const strikeWindowMs = 60_000

export class SocketConnection implements Connection {
  readonly address: string
  readonly #ws: WebSocket
  readonly #socket: Socket
  readonly #clock: Clock
  readonly #limits: ConnectionLimits
  readonly #messages: TokenBucket
  readonly #bytes: TokenBucket
  readonly #control: TokenBucket
  readonly #strikes: number[] = []
  #owner: ConnectionOwner | undefined
  #isCorked = false
  #nextPingMs: number
  #pongDueMs: number | undefined
  #bytesSeen = 0

  constructor(ws: WebSocket, socket: Socket, options: { address: string; clock: Clock; limits: ConnectionLimits }) {
    const { clock, limits } = options
    const now = clock.monotonic()
    this.#ws = ws
    this.#socket = socket
    this.address = options.address
    this.#clock = clock
    this.#limits = limits
    this.#messages = new TokenBucket(limits.messagesPerSecond, limits.messagesBurst, now)
    this.#bytes = new TokenBucket(limits.bytesPerSecond, limits.bytesBurst, now)
    this.#control = new TokenBucket(limits.controlFramesPerSecond, limits.controlFramesBurst, now)
    this.#nextPingMs = now + limits.pingIntervalMs
    this.#bytesSeen = socket.bytesRead
  }

  /** Starts reading. */
  attach(owner: ConnectionOwner): void {
    this.#owner = owner
    const ws = this.#ws
    ws.on('message', (data: RawData, isBinary: boolean) => this.#onMessage(data as Buffer, isBinary))
    ws.on('ping', (data: Buffer) => {
      if (this.#admitControl()) ws.pong(data)
    })
    ws.on('pong', () => {
      this.#pongDueMs = undefined
      this.#admitControl()
    })
    ws.on('close', (code: number) => owner.closed(code))
    ws.on('error', () => ws.terminate()) // ws has already told the peer why (1002, 1007, 1009)
  }

  write(frames: Uint8Array): void {
    if (this.#ws.readyState !== this.#ws.OPEN) return
    if (!this.#isCorked) {
      // Answers and deliveries of one turn leave in one system call.
      this.#isCorked = true
      this.#socket.cork()
      process.nextTick(uncork, this)
    }
    this.#socket.write(frames)
  }

  queuedBytes(): number {
    return this.#socket.writableLength
  }

  close(name: CloseName, detail?: string): void {
    if (this.#isCorked) this.uncork()
    safeClose(this.#ws, name, detail)
  }

  uncork(): void {
    this.#isCorked = false
    this.#socket.uncork()
  }

  /** Called about once a second: pings, pong deadlines, and bytes that never became frames. */
  tick(nowMs: number): void {
    const read = this.#socket.bytesRead - this.#bytesSeen
    this.#bytesSeen = this.#socket.bytesRead
    // Fragments do not surface as frames: only the bytes read show that flood (reliability 0.2, L23).
    if (read > this.#limits.bytesBurst + this.#limits.bytesPerSecond * 2) {
      this.close('FLOOD', 'bytes')
      return
    }
    if (this.#pongDueMs !== undefined && nowMs >= this.#pongDueMs) {
      this.close('PING_TIMEOUT')
      this.#ws.terminate()
      return
    }
    if (nowMs >= this.#nextPingMs && this.#ws.readyState === this.#ws.OPEN) {
      this.#nextPingMs = nowMs + this.#limits.pingIntervalMs
      this.#pongDueMs ??= nowMs + this.#limits.pongTimeoutMs
      this.#ws.ping()
    }
  }

  terminate(): void {
    this.#ws.terminate()
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    const now = this.#clock.monotonic()
    const isPaced = this.#messages.take(1, now) && this.#bytes.take(data.length, now)
    if (isPaced) this.#owner?.frame(data, isBinary)
    else this.#strike(now)
  }

  #admitControl(): boolean {
    const now = this.#clock.monotonic()
    if (this.#control.take(1, now)) return true
    this.#strike(now)
    return false
  }

  #strike(now: number): void {
    const strikes = this.#strikes
    while (strikes.length > 0 && strikes[0]! < now - strikeWindowMs) strikes.shift()
    strikes.push(now)
    if (strikes.length > this.#limits.maxStrikes) {
      this.close('FLOOD')
      this.#ws.terminate() // a flooder is not waited for: its next frames are never read
      return
    }
    const waitMs = Math.max(this.#messages.waitMs(1), this.#bytes.waitMs(1))
    this.#owner?.refused(new BusError('RATE_LIMIT_EXCEEDED', undefined, { retry_after_ms: waitMs }))
  }
}

function uncork(connection: SocketConnection): void {
  connection.uncork()
}
