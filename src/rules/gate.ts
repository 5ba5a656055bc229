// What a server asks before it opens anything: may I start? All reasons against it at once.
import type { Program } from '../config/keys.ts'
import type { Finding, Rule, RuleContext } from './rule.ts'
import { rules as everyRule } from './rules.ts'

/** The exit code of a refused start (sysexits EX_CONFIG; reliability 5.2). */
export const refusedExitCode = 78

export interface GateFinding extends Finding {
  readonly rule: Rule
}

export interface GateResult {
  readonly program: Program
  /** Empty: the program may start. */
  readonly findings: readonly GateFinding[]
}

/** Judges one program's start. Advisory rules never refuse; rules that do not apply are not asked. */
export function gate(program: Program, ctx: RuleContext, rules: readonly Rule[] = everyRule): GateResult {
  const own: RuleContext = { ...ctx, programs: [program] }
  const findings = rules.flatMap((rule): GateFinding[] => {
    if (rule.severity === 'advisory' || !rule.programs.includes(program) || !rule.appliesWhen.test(own).holds) return []
    const judgement = rule.judge(own)
    return judgement.status === 'pass' ? [] : judgement.findings.map((finding) => ({ ...finding, rule }))
  })
  return { program, findings }
}

/** One block for standard error; no secret in it. */
export function formatGate({ program, findings }: GateResult): string {
  if (findings.length === 0) return `${program}: every start-up rule holds\n`
  const count = findings.length === 1 ? '1 problem' : `${findings.length} problems`
  const blocks = findings.map(({ variable, found, fix, code, rule }) => {
    const lines = rule.runbook.length === 0 ? 'beyond the runbook' : `runbook ${rule.runbook.join(', ')}`
    return `  ${variable}: ${found}\n    fix   ${fix}\n    rule  ${rule.id} ${code}, ${rule.severity}, ${lines}\n`
  })
  return `${program}: start refused, ${count}\n\n${blocks.join('\n')}`
}
