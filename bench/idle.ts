// Memory of idle connections: resident bytes of the server for each joined session, over 10,000 sessions.
import { openBusMember, startBus } from './peers.ts'
import { type Spread, spreadOf } from './statistics.ts'
import type { SuiteOptions } from './suite.ts'
import { benchSecret, benchToken } from './token.ts'

export interface IdleRow {
  readonly sessions: number
  readonly bytesPerSession: Spread
}

export async function idle({ sessions, rounds }: SuiteOptions): Promise<IdleRow> {
  console.log('\nidle sessions, joined and authenticated')
  const found: number[] = []
  for (let round = 0; round < rounds; round++) found.push(await measureIdle(sessions))
  const bytesPerSession = spreadOf(found)
  const kib = (bytes: number) => (bytes / 1024).toFixed(1)
  const { median, min, max } = bytesPerSession
  console.log(`  ${sessions} sessions: ${kib(median)} KiB each  [${kib(min)} … ${kib(max)}]`)
  return { sessions, bytesPerSession }
}

async function measureIdle(sessions: number): Promise<number> {
  const server = await startBus({ ARQONBUS_ENABLE_AUTH: 'true', ARQONBUS_AUTH_JWT_SECRET: benchSecret })
  try {
    const headers = { authorization: `Bearer ${await benchToken()}` }
    const members = []
    // What the first hundred cost is code and tables, not sessions.
    for (let i = 0; i < 100; i++) members.push(await openBusMember('protobuf', undefined, '/', headers))
    const before = await settled(() => server.residentBytes())
    for (let i = 0; i < sessions; i++) members.push(await openBusMember('protobuf', undefined, '/', headers))
    const after = await settled(() => server.residentBytes())
    for (const member of members) member.close()
    return (after - before) / sessions
  } finally {
    await server.stop()
  }
}

/** The lowest of ten looks, half a second apart: garbage goes when the server is idle. */
export async function settled(read: () => number): Promise<number> {
  let lowest = Number.POSITIVE_INFINITY
  for (let i = 0; i < 10; i++) {
    await new Promise((resolve) => setTimeout(resolve, 500))
    lowest = Math.min(lowest, read())
  }
  return lowest
}
