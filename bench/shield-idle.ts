// Memory of a Shield that holds many idle connections: 10,000 clients, each authenticated, opened at the bus over NATS and
// joined to the same channel (bar: 200 MB resident for the whole process). Shield runs as it is shipped, built.
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { settled } from './idle.ts'
import { isOnPath } from './load/processes.ts'
import type { RawSocket } from './load/raw-socket.ts'
import { openBusMember, ports } from './peers.ts'
import { startEdge } from './shield.ts'
import type { SuiteOptions } from './suite.ts'
import { benchToken } from './token.ts'

export interface ShieldIdleRow {
  readonly sessions: number
  readonly emptyBytes: number
  readonly fullBytes: number
}

const barBytes = 200e6
const openAtOnce = 20

/** One round: the figure is that of a whole process, and hardly varies. */
export async function shieldIdle({ sessions }: SuiteOptions): Promise<ShieldIdleRow | undefined> {
  console.log('\nidle connections of one Shield, authenticated and joined')
  if (!isOnPath('nats-server')) {
    console.log('  left out, there is no nats-server on PATH')
    return undefined
  }
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: join(import.meta.dirname, '..') })
  const edge = await startEdge('build')
  const members: RawSocket[] = []
  try {
    const headers = { authorization: `Bearer ${await benchToken()}` }
    await reachable(headers)
    const emptyBytes = await settled(() => edge.shield.residentBytes())
    while (members.length < sessions) {
      const some = Array.from({ length: Math.min(openAtOnce, sessions - members.length) }, () =>
        openBusMember('protobuf', ports.shield, '/ws', headers),
      )
      members.push(...(await Promise.all(some)))
    }
    const fullBytes = await settled(() => edge.shield.residentBytes())
    const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1)
    const each = ((fullBytes - emptyBytes) / sessions / 1024).toFixed(1)
    console.log(
      `  ${sessions} connections: ${megabytes(fullBytes)} MB resident (empty ${megabytes(emptyBytes)} MB, ${each} KiB each); bar ${megabytes(barBytes)} MB: ${fullBytes <= barBytes ? 'met' : 'missed'}`,
    )
    return { sessions, emptyBytes, fullBytes }
  } finally {
    for (const member of members) member.close()
    await edge.stop()
  }
}

/** Until the bus is met, upgrades are refused with 503. */
async function reachable(headers: Record<string, string>): Promise<void> {
  const untilMs = performance.now() + 10_000
  for (;;) {
    try {
      const first = await openBusMember('protobuf', ports.shield, '/ws', headers)
      first.close()
      return
    } catch (error) {
      if (performance.now() > untilMs) throw error
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}
