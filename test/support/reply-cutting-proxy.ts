// A TCP proxy that loses answers: what clients send always reaches the server, and some of the answers never come back,
// the connection being reset instead. The retry of an append that was in fact stored is made this way.
import { createConnection, createServer, type Socket } from 'node:net'

export interface ReplyCuttingProxy {
  readonly port: number
  readonly cuts: number
  /** Lose the next answer with this probability, from 0 to 1. */
  setLoss(probability: number): void
  close(): Promise<void>
}

export async function createReplyCuttingProxy(target: number, random: () => number): Promise<ReplyCuttingProxy> {
  const sockets = new Set<Socket>()
  let loss = 0
  let cuts = 0
  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
  }
  const server = createServer((near) => {
    keep(near)
    const far = createConnection({ host: '127.0.0.1', port: target })
    keep(far)
    near.pipe(far)
    far.on('data', (answer) => {
      if (near.destroyed) return
      if (random() >= loss) {
        near.write(answer)
        return
      }
      cuts++
      near.resetAndDestroy()
      far.end() // in order: the server has read all that was sent to it
    })
    far.on('close', () => near.destroy())
    near.on('close', () => far.end())
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    port: (server.address() as { port: number }).port,
    get cuts() {
      return cuts
    },
    setLoss(probability) {
      loss = probability
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => {
        server.close(resolve)
      })
    },
  }
}
