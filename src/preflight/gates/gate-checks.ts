// The gates (runbook L41-L47, L65, L66): what the runbook runs by hand before a deploy - install, import, compile, every
// suite - run in empty folders and environments, and believed only with a machine's report. They take minutes and run
// with --gates only.
import { production } from '../../rules/predicates.ts'
import { type Applicability, type Check, type CheckHead, defineCheck } from '../check.ts'
import { hasSources, type Host, thisHost } from '../runtime/host.ts'
import { installShape, probeInstall, probeTypecheck, typecheckShape } from './clean-tree-probes.ts'
import { importMs, installMs, suiteIds, suiteMs, suiteNames, typecheckMs } from './gate-ids.ts'
import { hollowWorlds, suiteWorlds } from './suite-worlds.ts'
import { importWorlds, installWorlds, typecheckWorlds } from './tree-worlds.ts'
import { hollowShape, probeHollow } from './hollow-probes.ts'
import { importShape, probeImports } from './import-probes.ts'
import { isolationShape, probeIsolation } from './isolation-probes.ts'
import { judgeHollow, judgeIsolation, judgeSuite } from './suite-judges.ts'
import { probeSuite, suiteShape } from './suite-probes.ts'
import { judgeImports, judgeInstall, judgeTypecheck } from './tree-judges.ts'
import { isolationWorlds } from './isolation-worlds.ts'

const inProduction: Applicability = { name: production.name, test: ({ ctx }) => production.test(ctx) }

const common = {
  phase: 'gates',
  severity: 'blocker',
  class: 'regression',
  requires: [],
  appliesWhen: inProduction,
  lane: 'gates',
} as const satisfies Partial<CheckHead> & { lane: string }

interface SuiteWords {
  readonly title: string
  readonly runbook: readonly string[]
  /** A suite of which it is a part, and which would come later by its name. */
  readonly after?: string
}

const suiteWords: Readonly<Record<(typeof suiteNames)[number], SuiteWords>> = {
  unit: { title: 'The unit tests pass', runbook: ['L44', 'L66'] },
  regression: { title: 'The regression tests pass', runbook: ['L66'] },
  integration: { title: 'The integration tests pass', runbook: ['L44', 'L66'] },
  adversarial: { title: 'The adversarial tests pass', runbook: ['L66'] },
  e2e: { title: 'The end-to-end tests pass', runbook: ['L66'] },
  'projector-integration': { title: 'The integration tests of the projector pass', runbook: ['L45'] },
  'projector-e2e': { title: 'The end-to-end tests of the projector pass', runbook: ['L45'] },
  'shield-tests': { title: 'The tests of Shield pass', runbook: ['L47'], after: 'gate.unit' },
}

/** The gates of one package. */
export function createGateChecks(host: Host = thisHost): readonly Check[] {
  return [isolated(host), installClean(host), importClean(host), typecheck(host), ...suites(host), notHollow(host)]
}

const isolated = (host: Host): Check =>
  defineCheck({
    ...common,
    id: 'gate.isolated',
    title: 'No suite can reach the judged servers',
    proves:
      'The servers offered to suites are others than the judged ones, by what the servers say of themselves; and neither the environment of suites nor their sources name a judged one. An attestation, where one is given, holds.',
    evidence: 'Hashed identities: system identifier of Postgres, run_id of Valkey, server id of NATS.',
    fix: 'Give the suites servers of their own (ARQONBUS_TEST_*_URL), or none: they start some then.',
    runbook: ['L44', 'L45', 'L66'],
    class: 'config',
    deadlineMs: 15_000,
    effects: [
      { kind: 'net', what: 'a connection to each store and NATS server, judged and offered to suites; reads' },
      { kind: 'file', what: 'preflight.gates.json, the sources of suites, .env files' },
      { kind: 'spawn', what: 'git rev-parse, git status' },
    ],
    shape: isolationShape,
    probe: async (ports, signal) => await probeIsolation(host, ports, signal),
    judge: judgeIsolation,
    worlds: isolationWorlds,
  })

