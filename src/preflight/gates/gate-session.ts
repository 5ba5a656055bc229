// What the gates of one run share: a folder of its own, the spool, the clean tree, what was seen before the first suite.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CheckPorts } from '../check.ts'
import { type CommandSpool, openCommandSpool } from '../incident/commands.ts'
import { buildInfoOf, hasSources, type Host, onPath, readText, run, sha256, textIn } from '../runtime/host.ts'
import { type AttestationFacts, type GateSubject, readAttestation } from './attestation.ts'
import { attestationFaults } from './attestation-judges.ts'
import { type EnvironmentParts, suiteEnvironment } from './gate-environment.ts'
import type { Identity } from './identities.ts'
import { readSuiteFile } from './suite-file.ts'

export interface GateSession {
  /** Everything is below it; gone at the end of the run. */
  readonly folder: string
  readonly parts: EnvironmentParts
  readonly spool: CommandSpool
  /** The production servers as they were before the first suite. */
  before?: readonly Identity[]
  /** The clean tree, once it is installed. */
  tree?: string
  /** Tests that ran, by suite. */
  readonly tests: Map<string, number>
  /** The reports of suites that ran, by suite. */
  readonly reports: Map<string, string>
}

const sessions = new WeakMap<CheckPorts, GateSession>()

/** The same for every gate of a run. */
export function sessionOf(ports: CheckPorts, host: Host): GateSession {
  const known = sessions.get(ports)
  if (known !== undefined) return known
  const folder = mkdtempSync(join(tmpdir(), 'arqonbus-gates-'))
  const home = join(folder, 'home')
  mkdirSync(home)
  const spool = ports.spool ?? openCommandSpool(ports.clock)
  const parts = { shell: shellOf(ports), home, node: host.node }
  const session = { folder, spool, parts, tests: new Map(), reports: new Map() }
  sessions.set(ports, session)
  ports.atEnd?.(() => {
    rmSync(folder, { recursive: true, force: true })
    if (ports.spool === undefined) spool.close()
  })
  return session
}

/** The operator's environment: the judged one, unless that came from elsewhere. */
function shellOf({ shell, ctx }: CheckPorts): EnvironmentParts['shell'] {
  return shell ?? Object.fromEntries([...ctx.resolution.given].map(([name, { text }]) => [name, text]))
}

export const environmentOfSuites = (session: GateSession): Record<string, string> => suiteEnvironment(session.parts)

/** What the gates would be run of. */
export async function subjectOf(host: Host, ports: CheckPorts, signal: AbortSignal): Promise<GateSubject> {
  const lockText = readText(join(host.root, 'package-lock.json'))
  return {
    commit: await commitOf(host, ports, signal),
    lock: lockText === undefined ? (textIn(buildInfoOf(host), 'lock') ?? '') : sha256(lockText),
    node: process.versions.node,
    suites: readSuiteFile(host)?.digest ?? '',
  }
}

async function commitOf(host: Host, ports: CheckPorts, signal: AbortSignal): Promise<string> {
  const info = buildInfoOf(host)
  if (!hasSources(host) && info !== undefined) return info['isClean'] === true ? (textIn(info, 'commit') ?? '') : ''
  const git = onPath(ports, 'git')
  if (git === undefined) return ''
  const head = await run(git, ['rev-parse', 'HEAD'], { ports, signal, cwd: host.root })
  const status = await run(git, ['status', '--porcelain'], { ports, signal, cwd: host.root })
  return head.isOk && status.isOk && status.out === '' ? head.out : ''
}

/** The attestation of this run; undefined where none was named. */
export async function attestationOf(
  host: Host,
  ports: CheckPorts,
  signal: AbortSignal,
): Promise<AttestationFacts | undefined> {
  if (ports.attestationPath === undefined) return undefined
  return readAttestation(ports.attestationPath, ports.policy, await subjectOf(host, ports, signal))
}

/** Only one that holds: where it does not, gate.isolated says why, and what can be run without suites is run. */
export async function validAttestation(
  host: Host,
  ports: CheckPorts,
  signal: AbortSignal,
): Promise<AttestationFacts | undefined> {
  const facts = await attestationOf(host, ports, signal)
  return facts !== undefined && attestationFaults(facts, ports.now).length === 0 ? facts : undefined
}
