// Starts the candidate with a fault and watches it to its end.
import { generateKeyPairSync } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CheckPorts } from '../check.ts'
import type { Host } from '../runtime/host.ts'
import {
  busyLane,
  type Changes,
  compileCacheOf,
  freePorts,
  idleLane,
  inFolder,
  type Lane,
  startCandidate,
} from './candidate.ts'
import { lonelyCertificate } from './certificate.ts'
import { factsOfStart, type RefusalCase, type RefusalFacts } from './refusal.ts'
import * as cases from './refusal-cases.ts'
import { startPostgres, startSilence } from './stand-ins.ts'

/** Preflight 5: a refusal takes no longer. */
const refusalMs = 10_000
/** The documented 10 s of a strict start (three attempts), and as long again for the program itself to come to them. */
const strictMs = 20_000

interface Attempt {
  readonly one: RefusalCase
  readonly changes?: Changes
  readonly deadlineMs?: number
  readonly lane?: Lane
}

type Probe = (ports: CheckPorts, signal: AbortSignal) => Promise<RefusalFacts>

async function attempt(attempts: readonly Attempt[], ports: CheckPorts, signal: AbortSignal, host: Host) {
  const starts = await Promise.all(
    attempts.map(({ one, changes = {}, deadlineMs = refusalMs, lane = busyLane }) =>
      lane(() =>
        inFolder(async (folder) => {
          const cache = { NODE_COMPILE_CACHE: compileCacheOf(ports) }
          const spec = { ...one, changes: { ...one.changes, ...changes, ...cache }, deadlineMs }
          const candidate = await startCandidate(spec, { ports, signal, host, folder })
          return factsOfStart(one, await candidate.ended)
        }),
      ),
    ),
  )
  return { starts }
}

export function proveRefusals(list: readonly RefusalCase[], host: Host, deadlineMs: number): Probe {
  return (ports, signal) =>
    attempt(
      list.map((one) => ({ one, deadlineMs })),
      ports,
      signal,
      host,
    )
}

export function proveAbsentStores(host: Host): Probe {
  return async (ports, signal) => {
    const silence = await startSilence()
    try {
      const attempts = await Promise.all(
        cases.absentStores.map(async (one): Promise<Attempt> => {
          const [closed] = (await freePorts(1)) as [number]
          const at = `127.0.0.1:${one.absence === 'silent' ? silence.port : closed}`
          const changes =
            one.store === 'valkey'
              ? { ARQONBUS_VALKEY_URL: `redis://${at}` }
              : { ARQONBUS_POSTGRES_URL: `postgresql://arqonbus@${at}/arqonbus` }
          return { one, changes, deadlineMs: strictMs, lane: idleLane }
        }),
      )
      return await attempt(attempts, ports, signal, host)
    } finally {
      await silence.close()
    }
  }
}

export function proveUnmigrated(host: Host): Probe {
  return (ports, signal) =>
    inFolder(async (folder) => {
      const postgres = await startPostgres({ ports, signal, folder })
      try {
        const changes = { ARQONBUS_POSTGRES_URL: postgres.url }
        return await attempt(
          cases.unmigrated.map((one) => ({ one, changes })),
          ports,
          signal,
          host,
        )
      } finally {
        await postgres.close()
      }
    })
}

export function proveBadCertificate(host: Host): Probe {
  return (ports, signal) =>
    inFolder(async (folder) => {
      const [certificate, key] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')]
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
      await writeFile(certificate, lonelyCertificate, { mode: 0o600 })
      await writeFile(key, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
      const [mismatch, missing] = cases.badCertificate as readonly [RefusalCase, RefusalCase]
      const withKey = (path: string): Changes => ({ SHIELD_TLS_CERT_FILE: certificate, SHIELD_TLS_KEY_FILE: path })
      const attempts = [
        { one: mismatch, changes: withKey(key) },
        { one: missing, changes: withKey(join(folder, 'none.pem')) },
      ]
      return await attempt(attempts, ports, signal, host)
    })
}
