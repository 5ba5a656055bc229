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

/** The owner of a connection: a session, at the bus or at the edge. What it throws costs it its own connection only. */
export interface ConnectionOwner {
  frame(data: Uint8Array, isBinary: boolean): void | Promise<void>
  /** A frame was thrown away for the reason given; the owner tells the peer. */
  refused(error: BusError): void
  closed(code: number): void
}

export interface ConnectionOptions {
  readonly address: string
  readonly clock: Clock
  readonly limits: ConnectionLimits
  /** Told what an owner threw, and in which of its methods; must not throw itself. */
  readonly report: (where: string, error: unknown) => void
}

/** A strike is forgotten after this long. */
const strikeWindowMs = 60_000

export class SocketConnection implements Connection {
  readonly address: string
  readonly #ws: WebSocket
  readonly #socket: Socket
  readonly #clock: Clock
  readonly #report: ConnectionOptions['report']
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

  constructor(ws: WebSocket, socket: Socket, options: ConnectionOptions) {
    const { clock, limits } = options
    const now = clock.monotonic()
    // ws tells the peer what was wrong (1002, 1007, 1008, 1009) and ends the socket itself; without a listener one bad
    // frame would end the process (reliability 3.2, 40), and destroying the socket here could overtake the close frame.
    ws.on('error', () => {})
    this.#ws = ws
    this.#socket = socket
    this.address = options.address
    this.#clock = clock
    this.#report = options.report
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
    ws.on('close', (code: number) => this.#guard('closed', () => owner.closed(code)))
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
    if (this.#ws.readyState !== this.#ws.OPEN) return
    const read = this.#socket.bytesRead - this.#bytesSeen
    this.#bytesSeen = this.#socket.bytesRead
    // Fragments do not surface as frames: only the bytes read show that flood (reliability 0.2, L23).
    if (read > this.#limits.bytesBurst + this.#limits.bytesPerSecond * 2) {
      this.#cutOff('FLOOD', 'bytes')
      return
    }
    if (this.#pongDueMs !== undefined && nowMs >= this.#pongDueMs) {
      this.#cutOff('PING_TIMEOUT')
      return
    }
    if (nowMs >= this.#nextPingMs) {
      this.#nextPingMs = nowMs + this.#limits.pingIntervalMs
      this.#pongDueMs ??= nowMs + this.#limits.pongTimeoutMs
      this.#ws.ping()
    }
  }

  terminate(): void {
    this.#ws.terminate()
  }

  /** An owner that fails loses its connection; nobody else notices. */
  fail(where: string, error: unknown): void {
    this.close('INTERNAL')
    this.#report(where, error)
  }

  #guard(where: string, run: () => void | Promise<void>): void {
    try {
      run()?.catch((error: unknown) => this.fail(where, error))
    } catch (error) {
      this.fail(where, error)
    }
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    if (this.#ws.readyState !== this.#ws.OPEN) return // what ws had read already when the connection was closed
    const now = this.#clock.monotonic()
    if (!this.#messages.take(1, now) || !this.#bytes.take(data.length, now)) {
      this.#strike(now)
      return
    }
    this.#guard('frame', () => this.#owner?.frame(data, isBinary))
  }

  #admitControl(): boolean {
    if (this.#ws.readyState !== this.#ws.OPEN) return false
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
      this.#cutOff('FLOOD')
      return
    }
    const waitMs = Math.max(this.#messages.waitMs(1), this.#bytes.waitMs(1))
    const error = new BusError('RATE_LIMIT_EXCEEDED', undefined, { retry_after_ms: waitMs })
    this.#guard('refused', () => this.#owner?.refused(error))
  }

  /**
   * Closes, ends, and reads no more: what still arrives stays in the kernel and costs nothing. The socket is kept until
   * the closing time-out, because destroying it over unread bytes is a reset that can overtake the close frame.
   */
  #cutOff(name: CloseName, detail?: string): void {
    this.close(name, detail)
    this.#ws.pause()
    this.#socket.end()
  }
}

function uncork(connection: SocketConnection): void {
  connection.uncork()
}
