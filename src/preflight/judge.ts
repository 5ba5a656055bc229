// From an answer to a result, without touching anything: the same for a run, a replay and a world.
import { describeFault } from './build-report.ts'
import type { Answer, Check, CheckResult, JudgePorts } from './check.ts'
import { misfit } from './facts.ts'
import { judgeStop } from './stops.ts'

export function judgeAnswer(check: Check, answer: Answer, ports: JudgePorts): CheckResult {
  if ('stopped' in answer) return judgeStop(answer.stopped, check.id, check.hints)
  const why = misfit(answer.facts, check.shape)
  if (why !== undefined) return { status: 'error', code: 'BAD_FACTS', observed: why, class: 'unknown' }
  try {
    const result: unknown = check.judge(answer.facts, ports)
    return isResult(result) ? result : { status: 'error', code: 'NO_ANSWER', observed: 'the check returned no result' }
  } catch (error) {
    return { status: 'error', code: 'THREW', observed: describeFault(error), class: 'unknown' }
  }
}

function isResult(value: unknown): value is CheckResult {
  if (typeof value !== 'object' || value === null || !('status' in value)) return false
  if (value.status === 'pass') return true
  if (value.status === 'error') return 'code' in value && typeof value.code === 'string'
  return value.status === 'fail' && 'findings' in value && Array.isArray(value.findings) && value.findings.length > 0
}
