// A TCP proxy that tests can cut: open connections are reset and new ones refused, until it is mended. It can also cut
// by itself, in front of a reply: what was asked for was done, and nobody hears of it.
import { createConnection, createServer, type Socket } from 'node:net'
import type { Seeded } from './launch/seeded.ts'

export interface TcpProxy {
  readonly port: number
  cut(): void
  mend(): void
  /** How often it has cut in front of a reply. */
  readonly repliesCut: number
  close(): Promise<void>
}

export interface ReplyCuts {
  readonly random: Seeded
  /** One reply in so many is cut off, with its connection. */
  readonly oneIn: number
}

export async function createTcpProxy(target: number, cuts?: ReplyCuts): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  let isCut = false
  let repliesCut = 0
  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
  }
  const server = createServer((near) => {
    keep(near)
    if (isCut) {
      near.destroy()
      return
    }
    const far = createConnection({ host: '127.0.0.1', port: target })
    keep(far)
    near.pipe(far)
    if (cuts === undefined) far.pipe(near)
    else {
      far.on('data', (reply) => {
        if (cuts.random.int(1, cuts.oneIn) > 1) near.write(reply)
        else {
          repliesCut++
          near.destroy()
        }
      })
    }
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const dropAll = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: (server.address() as { port: number }).port,
    cut() {
      isCut = true
      dropAll()
    },
    mend() {
      isCut = false
    },
    get repliesCut() {
      return repliesCut
    },
    async close() {
      dropAll()
      await new Promise((resolve) => {
        server.close(resolve)
      })
    },
  }
}
