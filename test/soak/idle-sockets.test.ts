// Ten thousand idle sockets joined to one system: all are welcomed, stay through their pings, and each gets a message.
// Needs twice as many file descriptors; where the limit is lower the test says so and is skipped.
import { execFileSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { createTempDir, launchUp, removeTempDir } from '../support/launch/launch-up.ts'
import { describeLimits, raisedLimits } from '../support/launch/raised-limits.ts'
import { positionOf, WireClient } from '../support/launch/wire-client.ts'

const count = 10_000
/** Bus and test are two processes; each also needs a few descriptors of its own. */
const neededDescriptors = count + 500
const openAtOnce = 100

function descriptorLimit(): number {
  const text = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim()
  return text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text)
}

const limit = descriptorLimit()
const isPossible = limit >= neededDescriptors
if (!isPossible) {
  process.stdout.write(`SKIPPED: 10,000 sockets need ulimit -n of at least ${neededDescriptors}; here it is ${limit}\n`)
}

const env = {
  ...raisedLimits,
  ARQONBUS_MAX_CONNECTIONS: '20000',
  ARQONBUS_LIMIT_MAX_CONNECTIONS_PER_TENANT: '20000',
  ARQONBUS_LIMIT_MAX_CONNECTIONS_PER_SUBJECT: '20000',
  ARQONBUS_LIMIT_MAX_CONNECTIONS_PER_ADDRESS: '20000',
  ARQONBUS_LIMIT_MAX_MEMBERS_PER_CHANNEL: '20000',
  ARQONBUS_LIMIT_PING_INTERVAL_MS: '5000',
}

it.skipIf(!isPossible)('ten thousand idle sockets stay, and each gets the one message', async () => {
  process.stdout.write(`idle sockets: ${describeLimits(env)}\n`)
  const dataDir = await createTempDir()
  const up = await launchUp({ dataDir, env })
  const residentMiB = async (): Promise<number> => {
    const status = await readFile(`/proc/${up.pid}/status`, 'utf8')
    return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1_024)
  }
  try {
    const beforeMiB = await residentMiB()
    const clients: WireClient[] = []
    let lost = 0
    while (clients.length < count) {
      const opened = await Promise.all(
        Array.from({ length: openAtOnce }, async () => {
          const client = await WireClient.connect(up.busUrl, { deadlineMs: 60_000 })
          await client.join('lab', 'idle')
          void client.closed.then(() => lost++)
          return client
        }),
      )
      clients.push(...opened)
    }
    const fullMiB = await residentMiB()
    // Three rounds of pings by the server, each answered or the socket would be closed.
    let pings = 0
    const { promise: pinged, resolve } = Promise.withResolvers<void>()
    clients.at(-1)!.ws.on('ping', () => ++pings === 3 && resolve())
    await pinged
    expect(lost).toBe(0)

    const publisher = await WireClient.connect(up.busUrl, { deadlineMs: 60_000 })
    const begun = performance.now()
    const ack = await publisher.publish('lab', 'idle', { n: 1 })
    const got = await Promise.all(clients.map((client) => client.received(1)))
    const tookMs = Math.round(performance.now() - begun)
    for (const messages of got) expect(messages.map(positionOf)).toEqual([positionOf(ack)])
    process.stdout.write(`  memory ${beforeMiB} -> ${fullMiB} MiB, fan-out to ${count} in ${tookMs} ms\n`)
    expect(fullMiB - beforeMiB).toBeLessThan(500)
    for (const client of [...clients, publisher]) await client.terminate()
    expect(await up.stop()).toBe(0)
  } finally {
    await up.kill()
    await removeTempDir(dataDir)
  }
})
