// A WebSocket client that does as little as possible, so that it is not what is measured: it counts bytes and looks
// for an end marker at the tail of what arrives; it never parses frames. One receive buffer serves all sockets.
import { connect, type Socket } from 'node:net'

/** Large enough that a busy socket is read in few calls. */
const received = Buffer.allocUnsafe(1024 * 1024)

export interface RawSocket {
  readonly socket: Socket
  /** Bytes received since the upgrade. */
  bytes: number
  /** Resolves when the marker set by `expect` has arrived. */
  expect(marker: Buffer): Promise<void>
  /** Called with each chunk while set; the chunk is valid during the call only. */
  onChunk: ((chunk: Buffer) => void) | undefined
  close(): void
}

export async function openRawSocket(options: {
  host?: string
  port: number
  path?: string
  headers?: Readonly<Record<string, string>>
  /** Plain TCP when false. */
  upgrade?: boolean
}): Promise<RawSocket> {
  const { host = '127.0.0.1', port, path = '/', headers = {}, upgrade = true } = options
  let marker: Buffer | undefined
  let tail: Buffer = Buffer.alloc(0)
  let reached: (() => void) | undefined
  let isUpgraded = !upgrade
  let head = ''

  return new Promise((resolve, reject) => {
    const raw: RawSocket = {
      socket: undefined as unknown as Socket,
      bytes: 0,
      onChunk: undefined,
      expect(wanted) {
        marker = wanted
        tail = Buffer.alloc(0)
        return new Promise((found) => {
          reached = found
        })
      },
      close: () => raw.socket.destroy(),
    }

    function onBytes(chunk: Buffer): void {
      raw.bytes += chunk.length
      raw.onChunk?.(chunk)
      if (marker === undefined) return
      const window = marker.length * 2 + 512
      // The marker is in the last message: only the end of what has arrived can hold it.
      const end = chunk.length >= window ? chunk.subarray(chunk.length - window) : Buffer.concat([tail, chunk])
      if (end.includes(marker)) {
        marker = undefined
        reached?.()
      } else tail = Buffer.from(end.subarray(Math.max(0, end.length - window)))
    }

    const socket = connect({
      host,
      port,
      noDelay: true,
      onread: {
        buffer: received,
        callback(count) {
          const chunk = received.subarray(0, count)
          if (isUpgraded) {
            onBytes(chunk)
            return true
          }
          head += chunk.toString('latin1')
          const end = head.indexOf('\r\n\r\n')
          if (end < 0) return true
          if (!head.startsWith('HTTP/1.1 101')) {
            reject(new Error(`no upgrade: ${head.slice(0, head.indexOf('\r\n'))}`))
            socket.destroy()
            return true
          }
          isUpgraded = true
          const rest = Buffer.from(head.slice(end + 4), 'latin1')
          head = ''
          resolve(raw)
          if (rest.length > 0) setImmediate(onBytes, rest)
          return true
        },
      },
    })
    Object.assign(raw, { socket })
    socket.once('error', reject)
    socket.once('connect', () => {
      if (!upgrade) {
        resolve(raw)
        return
      }
      const lines = [
        `GET ${path} HTTP/1.1`,
        `Host: ${host}:${port}`,
        'Upgrade: websocket',
        'Connection: Upgrade',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      ]
      socket.write(`${lines.join('\r\n')}\r\n\r\n`)
    })
  })
}

/** A client frame: masked as RFC 6455 5.3 demands, with the zero key, which leaves the payload as it is. */
export function clientFrame(opcode: 1 | 2, payload: Uint8Array): Buffer {
  const length = payload.length
  const header =
    length < 126
      ? Buffer.from([0x80 | opcode, 0x80 | length, 0, 0, 0, 0])
      : length < 65_536
        ? Buffer.from([0x80 | opcode, 0x80 | 126, length >> 8, length & 255, 0, 0, 0, 0])
        : (() => {
            const long = Buffer.alloc(14)
            long[0] = 0x80 | opcode
            long[1] = 0x80 | 127
            long.writeBigUInt64BE(BigInt(length), 2)
            return long
          })()
  return Buffer.concat([header, payload])
}
