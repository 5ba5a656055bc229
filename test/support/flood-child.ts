// Many clients of one tenant in a process of their own, each publishing as fast as it is told, all of them together far
// more than the tenant may. Started by flood.ts.
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { createMessageIds } from '../../src/base/ids.ts'

interface Order {
  readonly url: string
  readonly tokens: readonly string[]
  readonly perSecond: number
}

const { url, tokens, perSecond } = JSON.parse(process.argv[2]!) as Order
const everyMs = 20
const nextId = createMessageIds(Date.now())
const codes: Record<string, number> = {}
let sent = 0
let closes = 0
let acknowledged = 0

const sockets = await Promise.all(tokens.map(open))

async function open(token: string): Promise<WebSocket> {
  const ws = new WebSocket(url, { headers: { authorization: `Bearer ${token}` }, perMessageDeflate: false })
  ws.on('error', (error) => process.stderr.write(`${error.message}\n`))
  ws.on('close', () => closes++)
  ws.on('message', (data: Buffer) => {
    const { type, error_code: code } = JSON.parse(data.toString()) as { type: string; error_code?: string }
    if (type === 'message_response') acknowledged++
    if (code !== undefined) codes[code] = (codes[code] ?? 0) + 1
  })
  await once(ws, 'open')
  return ws
}

const perTick = Math.ceil((perSecond * everyMs) / 1_000 / sockets.length)
setInterval(() => {
  for (const ws of sockets) {
    // What the server does not read stays with the kernel; no more than that is kept here.
    if (ws.readyState !== ws.OPEN || ws.bufferedAmount > 65_536) continue
    for (let n = 0; n < perTick; n++) {
      sent++
      const place = { room: 'loud', channel: 'noise', payload: { sent } }
      ws.send(
        JSON.stringify({
          id: nextId(),
          timestamp: new Date().toISOString(),
          version: '1.0',
          type: 'message',
          ...place,
        }),
      )
    }
  }
}, everyMs)

process.on('message', () => process.send?.({ sent, closes, acknowledged, codes }))
process.once('disconnect', () => process.exit())
process.send?.('ready')
