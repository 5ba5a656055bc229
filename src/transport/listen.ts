// Opens a listener, and says in one error why it cannot be opened.
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { BusError } from '../base/errors.ts'

/** Resolves with the port that was opened; rejects with `PORT_UNAVAILABLE`. */
export function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (cause: NodeJS.ErrnoException): void => {
      const why = cause.code === 'EADDRINUSE' ? 'another process holds it' : (cause.code ?? cause.message)
      reject(new BusError('PORT_UNAVAILABLE', `Cannot listen on ${host}:${port}: ${why}`, { host, port }, cause))
    }
    server.once('error', fail)
    server.listen({ host, port }, () => {
      server.removeListener('error', fail)
      resolve((server.address() as AddressInfo).port) // a TCP listener has no other kind of address
    })
  })
}
