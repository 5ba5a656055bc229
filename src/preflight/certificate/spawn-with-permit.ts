// Starts a candidate that asks for no certificate: the permit goes over a descriptor that only this child inherits.
import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process'
import type { Clock } from '../../base/clock.ts'
import { openPermit, permitVariable } from '../../certificate/permit.ts'

/** Of the child, behind its standard streams. */
const childFd = 3

type Stream = 'ignore' | 'pipe' | 'inherit'

export type PermitSpawnOptions = Omit<SpawnOptions, 'stdio'> & {
  readonly stdio?: readonly [Stream, Stream, Stream]
  /** A channel that carries nothing: its end tells the launcher that this process is gone. */
  readonly hasChannel?: true
}

/**
 * As `spawn`, with the streams `stdio` (default: nothing in, pipes out). The candidate serves on loopback only, and ends
 * by itself ten minutes after this.
 */
export function spawnWithPermit(
  file: string,
  args: readonly string[],
  { env, stdio = ['ignore', 'pipe', 'pipe'], hasChannel, ...options }: PermitSpawnOptions,
  clock: Pick<Clock, 'now'>,
): ChildProcess {
  const permit = openPermit(clock.now())
  try {
    return spawn(file, [...args], {
      ...options,
      env: { ...env, [permitVariable]: String(childFd) },
      stdio: [...stdio, permit.fd, ...(hasChannel === true ? (['ipc'] as const) : [])],
    })
  } finally {
    permit.close() // the child has its own by now
  }
}
