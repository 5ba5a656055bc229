// A fake of nats-server for what a real one cannot be made to say: it greets with an INFO of the test's making, takes
// everybody and answers pings, as the line protocol has it. It carries no messages.
import { type AddressInfo, createServer, type Socket } from 'node:net'

export interface NatsGreeter {
  readonly port: number
  close(): Promise<void>
}

export async function startNatsGreeter(info: Readonly<Record<string, unknown>>): Promise<NatsGreeter> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.write(`INFO ${JSON.stringify(info)} \r\n`)
    let text = ''
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1')
      const lines = text.split('\r\n')
      text = lines.pop()!
      for (const line of lines) if (line === 'PING') socket.write('PONG\r\n')
    })
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => {
        server.close(resolve)
      })
    },
  }
}
