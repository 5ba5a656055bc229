// One WebSocket after its handshake: reads frames within the limits, writes ready-made frames, pings, closes.
// Whatever a peer sends or does, nothing is thrown out of here and no other connection notices.
import type { Socket } from 'node:net'
import { type CloseName, closeTable } from '../base/close-codes.ts'
import type { Clock } from '../base/clock.ts'
import { BusError } from '../base/errors.ts'
import type { Connection } from '../session/session.ts'
import { TokenBucket } from '../session/rate-limit.ts'
import { FrameParser, type FrameSink } from './frame-parser.ts'
import { closeReason } from './safe-socket.ts'
import type { SharedRate } from './tenant-rates.ts'

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
  readonly closeTimeoutMs: number
  readonly maxMessageBytes: number
  readonly maxFragments: number
}

/** The owner of a connection: a session, at the bus or at the edge. What it throws costs it its own connection only. */
export interface ConnectionOwner {
  /**
   * The short way for a binary message: true when the part `[start, end)` was all that is needed and the owner is done
   * with it. The bytes are the owner's during the call only.
   */
  take?(bytes: Uint8Array, start: number, end: number): boolean
  frame(data: Uint8Array, isBinary: boolean): void | Promise<void>
  /** A frame was thrown away for the reason given; the owner tells the peer. */
  refused(error: BusError): void
  closed(code: number): void
}

export interface ConnectionOptions {
  readonly address: string
  readonly clock: Clock
  readonly limits: ConnectionLimits
  /** What its tenant may send over all connections. */
  readonly shared?: SharedRate
  /** Told what an owner threw, and in which of its methods; must not throw itself. */
  readonly report: (where: string, error: unknown) => void
}

/** What a client is told to wait where not it but its tenant sends too much. */
const tenantRetryMs = 1_000
/** A strike is forgotten after this long. */
const strikeWindowMs = 60_000
/** Closed for what they send, or for sending nothing: they are not listened to any more. */
const unheard: ReadonlySet<CloseName> = new Set(['FLOOD', 'REFUSED_TOO_OFTEN', 'PING_TIMEOUT'])
const nothing = new Uint8Array()
/** Larger ones are written as they are, for others may share them. */
const maxJoinedBytes = 1_024
const pingFrame = Buffer.from([0x89, 0])
/** What an end without a Close frame counts as (RFC 6455 7.1.5). */
const abnormal = 1006

type State = 'open' | 'closing' | 'closed'

export class SocketConnection implements Connection, FrameSink {
  readonly address: string
  readonly #socket: Socket
  readonly #clock: Clock
  readonly #report: ConnectionOptions['report']
  readonly #limits: ConnectionLimits
  readonly #parser: FrameParser
  readonly #messages: TokenBucket
  readonly #bytes: TokenBucket
  readonly #control: TokenBucket
  readonly #shared: SharedRate | undefined
  #strikes: number[] | undefined
  #owner: ConnectionOwner | undefined
  #state: State = 'open'
  #closeCode = abnormal
  /** Written in this turn; at its end all of it leaves in one system call. */
  #turn: Uint8Array[] = []
  #turnBytes = 0
  /** Not read, because its owner asked for it, or until its turn because its tenant sends too much. */
  #isHeld = false
  #isThrottled = false
  /** When the chunk at work arrived. */
  #now: number
  #nextPingMs: number
  #pongDueMs: number | undefined
  #bytesSeen: number

  /** Takes over a socket whose upgrade was answered. Errors of the socket are its caller's to hear. */
  constructor(socket: Socket, options: ConnectionOptions) {
    const { clock, limits } = options
    const now = clock.monotonic()
    this.#socket = socket
    this.address = options.address
    this.#clock = clock
    this.#report = options.report
    this.#shared = options.shared
    this.#limits = limits
    this.#parser = new FrameParser(limits, this)
    this.#messages = new TokenBucket(limits.messagesPerSecond, limits.messagesBurst, now)
    this.#bytes = new TokenBucket(limits.bytesPerSecond, limits.bytesBurst, now)
    this.#control = new TokenBucket(limits.controlFramesPerSecond, limits.controlFramesBurst, now)
    this.#now = now
    this.#nextPingMs = now + limits.pingIntervalMs
    this.#bytesSeen = socket.bytesRead
  }

