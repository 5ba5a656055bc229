// gate.isolated: no suite starts before it is known that what it would touch is not what is judged.
import { readdirSync } from 'node:fs'
import type { JsonObject } from '../../base/json.ts'
import type { CheckPorts } from '../check.ts'
import { hasSources, type Host, readText } from '../runtime/host.ts'
import { attestationOf, environmentOfSuites, sessionOf, subjectOf } from './gate-session.ts'
import { type Identity, readDisposable, readIdentities, telltales } from './identities.ts'
import { codeBelow } from './sources.ts'
import { readSuiteFile, suiteFileName } from './suite-file.ts'

export const isolationShape = {
  /** `run` or `attestation`. */
  by: 'string',
  attestation: 'object?',
  subject: 'object',
  production: 'objects',
  disposable: 'objects',
  /** Variables of a suite's environment that hold an address of production. */
  leaks: 'strings',
  /** Files that name one. */
  named: 'strings',
} as const

export interface IsolationFacts {
  readonly by: string
  readonly attestation?: JsonObject
  readonly subject: JsonObject
  readonly production: readonly JsonObject[]
  readonly disposable: readonly JsonObject[]
  readonly leaks: readonly string[]
  readonly named: readonly string[]
}

export async function probeIsolation(host: Host, ports: CheckPorts, signal: AbortSignal): Promise<IsolationFacts> {
  const attestation = await attestationOf(host, ports, signal)
  const subject = { ...(await subjectOf(host, ports, signal)) }
  if (attestation !== undefined) {
    return { by: 'attestation', attestation, subject, production: [], disposable: [], leaks: [], named: [] }
  }
  const session = sessionOf(ports, host)
  const env = environmentOfSuites(session)
  const tells = await telltales(ports)
  const production = await readIdentities(ports, signal)
  const leaks = Object.entries(env).filter(([, value]) => tells.some((tell) => value.includes(tell)))
  // An address of production is not even dialled in the name of a suite.
  const harmless = Object.fromEntries(Object.entries(env).filter(([name]) => !leaks.some(([leak]) => leak === name)))
  const disposable = await readDisposable(ports, harmless, signal)
  session.before = production
  return {
    by: 'run',
    subject,
    production,
    disposable,
    leaks: leaks.map(([name]) => name).sort(),
    named: filesNaming(host, tells),
  }
}

/** Suites, their settings, and files of variables: a runner may read any of them. */
function filesNaming(host: Host, tells: readonly string[]): string[] {
  if (!hasSources(host) || tells.length === 0) return []
  const places = [...(readSuiteFile(host)?.suites.values() ?? [])].flatMap(({ sources, files }) => [
    ...sources,
    ...files,
  ])
  const dotEnvs = readdirSync(host.root).filter((name) => name === '.env' || name.startsWith('.env.'))
  const settings = [suiteFileName, ...dotEnvs].map((path) => ({ path, text: readText(`${host.root}/${path}`) ?? '' }))
  return [...settings, ...codeBelow(host.root, places)]
    .filter(({ text }) => tells.some((tell) => text.includes(tell)))
    .map(({ path }) => path)
}

/** After a suite: `same`, `changed` (restarted or replaced), or `unreadable`. */
export async function lookAgain(host: Host, ports: CheckPorts, signal: AbortSignal): Promise<string> {
  const { before } = sessionOf(ports, host)
  const after: readonly Identity[] = await readIdentities(ports, signal)
  if (before === undefined || after.some(({ identity }) => identity === undefined)) return 'unreadable'
  const text = (list: readonly Identity[]): string => JSON.stringify(list.map(({ identity }) => identity))
  return text(after) === text(before) ? 'same' : 'changed'
}
