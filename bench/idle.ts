// Memory of idle connections: resident bytes of the server for each joined session, over 10,000 sessions.
import { openBusMember, startBus } from './peers.ts'

export interface IdleRow {
  readonly sessions: number
  readonly bytesPerSession: number
}

export async function measureIdle(sessions: number): Promise<IdleRow> {
  const server = await startBus({ ARQONBUS_ENABLE_AUTH: 'true', ARQONBUS_AUTH_JWT_SECRET: benchSecret })
  try {
    const { mintToken } = await import('../src/auth/mint.ts')
    const token = await mintToken({ secret: benchSecret, subject: 'bench', tenant: 'bench', ttlSeconds: 3_600 })
    const headers = { authorization: `Bearer ${token}` }
    const members = []
    // What the first hundred cost is code and tables, not sessions.
    for (let i = 0; i < 100; i++) members.push(await openBusMember('protobuf', undefined, '/', headers))
    const before = await settled(() => server.residentBytes())
    for (let i = 0; i < sessions; i++) members.push(await openBusMember('protobuf', undefined, '/', headers))
    const after = await settled(() => server.residentBytes())
    for (const member of members) member.close()
    return { sessions, bytesPerSession: (after - before) / sessions }
  } finally {
    await server.stop()
  }
}

/** Random, and of this run only. */
const benchSecret = Buffer.from(crypto.getRandomValues(new Uint8Array(48))).toString('base64')

/** The lowest of ten looks, half a second apart: garbage goes when the server is idle. */
async function settled(read: () => number): Promise<number> {
  let lowest = Number.POSITIVE_INFINITY
  for (let i = 0; i < 10; i++) {
    await new Promise((resolve) => setTimeout(resolve, 500))
    lowest = Math.min(lowest, read())
  }
  return lowest
}