  /** Starts reading; `head` is what came with the upgrade. */
  attach(owner: ConnectionOwner, head: Buffer): void {
    this.#owner = owner
    const socket = this.#socket
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    socket.on('end', () => {
      this.flush()
      this.#state = 'closed'
      socket.end()
    })
    socket.on('close', () => {
      this.#state = 'closed'
      this.#guard('closed', () => owner.closed(this.#closeCode))
    })
    if (head.length > 0) this.#onData(head)
  }

  write(frames: Uint8Array): void {
    if (this.#state !== 'open') return
    if (this.#turn.length === 0) process.nextTick(flush, this)
    this.#turn.push(frames)
    this.#turnBytes += frames.length
  }

  /** Bytes of the socket so far, both ways. */
  get traffic(): { readonly read: number; readonly written: number } {
    return { read: this.#socket.bytesRead, written: this.#socket.bytesWritten }
  }

  queuedBytes(): number {
    return this.#socket.writableLength + this.#turnBytes
  }

  pauseReading(isPaused: boolean): void {
    this.#isHeld = isPaused
    this.#applyPause()
  }

  /** While paused its pongs go unread too, so no deadline runs. */
  #applyPause(): void {
    const isPaused = this.#isHeld || this.#isThrottled
    if (this.#state !== 'open' || this.#socket.isPaused() === isPaused) return
    if (isPaused) {
      this.#pongDueMs = undefined
      this.#nextPingMs = Number.POSITIVE_INFINITY
      this.#socket.pause()
    } else {
      this.#nextPingMs = this.#clock.monotonic() + this.#limits.pingIntervalMs
      this.#socket.resume()
    }
  }

  whenWritten(done: () => void): void {
    if (this.#state !== 'open') return
    this.flush()
    // Nothing, written behind the rest, and told when it has gone: sockets that never lag carry no listener for it.
    this.#socket.write(nothing, (error) => {
      if (!error && this.#state === 'open') this.#guard('drained', done)
    })
  }

  close(name: CloseName, detail?: string): void {
    if (this.#state !== 'open') return
    const { code } = closeTable[name]
    this.#sayClose(code, closeReason(name, detail))
    if (!unheard.has(name)) return
    // What still arrives stays in the kernel and costs nothing. The socket is kept until the closing time-out, because
    // destroying it over unread bytes is a reset that can overtake the close frame.
    this.#closeCode = code
    this.#socket.pause()
    this.#socket.end()
  }

  /** A close frame was sent, and the socket still waits for its end. */
  get isClosing(): boolean {
    return this.#state === 'closing'
  }

  /** Hands what this turn wrote to the socket. */
  flush(): void {
    const frames = this.#turn
    if (frames.length === 0) return
    this.#turn = []
    this.#turnBytes = 0
    const socket = this.#socket
    if (frames.length === 1) {
      socket.write(frames[0]!)
      return
    }
    socket.cork()
    for (const part of joinSmall(frames)) socket.write(part)
    socket.uncork()
  }

  /** Called about once a second: pings, pong deadlines, and bytes that never became frames. */
  tick(nowMs: number): void {
    if (this.#state !== 'open') return
    const read = this.#socket.bytesRead - this.#bytesSeen
    this.#bytesSeen = this.#socket.bytesRead
    // Fragments do not surface as frames: only the bytes read show that flood (reliability 0.2, L23).
    if (read > this.#limits.bytesBurst + this.#limits.bytesPerSecond * 2) {
      this.close('FLOOD', 'bytes')
      return
    }
    if (this.#pongDueMs !== undefined && nowMs >= this.#pongDueMs) {
      this.close('PING_TIMEOUT')
      return
    }
    if (nowMs >= this.#nextPingMs) {
      this.#nextPingMs = nowMs + this.#limits.pingIntervalMs
      this.#pongDueMs ??= nowMs + this.#limits.pongTimeoutMs
      this.write(pingFrame)
    }
  }

  /** Ends the socket at once, without a word to the peer. */
  terminate(): void {
    this.#socket.destroy()
  }

  /** An owner that fails loses its connection; nobody else notices. */
  fail(where: string, error: unknown): void {
    this.close('INTERNAL')
    this.#report(where, error)
  }

  message(bytes: Uint8Array, start: number, end: number, isBinary: boolean): void {
    if (this.#state !== 'open') return // what had arrived already when the connection was closed
    if (!this.#messages.take(1, this.#now) || !this.#bytes.take(end - start, this.#now)) {
      this.#strike()
      return
    }
    if (this.#shared?.take(end - start, this.#now) === false) {
      this.#throttle(this.#shared)
      return
    }
    const owner = this.#owner
    try {
      if (isBinary && owner?.take?.(bytes, start, end)) return
      owner?.frame(bytes.subarray(start, end), isBinary)?.catch((error: unknown) => this.fail('frame', error))
    } catch (error) {
      this.fail('frame', error)
    }
  }

  ping(data: Uint8Array): void {
    if (this.#admitControl()) this.write(Buffer.concat([Buffer.from([0x8a, data.length]), data]))
  }

  pong(): void {
    this.#pongDueMs = undefined
    this.#admitControl()
  }

  peerClosed(code: number): void {
    this.#closeCode = code
    if (this.#state === 'open') this.#sayClose(code)
    this.#socket.end()
  }

  failed(name: CloseName, detail: string): void {
    this.#closeCode = closeTable[name].code
    this.close(name, detail)
    this.#socket.end()
  }

  /** Writes the Close frame; the peer has the closing time-out to answer it and hang up. */
  #sayClose(code: number, reason = ''): void {
    this.#state = 'closing'
    this.flush()
    const text = Buffer.from(reason)
    const payload = code === 1005 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([code >> 8, code & 255]), text])
    const socket = this.#socket
    socket.write(Buffer.concat([Buffer.from([0x88, payload.length]), payload]))
    const timer = setTimeout(() => socket.destroy(), this.#limits.closeTimeoutMs)
    socket.once('close', () => clearTimeout(timer))
  }

  #onData(chunk: Buffer): void {
    this.#now = this.#clock.monotonic()
    this.#parser.push(chunk)
  }

  #guard(where: string, run: () => void): void {
    try {
      run()
    } catch (error) {
      this.fail(where, error)
    }
  }

  #admitControl(): boolean {
    if (this.#state !== 'open') return false
    if (this.#control.take(1, this.#now)) return true
    this.#strike()
    return false
  }

  /** No strike, for the connection may send little itself; what it sends on waits in the kernel and costs nothing. */
  #throttle(shared: SharedRate): void {
    if (!this.#isThrottled) {
      this.#isThrottled = true
      this.#applyPause()
      shared.wait(() => {
        this.#isThrottled = false
        this.#applyPause()
      })
    }
    const error = new BusError('RATE_LIMIT_EXCEEDED', undefined, { limit: 'tenant', retry_after_ms: tenantRetryMs })
    this.#guard('refused', () => this.#owner?.refused(error))
  }

  #strike(): void {
    const now = this.#now
    this.#strikes ??= []
    const strikes = this.#strikes
    while (strikes.length > 0 && strikes[0]! < now - strikeWindowMs) strikes.shift()
    strikes.push(now)
    if (strikes.length > this.#limits.maxStrikes) {
      this.close('FLOOD')
      return
    }
    const waitMs = Math.max(this.#messages.waitMs(1), this.#bytes.waitMs(1))
    const error = new BusError('RATE_LIMIT_EXCEEDED', undefined, { retry_after_ms: waitMs })
    this.#guard('refused', () => this.#owner?.refused(error))
  }
}

function flush(connection: SocketConnection): void {
  connection.flush()
}

/** The same bytes in fewer parts: a copy of a small one costs less than what the socket keeps for each part. */
function joinSmall(frames: readonly Uint8Array[]): Uint8Array[] {
  const parts: Uint8Array[] = []
  for (let i = 0; i < frames.length; ) {
    const start = i
    while (i < frames.length && frames[i]!.length <= maxJoinedBytes) i++
    if (i - start > 1) parts.push(Buffer.concat(frames.slice(start, i)))
    else if (i > start) parts.push(frames[start]!)
    if (i < frames.length) parts.push(frames[i++]!)
  }
  return parts
}
