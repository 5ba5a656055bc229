// What a server asks before it opens anything: may I start? All reasons against it at once. The same signed exceptions
// hold here as in the preflight, and by the same rules (docs/waivers.md).
import type { Program } from '../config/keys.ts'
import { applyWaiver, type CompensatingFault, type Refusal, type Subject } from '../waivers/judge-waivers.ts'
import type { PreflightPolicy } from '../waivers/preflight-policy.ts'
import type { Waiver } from '../waivers/waiver.ts'
import type { Finding, Rule, RuleContext } from './rule.ts'
import { rules as everyRule } from './rules.ts'

/** The exit code of a refused start (sysexits EX_CONFIG; reliability 5.2). */
export const refusedExitCode = 78

export interface GateFinding extends Finding {
  readonly rule: Rule
  /** Waivers that were meant for the rule and do not hold; with the rule's first finding. */
  readonly refusals?: readonly Refusal[]
}

export interface Excused {
  readonly rule: Rule
  readonly waiver: Waiver
}

export interface GateResult {
  readonly program: Program
  /** Empty: the program may start. */
  readonly findings: readonly GateFinding[]
  /** Rules that do not hold, and that a waiver excuses. */
  readonly excused: readonly Excused[]
}

export interface GateExceptions {
  readonly waivers: readonly Waiver[]
  readonly policy: PreflightPolicy
  /** ms since the Unix epoch. */
  readonly now: number
}

/** Judges one program's start. Advisory rules never refuse; rules that do not apply are not asked. */
export function gate(
  program: Program,
  ctx: RuleContext,
  exceptions?: GateExceptions,
  rules: readonly Rule[] = everyRule,
): GateResult {
  const own: RuleContext = { ...ctx, programs: [program] }
  const findings: GateFinding[] = []
  const excused: Excused[] = []
  for (const rule of rules) {
    if (rule.severity === 'advisory' || !rule.programs.includes(program)) continue
    if (rule.requires?.some((id) => findings.some((finding) => finding.rule.id === id)) === true) continue
    const found = findingsOf(rule, own)
    if (found.length === 0) continue
    const judgement = exceptions === undefined ? none : excuse(rule, found, ctx, { ...exceptions, rules })
    if ('waiver' in judgement) excused.push({ rule, waiver: judgement.waiver })
    else {
      const { refusals } = judgement
      findings.push(
        ...found.map((one, index) => ({ ...one, rule, ...(index === 0 && refusals.length > 0 && { refusals }) })),
      )
    }
  }
  return { program, findings, excused }
}

const none: { readonly refusals: readonly Refusal[] } = { refusals: [] }

/** Empty where the rule holds or does not apply. */
function findingsOf(rule: Rule, ctx: RuleContext): readonly Finding[] {
  if (!rule.appliesWhen.test(ctx).holds) return []
  const judgement = rule.judge(ctx)
  return judgement.status === 'pass' ? [] : judgement.findings
}

const asInPreflight = (ctx: RuleContext): RuleContext => ({ ...ctx, programs: ['bus', 'shield'] })

/**
 * The preflight judges both programs at once, and what was approved is what it saw: a waiver of that failure holds for
 * the part of it that this program has.
 */
function excuse(
  rule: Rule,
  found: readonly Finding[],
  ctx: RuleContext,
  { rules, ...exceptions }: GateExceptions & { readonly rules: readonly Rule[] },
): { readonly waiver: Waiver } | { readonly refusals: readonly Refusal[] } {
  const grounds = { ...exceptions, profile: ctx.profile }
  const compensating = compensatingOf(rules, asInPreflight(ctx))
  const judgement = applyWaiver(subjectOf(rule, found), grounds, compensating)
  if (judgement.status === 'waived') return judgement
  const joint = findingsOf(rule, asInPreflight(ctx))
  if (found.every((one) => joint.some((other) => isSame(one, other)))) {
    const wider = applyWaiver(subjectOf(rule, joint), grounds, compensating)
    if (wider.status === 'waived') return wider
  }
  return judgement
}

const isSame = (a: Finding, b: Finding): boolean => a.code === b.code && a.variable === b.variable

const subjectOf = ({ id, severity, class: fault }: Rule, findings: readonly Finding[]): Subject => ({
  id,
  severity,
  class: fault,
  status: 'fail',
  findings,
})

/** A start asks no service: what is no rule has not passed here. */
function compensatingOf(rules: readonly Rule[], ctx: RuleContext): CompensatingFault {
  return (id) => {
    const rule = rules.find((one) => one.id === id)
    if (rule === undefined) return 'is no start-up rule, and a start can ask no other check'
    if (!rule.appliesWhen.test(ctx).holds) return 'does not apply'
    return rule.judge(ctx).status === 'pass' ? undefined : 'does not hold'
  }
}

/** One block for standard error; no secret in it. */
export function formatGate({ program, findings }: GateResult): string {
  if (findings.length === 0) return `${program}: every start-up rule holds\n`
  const count = findings.length === 1 ? '1 problem' : `${findings.length} problems`
  const blocks = findings.map(({ variable, found, fix, code, rule, refusals = [] }) => {
    const lines = rule.runbook.length === 0 ? 'beyond the runbook' : `runbook ${rule.runbook.join(', ')}`
    const waivers = refusals.map(({ waiver, reason, words }) => `    waiver ${waiver} refused: ${words} (${reason})\n`)
    return `  ${variable}: ${found}\n    fix   ${fix}\n    rule  ${rule.id} ${code}, ${rule.severity}, ${lines}\n${waivers.join('')}`
  })
  return `${program}: start refused, ${count}\n\n${blocks.join('\n')}`
}
