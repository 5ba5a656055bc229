// A WebSocket client that keeps no rule of its own: sends any bytes, and keeps what comes back and how it ended.
import { type NetConnectOpts, connect, type Socket } from 'node:net'

export interface RawFrame {
  readonly opcode: number
  readonly payload: Buffer
}

export interface RawEnd {
  /** Of the server's close frame; undefined when none came. */
  readonly code: number | undefined
  readonly reason: string
  /** From the call of `mark` (or the opening) to the end, ms. */
  readonly afterMs: number
}

export interface RawWebSocket {
  readonly socket: Socket
  readonly head: string
  readonly frames: readonly RawFrame[]
  /** Resolves when the server has ended or reset the connection. */
  readonly ended: Promise<RawEnd>
  /** Sets the clock of `ended` to zero. */
  mark(): void
  /** Resolves with the first frame, past or to come, whose text matches; rejects when the connection ends first. */
  until(form: RegExp): Promise<string>
  destroy(): void
}

export interface RawOptions {
  readonly port: number
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Any of 127.0.0.0/8: each counts as an address of its own. */
  readonly localAddress?: string
  /** Neither answers a close frame nor hangs up when the server does. */
  readonly stays?: true
}

export interface FrameOptions {
  readonly opcode: number
  readonly payload?: Uint8Array | string
  readonly isFinal?: boolean
  /** RSV1-3 as 0x40, 0x20, 0x10. */
  readonly reserved?: number
  readonly isMasked?: boolean
  /** What the header says instead of the payload's length. */
  readonly declared?: bigint
}

const key = Buffer.from([0x37, 0xfa, 0x21, 0x3d])

export function rawFrame(options: FrameOptions): Buffer {
  const { opcode, isFinal = true, reserved = 0, isMasked = true } = options
  const payload = Buffer.from(options.payload ?? '')
  const length = options.declared ?? BigInt(payload.length)
  const mask = isMasked ? 0x80 : 0
  const first = (isFinal ? 0x80 : 0) | reserved | opcode
  let header: Buffer
  if (length < 126n) header = Buffer.from([first, mask | Number(length)])
  else if (length < 65_536n) {
    header = Buffer.from([first, mask | 126, Number(length >> 8n), Number(length & 255n)])
  } else {
    header = Buffer.alloc(10)
    header[0] = first
    header[1] = mask | 127
    header.writeBigUInt64BE(length, 2)
  }
  if (!isMasked) return Buffer.concat([header, payload])
  for (let i = 0; i < payload.length; i++) payload[i]! ^= key[i & 3]!
  return Buffer.concat([header, key, payload])
}

/** The bytes of an upgrade request. */
export function upgradeRequest({ port, path = '/', headers = {} }: RawOptions): string {
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** Resolves after the upgrade; rejects with the status line when it is refused. */
export function openRawWebSocket(options: RawOptions): Promise<RawWebSocket> {
  const target: NetConnectOpts = {
    host: '127.0.0.1',
    port: options.port,
    noDelay: true,
    allowHalfOpen: options.stays === true,
    ...(options.localAddress !== undefined && { localAddress: options.localAddress }),
  }
  return new Promise((resolve, reject) => {
    const socket = connect(target, () => socket.write(upgradeRequest(options)))
    const frames: RawFrame[] = []
    const waiting = new Set<() => void>()
    let rest: Buffer = Buffer.alloc(0)
    let head: string | undefined
    let markedAt = performance.now()
    let isOver = false
    const { promise: ended, resolve: end } = Promise.withResolvers<RawEnd>()

    const raw: RawWebSocket = {
      socket,
      get head() {
        return head ?? ''
      },
      frames,
      ended,
      mark() {
        markedAt = performance.now()
      },
      until(form) {
        return new Promise((found, fail) => {
          const check = (): void => {
            const texts = frames.filter(({ opcode }) => opcode < 8).map(({ payload }) => payload.toString())
            const text = texts.find((one) => form.test(one))
            if (text === undefined && !isOver) return
            waiting.delete(check)
            if (text !== undefined) found(text)
            else fail(new Error(`ended before ${form}; got ${texts.join(' ').slice(0, 500)}`))
          }
          waiting.add(check)
          check()
        })
      },
      destroy: () => socket.destroy(),
    }

    socket.on('data', (chunk) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      if (head === undefined) {
        const at = rest.indexOf('\r\n\r\n')
        if (at < 0) return
        head = rest.toString('latin1', 0, at)
        rest = rest.subarray(at + 4)
        if (head.startsWith('HTTP/1.1 101')) resolve(raw)
        else reject(new Error(head.split('\r\n', 1)[0]))
      }
      rest = takeFrames(rest, frames)
      const last = frames.at(-1)
      if (last?.opcode === 8 && options.stays !== true) socket.end(rawFrame(last)) // the polite half of the closing handshake
      for (const check of waiting) check()
    })
    socket.on('error', () => {}) // a reset ends it too
    socket.on('close', () => {
      isOver = true
      reject(new Error('ended before an answer'))
      const close = frames.find(({ opcode }) => opcode === 8)?.payload
      end({
        code: close === undefined || close.length < 2 ? undefined : close.readUInt16BE(0),
        reason: close?.toString('utf8', 2) ?? '',
        afterMs: performance.now() - markedAt,
      })
      for (const check of waiting) check()
    })
  })
}

/** Moves whole server frames from the bytes into `frames`; returns what is left. */
function takeFrames(bytes: Buffer, frames: RawFrame[]): Buffer {
  let rest = bytes
  while (rest.length >= 2) {
    const short = rest[1]! & 0x7f
    const headerLength = short < 126 ? 2 : short === 126 ? 4 : 10
    if (rest.length < headerLength) break
    const length = short < 126 ? short : short === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2))
    if (rest.length < headerLength + length) break
    frames.push({ opcode: rest[0]! & 15, payload: rest.subarray(headerLength, headerLength + length) })
    rest = rest.subarray(headerLength + length)
  }
  return rest
}
