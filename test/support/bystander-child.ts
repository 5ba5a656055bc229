// Two honest clients in a process of their own: one publishes, the other receives, and every message is timed. Started
// by bystander.ts while something else attacks the same server.
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { createMessageIds } from '../../src/base/ids.ts'

const [, , url = '', token = ''] = process.argv
const everyMs = 25
const nextId = createMessageIds(Date.now())
const place = { room: 'honest', channel: 'work' }
const headers = token === '' ? {} : { authorization: `Bearer ${token}` }
const sentAt = new Map<number, number>()
let latencies: number[] = []
let sent = 0
let delivered = 0
let closes = 0

async function open(): Promise<WebSocket> {
  const ws = new WebSocket(url, { headers })
  ws.on('close', () => closes++)
  ws.on('error', (error) => process.stderr.write(`${error.message}\n`))
  await once(ws, 'open')
  return ws
}

function send(ws: WebSocket, fields: object): void {
  ws.send(JSON.stringify({ id: nextId(), timestamp: new Date().toISOString(), version: '1.0', ...fields }))
}

const receiver = await open()
const joined = new Promise<void>((resolve) => {
  receiver.on('message', (data: Buffer) => {
    const frame = JSON.parse(data.toString()) as { type: string; payload?: { n?: number } }
    if (frame.type === 'response') resolve()
    const n = frame.payload?.n
    const at = n === undefined ? undefined : sentAt.get(n)
    if (at === undefined || n === undefined) return
    sentAt.delete(n)
    delivered++
    latencies.push(performance.now() - at)
  })
})
send(receiver, { type: 'command', command: 'join_channel', args: place })
await joined
const publisher = await open()

const publishing = setInterval(() => {
  sentAt.set(++sent, performance.now())
  send(publisher, { type: 'message', ...place, payload: { n: sent } })
}, everyMs)

/** Latencies since the last report. */
function report(): object {
  const sorted = latencies.sort((a, b) => a - b)
  latencies = []
  const at = (share: number): number => Number((sorted[Math.floor(sorted.length * share)] ?? 0).toFixed(1))
  return { sent, delivered, closes, count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(0.999_999) }
}

process.on('message', (message) => {
  if (message === 'report') process.send?.(report())
  if (message !== 'finish') return
  clearInterval(publishing)
  const giveUpAt = performance.now() + 5_000
  const checking = setInterval(() => {
    if (delivered < sent && performance.now() < giveUpAt) return
    clearInterval(checking)
    process.send?.(report(), () => process.disconnect())
    receiver.terminate()
    publisher.terminate()
  }, 20)
})
process.once('disconnect', () => process.exit()) // finished, or the parent is gone
process.send?.('ready')
