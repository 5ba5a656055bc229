// Valkey, Postgres and NATS of one run, each behind a relay: stand-ins that the candidates in good order share, since making
// them takes as long as starting a candidate. They are gone when the last proof is over, or the run.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClosers } from '../../base/closers.ts'
import type { CheckPorts } from '../check.ts'
import { type Relay, type Relays, startRelay } from './relay.ts'
import { startNats, startPostgres, startValkey } from './stand-ins.ts'

export interface Services {
  readonly relays: Relays
  /** For what else the proofs write; gone with them. */
  readonly folder: string
  /** Aborted when they are about to go. */
  readonly signal: AbortSignal
  /** Waited for before they go. */
  push(name: string, close: () => Promise<void>): void
  close(): Promise<void>
}

const ofRun = new WeakMap<CheckPorts, Promise<Services>>()

/** The same of each call of a run. Rejects with ProbeStop, and with nothing left, where one does not start. */
export function servicesOf(ports: CheckPorts): Promise<Services> {
  let services = ofRun.get(ports)
  if (services === undefined) {
    services = open(ports)
    ofRun.set(ports, services)
  }
  return services
}

async function open(ports: CheckPorts): Promise<Services> {
  const closers = createClosers()
  const life = new AbortController()
  const opening = start(ports, closers, life.signal)
  async function close(): Promise<void> {
    life.abort()
    await Promise.allSettled([opening])
    await closers.close()
  }
  ports.atEnd?.(close)
  try {
    const { relays, folder } = await opening
    return { relays, folder, signal: life.signal, push: (name, end) => closers.push(name, end), close }
  } catch (error) {
    await close()
    throw error
  }
}

async function start(
  ports: CheckPorts,
  closers: ReturnType<typeof createClosers>,
  signal: AbortSignal,
): Promise<Pick<Services, 'relays' | 'folder'>> {
  const folder = await mkdtemp(join(tmpdir(), 'arqonbus-services-'))
  closers.push('folder', () => rm(folder, { recursive: true, force: true }))
  const place = { ports, signal, folder }
  const relayed = async (name: string, opening: ReturnType<typeof startValkey>): Promise<Relay> => {
    const standIn = await opening
    closers.push(name, () => standIn.close())
    const relay = await startRelay(standIn.url)
    closers.push(`relay to ${name}`, () => relay.close())
    return relay
  }
  // All of them settle before one is told of: what came up late would be closed by nobody.
  const started = await Promise.allSettled([
    relayed('valkey', startValkey(place)),
    relayed('postgres', startPostgres(place)),
    relayed('nats', startNats(place)),
  ])
  const [valkey, postgres, nats] = started.map((one) => {
    if (one.status === 'rejected') throw one.reason
    return one.value
  }) as [Relay, Relay, Relay]
  return { relays: { valkey, postgres, nats }, folder }
}
