// Whose address counts: the socket's own, unless so many proxies of ours stand before it that each is known to have
// added what it saw. What a client writes into the header itself stands further left and is never read.
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'

/** `hops`: proxies between clients and this listener, each appending to X-Forwarded-For. */
export function clientAddress({ headers, socket }: IncomingMessage, hops: number): string {
  const own = socket.remoteAddress ?? ''
  if (hops === 0) return own
  const header = headers['x-forwarded-for']
  // The parts of several headers are one list (RFC 9110, 5.3).
  const parts = (typeof header === 'string' ? header : (header ?? []).join(',')).split(',')
  return parseAddress(parts.at(-hops)?.trim() ?? '') ?? own
}

/** An address, with the port that some proxies write behind it taken off. */
function parseAddress(text: string): string | undefined {
  const bare = /^\[([0-9a-f:.%]+)\](?::\d{1,5})?$/i.exec(text)?.[1] ?? /^([0-9.]+):\d{1,5}$/.exec(text)?.[1] ?? text
  return isIP(bare) === 0 ? undefined : bare
}
