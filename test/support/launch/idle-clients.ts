// Clients that only listen to how they are sent away.
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { mintToken } from '../../../src/auth/mint.ts'

export interface Goodbye {
  readonly code: number
  /** On the monotonic clock. */
  readonly atMs: number
  /** The payload of the goodbye, when one came. */
  readonly goaway: unknown
}

export interface IdleClient {
  readonly closed: Promise<Goodbye>
}

/** Resolves when all are open and welcomed. */
export function openIdle(url: string, count: number, secret: string): Promise<IdleClient[]> {
  return Promise.all(Array.from({ length: count }, (_, n) => open(url, `idle-${n}`, secret)))
}

async function open(url: string, subject: string, secret: string): Promise<IdleClient> {
  const token = await mintToken({ secret, subject, tenant: 'idle', ttlSeconds: 600 })
  const ws = new WebSocket(url, { headers: { authorization: `Bearer ${token}` }, perMessageDeflate: false })
  let goaway: unknown
  ws.on('error', () => undefined) // a close follows
  ws.on('message', (data: Buffer) => {
    const { type, payload } = JSON.parse(data.toString()) as { type: string; payload: unknown }
    if (type === 'goaway') goaway = payload
  })
  const closed = new Promise<Goodbye>((resolve) => {
    ws.once('close', (code) => resolve({ code, atMs: performance.now(), goaway }))
  })
  await once(ws, 'message')
  return { closed }
}
