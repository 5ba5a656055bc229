// A refusal that proves something: it ended by itself, in time, with an exit code that says why, without a socket, and
// named the fault that was put in. The judge holds each start to that; it sees facts only.
import type { JsonObject } from '../../base/json.ts'
import type { Finding } from '../../rules/rule.ts'
import { type CheckResult, judgeAll } from '../check.ts'
import { listIn } from '../json-fields.ts'
import { listed, word } from '../runtime/host.ts'
import type { RefusalCase, RefusalFacts } from './refusal.ts'

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

function faultsOf(one: RefusalCase, start: JsonObject): Finding[] {
  const { exit, signal, isLate } = start
  const findings: Finding[] = []
  const add = (code: string, found: string): void => void findings.push(fault(code, one, found))
  const [opened, reasons] = [listIn(start, 'listened'), listIn(start, 'reasons')]
  if (isLate === true) add('STILL_RUNNING', 'had not ended at its deadline')
  else if (signal !== '') add('KILLED', `was ended by ${word(signal)}`)
  else if (exit === 0) add('ENDED_WELL', 'ended with 0')
  else if (exit !== one.exit) add('WRONG_EXIT', `ended with ${word(exit)} instead of ${one.exit}`)
  if (opened.length > 0) add('LISTENED', `listened on ${opened.map(word).join(', ')}`)
  if (!one.named.some((name) => reasons.includes(name))) {
    const found = reasons.length === 0 ? 'nothing that is known' : listed(reasons.map(word))
    add('REASON_NOT_NAMED', `named ${found} instead of ${one.named.join(' or ')}`)
  }
  return findings
}
