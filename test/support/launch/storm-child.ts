// Thousands of clients in a process of their own, which come all at once and come again when they are refused, no sooner
// than they are told to. Started by storm-run.ts.
import type { IncomingMessage } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { mintToken } from '../../../src/auth/mint.ts'
import { createMessageIds } from '../../../src/base/ids.ts'
import type { StormOrder, StormReport } from './storm-run.ts'

const nextId = createMessageIds(Date.now())
/** A client of a gateway that is not there, or that hung up, tries again after this long. */
const lostMs = 500
const jitterMs = 500
const tenants = 5
const addresses = 200
let sockets: WebSocket[] = []

async function storm({ url, count, withinMs, secret }: StormOrder): Promise<StormReport> {
  for (const one of sockets) one.terminate()
  sockets = []
  const report = { tookMs: 0, refusals: {} as Record<string, number>, withoutRetryAfter: 0, lost: 0 }
  const tokens = await Promise.all(
    Array.from({ length: count }, (_, n) =>
      mintToken({ secret, subject: `client-${n}`, tenant: `storm-${n % tenants}`, ttlSeconds: 3_600 }),
    ),
  )
  const startedAt = performance.now()
  await Promise.all(tokens.map((token, n) => comeBack(url, n, token, (n / count) * withinMs, report)))
  return { ...report, tookMs: Math.round(performance.now() - startedAt) }
}

type Tally = Omit<StormReport, 'tookMs'> & { lost: number; withoutRetryAfter: number; refusals: Record<string, number> }

/** Resolves when the client is welcomed and a member. */
async function comeBack(url: string, n: number, token: string, afterMs: number, tally: Tally): Promise<void> {
  await pause(afterMs)
  for (;;) {
    const again = await attempt(url, n, token, tally)
    if (again === undefined) return
    await pause(again + Math.random() * jitterMs)
  }
}

/** Undefined once it is in; otherwise how long to wait. */
function attempt(url: string, n: number, token: string, tally: Tally): Promise<number | undefined> {
  const ws = new WebSocket(url, {
    headers: { authorization: `Bearer ${token}` },
    perMessageDeflate: false,
    localAddress: `127.0.1.${(n % addresses) + 1}`,
    handshakeTimeout: 20_000,
  })
  return new Promise((resolve) => {
    let isRefused = false
    ws.on('unexpected-response', (request, response: IncomingMessage) => {
      isRefused = true
      const status = String(response.statusCode)
      tally.refusals[status] = (tally.refusals[status] ?? 0) + 1
      const seconds = Number(response.headers['retry-after'])
      if (!(seconds > 0)) tally.withoutRetryAfter++
      request.destroy()
      resolve((seconds || 1) * 1_000)
    })
    ws.on('error', () => undefined) // a close follows
    ws.on('close', () => {
      if (isRefused) return
      tally.lost++
      resolve(lostMs)
    })
    ws.on('message', (data: Buffer) => {
      const { type } = JSON.parse(data.toString()) as { type: string }
      if (type === 'message') {
        const args = { room: 'storm', channel: `c-${n % 50}` }
        const head = { id: nextId(), timestamp: new Date().toISOString(), version: '1.0' }
        ws.send(JSON.stringify({ ...head, type: 'command', command: 'join_channel', args }))
      } else if (type === 'response') {
        sockets.push(ws)
        resolve(undefined)
      }
    })
  })
}

process.on('message', (order: StormOrder) => {
  void storm(order).then((report) => process.send?.(report))
})
process.once('disconnect', () => process.exit())
process.send?.('ready')
