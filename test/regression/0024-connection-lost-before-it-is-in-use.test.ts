// A Postgres that was killed just as it had let a connection in told both in one packet. The loss was heard before the
// keeper had the connection, and the process ended with a ReferenceError. Seen once in integration/projector/backfill.
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { silentLogger } from '../../src/base/logger.ts'
import { parsePostgresAddress } from '../../src/postgres/address.ts'
import { hotLimits, keepConnection } from '../../src/postgres/connection.ts'

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.write(type, 'latin1')
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}
const welcome = Buffer.concat([message('R', Buffer.alloc(4)), message('Z', Buffer.from('I'))])
const killed = message('E', Buffer.from('SFATAL\0C57P01\0Mterminating connection due to administrator command\0\0'))

/** A server that lets everybody in, and says at once that it ends to the connections of these numbers, from 1. */
async function startServer(isKilled: (connection: number) => boolean) {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    const number = sockets.push(socket)
    socket.on('error', () => undefined)
    socket.once('data', () => {
      if (isKilled(number)) socket.end(Buffer.concat([welcome, killed]))
      else socket.write(welcome)
    })
  }).listen(0, '127.0.0.1')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const address = parsePostgresAddress(`postgresql://u:p@127.0.0.1:${port}/d?sslmode=disable`)
  return { sockets, options: { address, limits: hotLimits, logger: silentLogger, name: 'test' } }
}

test('the first connection, lost before it is in use, is refused', async () => {
  const { options } = await startServer(() => true)
  await expect(keepConnection(options)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
})

test('a later one is made anew', async () => {
  const { options, sockets } = await startServer((connection) => connection === 2)
  const kept = await keepConnection(options)
  onTestFinished(() => kept.close())
  expect(kept.isUp).toBe(true)
  sockets[0]!.destroy()
  await expect.poll(() => sockets.length, { timeout: 5_000 }).toBe(3)
  await expect.poll(() => kept.isUp).toBe(true)
})
