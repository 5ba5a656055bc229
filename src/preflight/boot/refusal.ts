// A refusal that proves something: it ended by itself, in time, with an exit code that says why, without a socket, and
// named the fault that was put in. The judge holds each start to that; it sees facts only.
import type { JsonObject } from '../../base/json.ts'
import type { Finding } from '../../rules/rule.ts'
import { type CheckResult, judgeAll } from '../check.ts'
import { listed, word } from '../runtime/host.ts'
import type { CandidateProgram, Changes, Watched } from './candidate.ts'

export interface RefusalCase {
  /** `bus, set to 1`. */
  readonly name: string
  readonly program: CandidateProgram
  readonly changes: Changes
  readonly isStaging?: true
  readonly exit: number
  /** One of them has to stand on standard error: `rule CODE`, `CODE`, `CODE REASON`, or `event backend`. */
  readonly named: readonly string[]
}

export const refusalShape = { starts: 'objects' } as const
export interface RefusalFacts {
  readonly starts: readonly JsonObject[]
}

/** Rules with codes, errors with reasons, and stores that could not be opened: names only, no text of the program. */
export function reasonsIn(stderr: string): string[] {
  const rules = stderr.matchAll(/^ {4}rule {2}([a-z][\w.-]*) ([A-Z_]+),/gm)
  const errors = stderr.matchAll(/^arqonbus: ([A-Z][A-Z_]{3,})(?: \(([A-Z_]+)\))?: /gm)
  const stores = stderr.split('\n').filter((line) => line.includes('"event":"store.open_failed"'))
  const backends = stores.flatMap((line) => /"backend":"([a-z]+)"/.exec(line)?.[1] ?? [])
  return [
    ...new Set([
      ...[...rules].map(([, id, code]) => `${id} ${code}`),
      ...[...errors].map(([, code, reason]) => (reason === undefined ? code! : `${code} ${reason}`)),
      ...backends.map((backend) => `store.open_failed ${backend}`),
    ]),
  ].sort()
}

export function factsOfStart({ name }: { readonly name: string }, watched: Watched): JsonObject {
  const { exit, signal, isLate, ms, listened, stderr } = watched
  return { name, exit, signal, isLate, ms, listened: [...listened], reasons: reasonsIn(stderr) }
}

const look = 'run the candidate with this fault by hand (`arqonbus <program>`), and repair its start-up gate'

export function judgeRefusals({ starts }: RefusalFacts, cases: readonly RefusalCase[]): CheckResult {
  const findings = cases.flatMap((one) => {
    const start = starts.find(({ name }) => name === one.name)
    return start === undefined ? [fault('NOT_TRIED', one, 'was not started')] : faultsOf(one, start)
  })
  const observed = starts.map(({ name, exit, ms }) => `${word(name)}: exit ${word(exit)}, ${word(ms)} ms`)
  return judgeAll(findings, observed.join('; '), { refused: cases.map(({ name }) => name) })
}

function fault(code: string, { name, program }: RefusalCase, found: string): Finding {
  return { code, variable: program, found: `${name}: ${found}`, fix: look }
}

function faultsOf(one: RefusalCase, { exit, signal, isLate, listened, reasons }: JsonObject): Finding[] {
  const findings: Finding[] = []
  const add = (code: string, found: string): void => void findings.push(fault(code, one, found))
  const words = Array.isArray(reasons) ? reasons.filter((word) => typeof word === 'string') : []
  const opened = Array.isArray(listened) ? listened : [] // facts hold arrays here
  if (isLate === true) add('STILL_RUNNING', 'had not ended at its deadline')
  else if (signal !== '') add('KILLED', `was ended by ${word(signal)}`)
  else if (exit === 0) add('ENDED_WELL', 'ended with 0')
  else if (exit !== one.exit) add('WRONG_EXIT', `ended with ${word(exit)} instead of ${one.exit}`)
  if (opened.length > 0) add('LISTENED', `listened on ${opened.map(word).join(', ')}`)
  if (!one.named.some((word) => words.includes(word))) {
    const said = words.length === 0 ? 'nothing that is known' : listed(words)
    add('REASON_NOT_NAMED', `named ${said} instead of ${one.named.join(' or ')}`)
  }
  return findings
}
