// Bus and Shield in one process on embedded stores: what `arqonbus up` runs. Needs nothing but a data folder, where a
// development secret is generated once and kept.
import { randomBytes } from 'node:crypto'
import { mkdir, open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createClosers } from '../base/closers.ts'
import type { BusConfig, ShieldConfig } from '../config/shapes.ts'
import { createMemoryHub } from '../link/memory-link.ts'
import { type BusPorts, type RunningBus, startBus } from './bus.ts'
import { type RunningShield, startShieldProgram } from './shield.ts'

/** The file in the data folder that holds the generated development secret. */
export const devSecretFile = 'dev-secret'

/** The defaults `up` lays under the environment: real persistence, and a secret of its own. */
export function upDefaults(secret: string): Readonly<Record<string, string>> {
  return {
    ARQONBUS_STORAGE_BACKEND: 'embedded',
    ARQONBUS_ENABLE_PERSISTENCE: 'true',
    ARQONBUS_STORAGE_MODE: 'strict', // what is acknowledged is on disk
    ARQONBUS_LOG_LEVEL: 'warn', // a person is watching
    JWT_SECRET: secret,
  }
}

/** The development secret of a data folder, generated at first use; readable by its owner only. */
export async function openDevSecret(dataDir: string): Promise<string> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const path = join(dataDir, devSecretFile)
  try {
    const file = await open(path, 'wx', 0o600)
    try {
      await file.writeFile(randomBytes(48).toString('base64'))
      await file.sync()
    } finally {
      await file.close()
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return readFile(path, 'utf8')
}

export interface RunningUp {
  readonly bus: RunningBus
  readonly shield: RunningShield
  /** Clients are told first, then Shield closes, then the bus. */
  close(): Promise<void>
}

export async function startUp(configs: { bus: BusConfig; shield: ShieldConfig }, ports: BusPorts): Promise<RunningUp> {
  const closers = createClosers()
  try {
    // The largest frame and its headers must fit, as with a NATS server (design 7).
    const hub = createMemoryHub({ maxPayload: configs.bus.limits.maxMessageBytes + 64 * 1024 })
    const bus = await startBus(configs.bus, { ...ports, link: hub.connect('bus') })
    closers.push('bus', () => bus.close())
    const shield = await startShieldProgram(configs.shield, {
      clock: ports.clock,
      logger: ports.logger,
      link: hub.connect('shield'),
    })
    closers.push('shield', () => shield.close())
    return { bus, shield, close: () => closers.close() }
  } catch (error) {
    await closers.close()
    throw error
  }
}