const installClean = (host: Host): Check =>
  defineCheck({
    ...common,
    id: 'gate.install-clean',
    title: 'The lockfile installs into an empty folder',
    proves: 'npm ci without development dependencies and without scripts ends well, and what is there is the lockfile.',
    evidence: 'What npm wrote, the packages that differ, the digest of the tree.',
    fix: 'Make package.json and package-lock.json agree; look at the registry.',
    runbook: ['L41', 'L65'],
    class: 'dependency',
    deadlineMs: installMs,
    effects: [{ kind: 'spawn', what: 'npm ci in an empty folder; asks the registry for what its cache lacks' }],
    shape: installShape,
    probe: async (ports, signal) => await probeInstall(host, ports, signal, installMs),
    judge: judgeInstall,
    worlds: installWorlds,
  })

const importClean = (host: Host): Check =>
  defineCheck({
    ...common,
    id: 'gate.import-clean',
    title: 'Everything that is imported is declared, in its place, and quiet',
    proves:
      'In the clean tree each dependency and each entry of the export map is imported, from its own package, without opening, keeping, writing or changing anything; no import is undeclared.',
    evidence: 'For each import: where it was found, how long it took, what it did.',
    fix: 'The finding names the package.',
    runbook: ['L41', 'L65'],
    requires: ['gate.install-clean'],
    deadlineMs: importMs,
    effects: [{ kind: 'spawn', what: 'one Node for each import, in the clean tree, with an empty environment' }],
    shape: importShape,
    probe: async (ports, signal) => await probeImports(host, ports, signal),
    judge: judgeImports,
    worlds: importWorlds,
  })

const typecheck = (host: Host): Check =>
  defineCheck({
    ...common,
    id: 'gate.typecheck',
    title: 'The types are sound',
    proves: 'The locked compiler finds nothing to say about tsconfig.json.',
    evidence: 'The number of diagnostics and the first.',
    fix: 'npx tsc -p tsconfig.json --noEmit',
    runbook: ['L46'],
    appliesWhen: {
      name: 'sources-here',
      test(ports) {
        const applies = inProduction.test(ports)
        if (!applies.holds || hasSources(host)) return applies
        return { holds: false, because: 'a build without sources: nothing is compiled here' }
      },
    },
    deadlineMs: typecheckMs,
    effects: [{ kind: 'spawn', what: 'tsc --noEmit' }],
    shape: typecheckShape,
    probe: async (ports, signal) => await probeTypecheck(host, ports, signal, typecheckMs),
    judge: judgeTypecheck,
    worlds: typecheckWorlds,
  })

const suites = (host: Host): Check[] =>
  suiteNames.map((name) => {
    const { title, runbook, after } = suiteWords[name]
    return defineCheck({
      ...common,
      id: `gate.${name}`,
      title,
      proves:
        'It ran in an environment made from nothing; its machine report is whole and shows tests, no failure and no skip that was not agreed on; no source says `.only`; the judged servers are afterwards what they were before.',
      evidence: 'Exit code, report, first failing test; its whole output in the incident bundle.',
      fix: 'Read the first failing test; run the suite alone.',
      runbook,
      requires: ['gate.isolated', ...(after === undefined ? [] : [after])],
      deadlineMs: suiteMs,
      effects: [{ kind: 'spawn', what: `the suite ${name} of preflight.gates.json, and the servers that it starts` }],
      shape: suiteShape,
      probe: probeSuite(host, name, suiteMs),
      judge: judgeSuite,
      worlds: suiteWorlds,
    })
  })

const notHollow = (host: Host): Check =>
  defineCheck({
    ...common,
    id: 'gate.not-hollow',
    title: 'No suite has lost its tests',
    proves:
      'Each suite ran at least 95 % of the most tests that it had when all were green; the first run is the base.',
    evidence: 'Both numbers for each suite.',
    fix: 'Bring the tests back, or take the suite out of preflight-gates.json.',
    runbook: ['L66'],
    severity: 'high',
    requires: suiteIds,
    deadlineMs: 5_000,
    effects: [{ kind: 'write', what: 'preflight-gates.json in ARQONBUS_DATA_DIR' }],
    shape: hollowShape,
    probe: async (ports, signal) => await probeHollow(host, ports, signal),
    judge: judgeHollow,
    worlds: hollowWorlds,
  })

export const gateChecks: readonly Check[] = createGateChecks()
