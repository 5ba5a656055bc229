// The start-up rules as checks of the static phase: what the preflight says and what a server does cannot differ.
import type { Finding, Rule, RuleContext } from '../rules/rule.ts'
import { rules } from '../rules/rules.ts'
import { type Check, judgeAll, passed } from './check.ts'
import { ruleWorlds } from './rule-worlds.ts'

/** The runbook recommends it (L21); a site may insist (preflight 2.10). */
const recommended: ReadonlySet<string> = new Set(['bus.storage-mode-strict'])

export const staticChecks: readonly Check[] = rules.map(fromRule)

function fromRule(rule: Rule): Check {
  const { id, title, proves, runbook, severity, class: fault, appliesWhen, requires = [] } = rule
  return {
    id,
    title,
    proves,
    evidence: 'The variable, where it came from, and what was found; secrets by length only.',
    fix: 'The finding names the variable and the value to set.',
    runbook,
    phase: 'static',
    severity,
    ...(recommended.has(id) && { hardenedSeverity: 'high' }),
    class: fault,
    requires,
    appliesWhen: { name: appliesWhen.name, test: ({ ctx }) => appliesWhen.test(ctx) },
    deadlineMs: 2_000,
    effects: [{ kind: 'env', what: 'the environment, and the files it names' }],
    shape: {},
    judge(_facts, { ctx }) {
      const judgement = rule.judge(ctx)
      switch (judgement.status) {
        case 'pass':
          return passed(judgement.found)
        case 'fail':
          return judgeAll(judgement.findings.map((finding) => located(finding, ctx)))
      }
    },
    worlds: ruleWorlds[id] ?? { passes: [], fails: [], ignores: [] },
  }
}

/** Says on which line the variable stands, where the environment came from files. */
function located(finding: Finding, ctx: RuleContext): Finding {
  return { ...finding, found: finding.found + describePlace(finding.variable, ctx) }
}

function describePlace(variable: string, { resolution: { given } }: RuleContext): string {
  const where = given.get(variable)?.source.where
  return where === undefined ? '' : ` (in ${where})`
}
