// Worlds of the suites and of gate.not-hollow.
import type { JsonObject, Worlds } from '../check.ts'
import { attestedFails, attestedPasses } from './attestation-worlds.ts'
import type { HollowFacts } from './hollow-probes.ts'
import type { SuiteFacts } from './suite-probes.ts'

const green: SuiteFacts = {
  by: 'run',
  suite: 'unit',
  missing: [],
  only: [],
  exit: 0,
  hasReport: true,
  tests: 12,
  failed: 0,
  skipped: [],
  after: 'same',
}
const { exit: _, ...endless } = green
const bare: SuiteFacts = { ...endless, hasReport: false, tests: 0 }

export const suiteWorlds: Worlds<SuiteFacts> = {
  passes: [{ name: 'twelve tests, all green', facts: green }, ...attestedPasses(bare)],
  ignores: [{ name: 'a single test', facts: { ...green, tests: 1 } }],
  fails: [
    ...attestedFails(bare),
    {
      name: 'nothing to run',
      facts: { ...bare, by: 'absent' },
      expect: { code: 'SUITE_ABSENT', findings: ['preflight.gates.json SUITE_ABSENT'] },
    },
    {
      name: 'a file that is named and gone',
      facts: { ...bare, missing: ['test/e2e/projector.test.ts'] },
      expect: { code: 'FILE_MISSING', findings: ['preflight.gates.json FILE_MISSING'] },
    },
    {
      name: 'a .only',
      facts: { ...green, only: ['test/unit/x.test.ts:3'] },
      expect: { code: 'ONLY', findings: ['unit ONLY'] },
    },
    {
      name: 'a runner that ends well and reports nothing',
      facts: { ...green, hasReport: false, tests: 0 },
      expect: { code: 'NO_REPORT', findings: ['unit NO_REPORT'] },
    },
    {
      name: 'a runner that is not there',
      facts: { ...bare, trouble: 'ENOENT' },
      expect: { code: 'NO_REPORT', findings: ['unit NO_REPORT'] },
    },
    {
      name: 'a test that fails',
      facts: { ...green, exit: 1, failed: 1, firstFailure: 'adds (test/unit/x.test.ts:3)' },
      expect: { code: 'TESTS_FAILED', findings: ['unit TESTS_FAILED'] },
    },
    {
      name: 'a test that fails, and a runner that says nothing of it',
      facts: { ...green, failed: 1 },
      expect: { code: 'TESTS_FAILED', findings: ['unit TESTS_FAILED'] },
    },
    {
      name: 'a file that breaks, and no test',
      facts: { ...green, exit: 1, tests: 0, failed: 1 },
      expect: { code: 'TESTS_FAILED', findings: ['unit TESTS_FAILED'] },
    },
    {
      name: 'no tests',
      facts: { ...green, tests: 0 },
      expect: { code: 'NO_TESTS', findings: ['unit NO_TESTS'] },
    },
    {
      name: 'a skip that nobody agreed on',
      facts: { ...green, skipped: ['it works'] },
      expect: { code: 'SKIPPED', findings: ['unit SKIPPED'] },
    },
    {
      name: 'an error outside the tests',
      facts: { ...green, exit: 1 },
      expect: { code: 'RUNNER_FAILED', findings: ['unit RUNNER_FAILED'] },
    },
    {
      name: 'ended by a signal, after its report',
      facts: { ...endless, trouble: 'SIGKILL' },
      expect: { code: 'RUNNER_FAILED', findings: ['unit RUNNER_FAILED'] },
    },
    {
      name: 'a judged server that is another afterwards',
      facts: { ...green, after: 'changed' },
      expect: { code: 'PRODUCTION_CHANGED', findings: ['unit PRODUCTION_CHANGED'] },
    },
    {
      name: 'a judged server that is gone afterwards',
      facts: { ...green, after: 'unreadable' },
      expect: { code: 'PRODUCTION_LOST', findings: ['unit PRODUCTION_LOST'] },
    },
    {
      name: 'ended at its deadline',
      stopped: { code: 'DEADLINE', observed: 'the suite was ended' },
      expect: { status: 'error', code: 'DEADLINE', class: 'dependency' },
    },
    {
      name: 'settings that cannot be read',
      stopped: { code: 'SUITES_UNREADABLE', observed: 'no JSON' },
      expect: { code: 'SUITES_UNREADABLE' },
    },
  ],
}

const counted = (...suites: JsonObject[]): { facts: HollowFacts } => ({ facts: { by: 'run', suites } })

export const hollowWorlds: Worlds<HollowFacts> = {
  passes: [
    { name: 'as many as before', ...counted({ suite: 'unit', tests: 20, base: 20 }) },
    { name: 'the first run', ...counted({ suite: 'unit', tests: 20 }) },
    ...attestedPasses<HollowFacts>({ by: 'run', suites: [] }),
  ],
  ignores: [
    { name: 'more than before', ...counted({ suite: 'unit', tests: 40, base: 20 }) },
    { name: 'one of twenty gone', ...counted({ suite: 'unit', tests: 19, base: 20 }) },
  ],
  fails: [
    ...attestedFails<HollowFacts>({ by: 'run', suites: [] }),
    {
      name: 'less than 95 of a hundred',
      ...counted({ suite: 'unit', tests: 94, base: 100 }, { suite: 'e2e', tests: 9, base: 9 }),
      expect: { code: 'HOLLOW', findings: ['unit HOLLOW'] },
    },
    {
      name: 'a suite without a count, in the first run',
      ...counted({ suite: 'unit', tests: 9 }, { suite: 'e2e', tests: 0 }),
      expect: { code: 'HOLLOW', findings: ['e2e HOLLOW'] },
    },
    {
      name: 'counts that cannot be read',
      stopped: { code: 'COUNTS_UNREADABLE', observed: 'preflight-gates.json' },
      expect: { code: 'COUNTS_UNREADABLE', class: 'config' },
    },
  ],
}
