// The system that the live checks speak to where none runs yet: bus and Shield of this package, in the judged environment,
// with its stores and its NATS, but on loopback and with a data folder of their own. They start with a permit, since a
// certificate comes after this. A bus that serves on the same NATS already makes the candidate refuse: then that
// one is to be looked at, with --target.
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Clock } from '../../base/clock.ts'
import type { Environment } from '../../config/resolution.ts'
import { freePorts } from '../boot/candidate.ts'
import { spawnWithPermit } from '../certificate/spawn-with-permit.ts'
import type { CommandSpool } from '../incident/commands.ts'
import { thisHost } from '../runtime/host.ts'
import { parseTargets, type Targets } from '../targets.ts'

export interface CandidateSystem {
  /** Known before it is started. */
  readonly targets: Targets
  /**
   * Resolves when both are ready, or with why they are not: one did not start, is late, or `stop` was aborted. `spool`
   * keeps what they print.
   */
  start(ports?: { readonly spool?: CommandSpool; readonly stop?: AbortSignal }): Promise<string | undefined>
  /** Ends what was started, and waits for that; its files are gone then. */
  close(): Promise<void>
}

export interface CandidateOptions {
  readonly env: Environment
  readonly clock: Clock
}

const readyMs = 30_000
const lookEveryMs = 100
const endMs = 10_000
const keptChars = 4_096

export async function createCandidateSystem(options: CandidateOptions): Promise<CandidateSystem> {
  const { env, clock } = options
  const host = thisHost
  const [bus, http, telemetry, shield, metrics] = (await freePorts(5)) as [number, number, number, number, number]
  let folder: string | undefined
  const own = {
    ARQONBUS_SERVER_HOST: '127.0.0.1',
    ARQONBUS_SERVER_PORT: String(bus),
    ARQONBUS_HTTP_HOST: '127.0.0.1',
    ARQONBUS_HTTP_PORT: String(http),
    ARQONBUS_TELEMETRY_HOST: '127.0.0.1',
    ARQONBUS_TELEMETRY_PORT: String(telemetry),
    SHIELD_HOST: '127.0.0.1',
    SHIELD_PORT: String(shield),
    SHIELD_METRICS_HOST: '127.0.0.1',
    SHIELD_METRICS_PORT: String(metrics),
    // Its certificate is of another name than loopback.
    SHIELD_TLS_CERT_FILE: undefined,
    SHIELD_TLS_KEY_FILE: undefined,
    ARQONBUS_PREFLIGHT_CERTIFICATE: undefined,
    ARQONBUS_PREFLIGHT_BREAK_GLASS: undefined,
  }
  const targets = parseTargets(
    `bus=ws://127.0.0.1:${bus},http=http://127.0.0.1:${http},telemetry=ws://127.0.0.1:${telemetry},shield=ws://127.0.0.1:${shield}/ws`,
  )
  const programs: Program[] = []
  let isUp = false

  function launch(name: 'bus' | 'shield', spool: CommandSpool | undefined): Program {
    const argv = [host.node, join(host.root, 'bin/arqonbus.mjs'), name]
    const cwd = host.cwd()
    const record = spool?.begin({ id: `candidate-${name}`, argv, cwd })
    const startedMs = clock.monotonic()
    const variables = Object.fromEntries(
      Object.entries({ ...env, ...own, ARQONBUS_DATA_DIR: join(folder!, 'data') }).filter(
        ([, value]) => value !== undefined,
      ),
    )
    const child = spawnWithPermit(host.node, argv.slice(1), { cwd, env: variables, hasChannel: true }, clock)
    const program: Program = { name, child, errors: '', hasEnded: false, ended: Promise.resolve() }
    child.stdout!.on('data', (chunk: Buffer) => record?.write('stdout', chunk))
    child.stderr!.on('data', (chunk: Buffer) => {
      record?.write('stderr', chunk)
      program.errors = (program.errors + chunk.toString('utf8')).slice(0, keptChars)
    })
    program.ended = new Promise((resolve) => {
      child.on('error', () => undefined) // a close follows
      child.on('close', (exit, signal) => {
        program.hasEnded = true
        record?.end({ exit, signal, ms: Math.round(clock.monotonic() - startedMs) })
        resolve()
      })
    })
    programs.push(program)
    return program
  }

  return {
    targets,
    async start({ spool, stop } = {}) {
      folder = mkdtempSync(join(tmpdir(), 'arqonbus-candidate-'))
      const readiness = [
        { program: launch('bus', spool), port: http },
        { program: launch('shield', spool), port: metrics },
      ]
      const untilMs = clock.monotonic() + readyMs
      for (const { program, port } of readiness) {
        while (!(await isReady(port))) {
          if (stop?.aborted === true) return 'the candidate was stopped while it started'
          const ended = programs.find(({ hasEnded }) => hasEnded)
          if (ended !== undefined) return `the candidate’s ${ended.name} did not start: ${reasonIn(ended.errors)}`
          if (clock.monotonic() > untilMs)
            return `the candidate’s ${program.name} is not ready after ${readyMs / 1_000} s`
          await pause(lookEveryMs)
        }
      }
      isUp = true
      return undefined
    },
    async close() {
      // What never served has nothing to finish, and may be waiting for a service that never answers.
      const signal = isUp ? 'SIGTERM' : 'SIGKILL'
      for (const { child, hasEnded, ended } of programs.toReversed()) {
        if (hasEnded) continue
        child.kill(signal)
        const timer = setTimeout(() => child.kill('SIGKILL'), endMs)
        await ended
        clearTimeout(timer)
      }
      if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
    },
  }
}

interface Program {
  readonly name: string
  readonly child: ChildProcess
  errors: string
  hasEnded: boolean
  ended: Promise<void>
}

async function isReady(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/ready`, { signal: AbortSignal.timeout(2_000) })).ok
  } catch {
    return false
  }
}

/** From the refusal on, where there is one: what was logged before tells less. */
function reasonIn(text: string): string {
  const lines = text.trim().split('\n')
  const refusal = lines.findIndex((line) => /^arqonbus: [A-Z][A-Z_]{3,}/.test(line))
  return lines.slice(Math.max(0, refusal)).slice(0, 8).join('\n')
}
