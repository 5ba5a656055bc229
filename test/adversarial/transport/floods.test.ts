// One connection that floods, comes back 50 ms after each cut, and floods again: it is cut each time, and honest
// clients go on (reliability P7). The limits are the defaults of development.
import { setTimeout as after } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Bystander, figures, startBystander } from '../../support/bystander.ts'
import { printFigures } from '../../support/print-figures.ts'
import { openRawWebSocket, type RawOptions, rawFrame } from '../../support/raw-websocket.ts'
import { type SystemProcess, startSystem } from '../../support/system-process.ts'

const floodMs = 3_000
const comeBackMs = 50
/** Generous: both processes, the attacker and this test share the machine's cores. */
const maxP99Ms = 500
/** What two ends of a loopback connection hold at most, and some. */
const maxKernelBytes = 32 * 1024 * 1024
const attacker = '127.0.0.66'
const maxShieldBytes = 64 * 1024
const maxBusBytes = 1024 * 1024

let system: SystemProcess
let bystander: Bystander
beforeAll(async () => {
  system = await startSystem()
  bystander = await startBystander(`ws://127.0.0.1:${system.busPort}`)
  await after(1_000) // honest work alone, for the figure to compare with
  printFigures('nobody floods', figures(await bystander.report()))
})
afterAll(async () => {
  const honest = await bystander.finish()
  expect(honest).toMatchObject({ closes: 0, delivered: honest.sent })
  expect(await system.stop()).toBe(0)
})

interface Flood {
  readonly frame: Buffer
  /** How it is cut. */
  readonly codes: readonly number[]
}

/** A message that is no envelope: each frame that is taken is answered, too. */
const noise = (bytes: number): Buffer => rawFrame({ opcode: 2, payload: Buffer.alloc(bytes, 0x41) })
const floods = (maxBytes: number, flooding: readonly number[]): readonly (readonly [string, Flood])[] => [
  ['pings', { frame: rawFrame({ opcode: 9, payload: Buffer.alloc(125) }), codes: flooding }],
  ['pongs', { frame: rawFrame({ opcode: 10 }), codes: flooding }],
  ['frames of 8 bytes', { frame: noise(8), codes: flooding }],
  ['empty frames', { frame: noise(0), codes: flooding }],
  ['frames of the largest size', { frame: noise(maxBytes), codes: flooding }],
  ['empty fragments', { frame: rawFrame({ opcode: 0, isFinal: false }), codes: [1008] }],
]

describe('one flooding connection', () => {
  it.each(floods(maxBusBytes, [4029]))('is cut at the bus again and again: %s', (name, flood) =>
    contain(name, { port: system.busPort, localAddress: attacker }, flood),
  )

  // Shield counts frames that its schema refuses, too: whichever bound is reached first cuts.
  it.each(floods(maxShieldBytes, [4029, 4503]))('is cut at Shield again and again: %s', (name, flood) => {
    const headers = { authorization: `Bearer ${system.token}` }
    const target = { port: system.shieldPort, path: '/ws', headers, localAddress: attacker }
    return contain(`${name} at Shield`, target, flood, 1_500)
  })
})

it('is not read any more once it is cut, however much it still sends', async () => {
  const raw = await openRawWebSocket({ port: system.busPort, localAddress: attacker, stays: true })
  const { socket } = raw
  const chunk = Buffer.concat(Array.from({ length: 1_000 }, () => rawFrame({ opcode: 9 })))
  const pour = (): void => {
    while (socket.writable && socket.write(chunk));
  }
  socket.on('drain', pour)
  pour()
  await raw.ended // at the closing time-out
  const takenBytes = socket.bytesWritten - socket.writableLength
  printFigures('sent after the cut', `${Math.round(takenBytes / 1024)} KiB, all of it into buffers of the kernel`)
  expect(takenBytes).toBeLessThan(maxKernelBytes)
})

async function contain(
  name: string,
  target: RawOptions,
  { frame, codes: expected }: Flood,
  durationMs = floodMs,
): Promise<void> {
  await bystander.report()
  const endsAt = performance.now() + durationMs
  const codes: (number | undefined)[] = []
  let sent = 0
  while (performance.now() < endsAt) {
    const { code: cutWith, bytes } = await floodOnce(target, frame)
    codes.push(cutWith)
    sent += bytes
    await after(comeBackMs)
  }
  const honest = await bystander.report()
  printFigures(
    name,
    `${codes.length} cuts (${[...new Set(codes)].join()}), ${Math.round(sent / 1024)} KiB sent; honest: ${figures(honest)}`,
  )
  expect(codes.length).toBeGreaterThanOrEqual(10)
  for (const code of codes) expect(expected).toContain(code)
  expect(honest.count).toBeGreaterThan(durationMs / 50)
  expect(honest.p99).toBeLessThan(maxP99Ms)
}

/** Floods as fast as the socket takes it, until it is told to go. */
async function floodOnce(target: RawOptions, frame: Buffer): Promise<{ code: number | undefined; bytes: number }> {
  const raw = await openRawWebSocket(target)
  const { socket } = raw
  const isFragment = (frame[0]! & 0x8f) === 0
  if (isFragment) socket.write(rawFrame({ opcode: 2, isFinal: false }))
  const chunk = Buffer.concat(Array.from({ length: Math.max(1, Math.floor((16 * 1024) / frame.length)) }, () => frame))
  const pour = (): void => {
    while (socket.writable && socket.write(chunk)) if (socket.bytesWritten > 256 * 1024 * 1024) return
  }
  socket.on('drain', pour)
  socket.on('data', () => {
    if (raw.frames.at(-1)?.opcode === 8) socket.destroy() // no manners: it comes back at once
  })
  pour()
  const { code } = await raw.ended
  return { code, bytes: socket.bytesWritten }
}
