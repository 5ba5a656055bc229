// Lines of the runbook that ask for a whole service: names for the checks that prove it, without a fault of their own.
// Whatever they require that did not pass keeps its own name in the report, and these wait on it.
import { type Check, passed } from './check.ts'

type RollUp = Pick<Check, 'id' | 'title' | 'proves' | 'runbook' | 'severity' | 'requires'> & Partial<Check>

export function rollUp(spec: RollUp): Check {
  return {
    phase: 'deps',
    class: 'dependency',
    evidence: 'The checks it waits on.',
    fix: 'What the check says that it waits on.',
    appliesWhen: { name: 'always', test: () => ({ holds: true, because: 'always' }) },
    deadlineMs: 1_000,
    effects: [],
    isRollUp: true,
    shape: {},
    judge: () => passed(),
    worlds: { passes: [], fails: [], ignores: [] },
    ...spec,
  }
}

export const rollUps: readonly Check[] = []
