// gate.isolated: no suite starts before it is known that what it would touch is not what is judged.
import { readdirSync } from 'node:fs'
import type { JsonObject } from '../../base/json.ts'
import type { Finding } from '../../rules/rule.ts'
import { type CheckPorts, type CheckResult, type JudgePorts, judgeAll } from '../check.ts'
import { textIn } from '../json-fields.ts'
import { hasSources, type Host, listed, readText } from '../runtime/host.ts'
import { attestationFaults } from './attestation.ts'
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

const disposableFix = 'give the suites servers of their own in ARQONBUS_TEST_*_URL, or none: they start some then'

export function judgeIsolation(seen: IsolationFacts, { now }: Pick<JudgePorts, 'now'>): CheckResult {
  const { by, attestation, subject, production, disposable, leaks, named } = seen
  if (by === 'attestation') {
    const facts = attestation ?? {}
    const found = `attested by ${textIn(facts, 'by')} at ${textIn(facts, 'at')}, ${textIn(facts, 'digest')}`
    return judgeAll(attestationFaults(facts, now), found, { by, subject })
  }
  const findings: Finding[] = []
  const add = (code: string, variable: string, found: string, fix: string): void => {
    findings.push({ code, variable, found, fix })
  }
  if (leaks.length > 0) {
    add('PRODUCTION_IN_ENVIRONMENT', leaks.join(' '), 'names a server of the judged environment', disposableFix)
  }
  if (named.length > 0) {
    const fix = 'take the address out of the suites, their settings and .env files'
    add('PRODUCTION_IN_SOURCES', 'sources', listed(named), fix)
  }
  for (const one of disposable) {
    const same = production.find(({ identity }) => identity !== undefined && identity === one['identity'])
    const name = `ARQONBUS_TEST_${textIn(one, 'service').toUpperCase()}_URL`
    if (same !== undefined) add('SAME_SERVER', name, `is the server of ${textIn(same, 'server')}`, disposableFix)
    if (one['identity'] === undefined) add('DISPOSABLE_UNREADABLE', name, unreadText(one), disposableFix)
  }
  const unread = production.filter(({ identity }) => identity === undefined)
  if (findings.length === 0 && unread.length > 0) {
    // Whether a suite would reach it cannot be known.
    const observed = unread.map((one) => `${textIn(one, 'server')}: ${unreadText(one)}`).join('; ')
    return { status: 'error', code: 'PRODUCTION_UNREADABLE', observed, class: 'dependency' }
  }
  const words = `${production.length} servers of the judged environment, ${disposable.length} offered to suites`
  return judgeAll(findings, words, { by, subject })
}

const unreadText = (one: JsonObject): string => `${textIn(one, 'code')} ${textIn(one, 'observed')}`.trim()

/** After a suite: `same`, `changed` (restarted or replaced), or `unreadable`. */
export async function lookAgain(host: Host, ports: CheckPorts, signal: AbortSignal): Promise<string> {
  const { before } = sessionOf(ports, host)
  const after: readonly Identity[] = await readIdentities(ports, signal)
  if (before === undefined || after.some(({ identity }) => identity === undefined)) return 'unreadable'
  const text = (list: readonly Identity[]): string => JSON.stringify(list.map(({ identity }) => identity))
  return text(after) === text(before) ? 'same' : 'changed'
}
