// Between a candidate and a stand-in: what a cable is. It can be cut, and mended.
import { connect, createServer, type Socket } from 'node:net'

export interface Relay {
  /** Of the stand-in, by way of this. */
  readonly url: string
  /** Ends every connection, and each new one at once. */
  cut(): void
  mend(): void
  close(): Promise<void>
}

/** In front of the stand-ins of one system. */
export type Relays = Readonly<Record<'valkey' | 'postgres' | 'nats', Relay>>

/** `url`: of the stand-in, on loopback. */
export async function startRelay(url: string): Promise<Relay> {
  const target = Number(new URL(url).port)
  const sockets = new Set<Socket>()
  let isCut = false
  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
  }
  const server = createServer((near) => {
    keep(near)
    if (isCut) {
      near.destroy()
      return
    }
    const far = connect({ host: '127.0.0.1', port: target })
    keep(far)
    near.pipe(far).pipe(near)
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as { port: number } // TCP, listening
  const endAll = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: url.replace(`:${target}`, `:${port}`),
    cut() {
      isCut = true
      endAll()
    },
    mend() {
      isCut = false
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      endAll()
      await closed
    },
  }
}
