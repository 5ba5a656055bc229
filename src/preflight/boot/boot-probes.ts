// Starts the candidate with a fault and watches it to its end.
import { generateKeyPairSync } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CheckPorts } from '../check.ts'
import type { Host } from '../runtime/host.ts'
import { busyLane, type Changes, compileCacheOf, freePorts, inFolder, startCandidate } from './candidate.ts'
import { lonelyCertificate } from './certificate.ts'
import { factsOfStart, type RefusalCase, type RefusalFacts } from './refusal.ts'
import * as cases from './refusal-cases.ts'
import { type Silence, startPostgres, startSilence } from './stand-ins.ts'

/** Preflight 5: a refusal takes no longer. */
const refusalMs = 10_000
/** The documented 10 s of a strict start (three attempts), and as long again for the program itself to come to them. */
const strictMs = 20_000

interface Attempt {
  readonly one: RefusalCase
  readonly changes?: Changes
  readonly deadlineMs?: number
  /** Resolves once it only waits, and keeps nobody from the processor. */
  readonly idle?: Promise<void>
}

type Probe = (ports: CheckPorts, signal: AbortSignal) => Promise<RefusalFacts>

async function attempt(attempts: readonly Attempt[], ports: CheckPorts, signal: AbortSignal, host: Host) {
  const starts = await Promise.all(
    attempts.map(({ one, changes = {}, deadlineMs = refusalMs, idle }) =>
      inFolder(async (folder) => {
        const cache = { NODE_COMPILE_CACHE: compileCacheOf(ports) }
        const spec = { ...one, changes: { ...one.changes, ...changes, ...cache }, deadlineMs }
        const { ended } = await busyLane(async () => {
          const candidate = await startCandidate(spec, { ports, signal, host, folder })
          await (idle === undefined ? candidate.ended : Promise.race([candidate.ended, idle]))
          return candidate
        })
        return factsOfStart(one, await ended)
      }),
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
    const silences: Silence[] = []
    try {
      const attempts: Attempt[] = []
      for (const one of cases.absentStores) {
        const silence = one.absence === 'silent' ? await startSilence() : undefined
        if (silence !== undefined) silences.push(silence)
        const at = `127.0.0.1:${silence?.port ?? (await freePorts(1))[0]}`
        const changes =
          one.store === 'valkey'
            ? { ARQONBUS_VALKEY_URL: `redis://${at}` }
            : { ARQONBUS_POSTGRES_URL: `postgresql://arqonbus@${at}/arqonbus` }
        attempts.push({ one, changes, deadlineMs: strictMs, ...(silence !== undefined && { idle: silence.asked }) })
      }
      return await attempt(attempts, ports, signal, host)
    } finally {
      await Promise.all(silences.map((silence) => silence.close()))
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
