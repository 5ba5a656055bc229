// A fake clock in front of a real Postgres: the proxy passes everything on, and adds to each answer of the server that
// looks like a time in ms. Of equal length, so that every message stays whole. Stands in for a server whose clock is
// wrong: clocks of this machine cannot be set for one process.
import { connect, createServer } from 'node:net'

export interface ClockProxy {
  readonly port: number
  close(): void
}

export async function startClockProxy(target: number, aheadMs: number): Promise<ClockProxy> {
  const server = createServer((client) => {
    const upstream = connect({ port: target, host: '127.0.0.1' })
    client.pipe(upstream)
    upstream.on('data', (chunk) => {
      const text = chunk.toString('latin1').replace(/(?<!\d)1\d{12}(?!\d)/g, (ms) => String(Number(ms) + aheadMs))
      client.write(Buffer.from(text, 'latin1'))
    })
    upstream.on('close', () => client.destroy())
    client.on('close', () => upstream.destroy())
    client.on('error', () => upstream.destroy())
    upstream.on('error', () => client.destroy())
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return { port: (server.address() as { port: number }).port, close: () => void server.close() }
}
