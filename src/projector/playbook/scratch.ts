// Scratch databases on the server of an address: made, used and dropped, and a drill that goes through all of it.
import { type Clock, toIsoTime } from '../../base/clock.ts'
import { BusError } from '../../base/errors.ts'
import { randomHex } from '../../base/ids.ts'
import type { PostgresAddress } from '../../postgres/address.ts'
import { openConnection, slowLimits } from '../../postgres/connection.ts'
import { backUp, type BackupOptions, type Manifest } from './backup.ts'
import { recordDrill } from './drill-record.ts'
import { restore } from './restore.ts'
import { verifyProjection, type Verification } from './verify.ts'

/** The same server and user, another database. */
export function withDatabase(address: PostgresAddress, database: string): PostgresAddress {
  const parts = address.reveal()
  const shown = `${address.shown.slice(0, address.shown.lastIndexOf('/'))}/${database}`
  return { shown, reveal: () => ({ ...parts, database }) }
}

const nameForm = /^[a-z_][a-z0-9_]{0,62}$/

export function requireScratchName(name: string): string {
  if (nameForm.test(name)) return name
  throw new BusError('USAGE', 'A scratch database is named with small letters, digits and _, up to 63')
}

/** True when it was made now; false when it was there. */
export async function createDatabase(address: PostgresAddress, name: string): Promise<boolean> {
  return await onServer(address, async (run) => {
    const rows = await run(`SELECT FROM pg_database WHERE datname = '${requireScratchName(name)}'`)
    if (rows.length > 0) return false
    await run(`CREATE DATABASE ${name} TEMPLATE template0`)
    return true
  })
}

export async function dropDatabase(address: PostgresAddress, name: string): Promise<void> {
  await onServer(address, (run) => run(`DROP DATABASE IF EXISTS ${requireScratchName(name)} WITH (FORCE)`))
}

async function onServer<T>(
  address: PostgresAddress,
  work: (run: (text: string) => Promise<readonly unknown[]>) => Promise<T>,
): Promise<T> {
  const connection = await openConnection({ address, limits: slowLimits })
  try {
    return await work((text) => connection.query({ text }))
  } finally {
    await connection.close()
  }
}

export interface Drill {
  readonly ok: boolean
  readonly manifest: Manifest
  readonly verification: Verification
  readonly seconds: { readonly backup: number; readonly restore: number; readonly verify: number }
}

export interface DrillOptions extends BackupOptions {
  readonly onStep?: (step: string) => void
}

/**
 * Backs up, restores into a scratch database, verifies there, and drops it, however it ends. The backup stays, and beside
 * it a record of what came of the drill.
 */
export async function drill(options: DrillOptions): Promise<Drill> {
  const { address, clock, file, onStep, signal } = options
  const name = `arqonbus_drill_${randomHex(6)}`
  const timed = stopwatch(clock)
  onStep?.('backup')
  const manifest = await backUp(options)
  const backup = timed()
  onStep?.(`restore into ${name}`)
  await createDatabase(address, name)
  try {
    const scratch = withDatabase(address, name)
    await restore({ ...options, address: scratch, file, replaces: false, onProgress: () => undefined })
    const restored = timed()
    onStep?.('verify')
    const verification = await verifyProjection(scratch, {
      clock,
      expected: manifest.tables,
      ...(signal !== undefined && { signal }),
    })
    const seconds = { backup, restore: restored, verify: timed() }
    const { ok } = verification
    await recordDrill(file, { format: 1, at: toIsoTime(clock.now()), server: address.shown, ok, seconds })
    return { ok, manifest, verification, seconds }
  } finally {
    await dropDatabase(address, name)
  }
}

/** Seconds since it was asked last. */
function stopwatch(clock: Clock): () => number {
  let last = clock.monotonic()
  return () => {
    const now = clock.monotonic()
    const seconds = Math.round(now - last) / 1_000
    last = now
    return seconds
  }
}
