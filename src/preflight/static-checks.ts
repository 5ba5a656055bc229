// The start-up rules as checks of the static phase: what the preflight says and what a server does cannot differ.
import type { Finding, Rule, RuleContext } from '../rules/rule.ts'
import { rules } from '../rules/rules.ts'
import { type Check, judgeAll, passed } from './check.ts'
import { ruleWorlds } from './rule-worlds.ts'

export const staticChecks: readonly Check[] = rules.map(fromRule)

function fromRule(rule: Rule): Check {
  const { id, title, proves, runbook, severity, class: fault, appliesWhen } = rule
  return {
    id,
    title,
    proves,
    evidence: 'The variable, where it came from, and what was found; secrets by length only.',
    fix: 'The finding names the variable and the value to set.',
    runbook,
    phase: 'static',
    severity,
    class: fault,
    requires: [],
    appliesWhen: { name: appliesWhen.name, test: ({ ctx }) => appliesWhen.test(ctx) },
    deadlineMs: 2_000,
    effects: [{ kind: 'env', what: 'the environment, and the files it names' }],
    shape: {},
    judge(_facts, { ctx }) {
      const judgement = rule.judge(ctx)
      return judgement.status === 'pass' ? passed(judgement.found) : judgeAll(judgement.findings.map(located(ctx)))
    },
    worlds: ruleWorlds[id] ?? { passes: [], fails: [], ignores: [] },
  }
}

/** Says on which line the variable stands, where the environment came from files. */
function located({ resolution: { given } }: RuleContext): (finding: Finding) => Finding {
  return (finding) => {
    const where = given.get(finding.variable)?.source.where
    return where === undefined ? finding : { ...finding, found: `${finding.found} (in ${where})` }
  }
}
