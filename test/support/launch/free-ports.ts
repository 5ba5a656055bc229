// Ports below the range that kernels give to outgoing connections (32768 and up), so that a server restarted on its
// own port never finds it taken by some client's socket.
import { createServer, type Server } from 'node:net'

const lowest = 20_000
const highest = 32_700

/** `count` different ports of the loopback address that nobody listened on a moment ago. */
export async function findFreePorts(count: number): Promise<number[]> {
  const held: Server[] = []
  try {
    while (held.length < count) {
      const server = await tryListen(lowest + Math.floor(Math.random() * (highest - lowest)))
      if (server !== undefined) held.push(server)
    }
    return held.map((server) => (server.address() as { port: number }).port)
  } finally {
    await Promise.all(held.map((server) => new Promise((done) => server.close(done))))
  }
}

function tryListen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}
