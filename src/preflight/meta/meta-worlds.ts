// Worlds of the checks of the preflight itself.
import type { Worlds } from '../check.ts'
import { runbookDigest } from '../runbook-coverage.ts'

const read = {
  digest: runbookDigest,
  orphans: [] as string[],
  strangers: [] as string[],
  stale: [] as string[],
  faults: [] as string[],
}

export const runbookWorlds: Worlds<typeof read> = {
  passes: [{ name: 'the runbook as it is', facts: read }],
  fails: [
    {
      name: 'one letter of it is another',
      facts: { ...read, digest: `0${runbookDigest.slice(1)}` },
      expect: { code: 'RUNBOOK_CHANGED', findings: ['runbook RUNBOOK_CHANGED'] },
    },
    {
      name: 'a line without a check',
      facts: { ...read, orphans: ['L19'] },
      expect: { code: 'LINE_WITHOUT_CHECK', findings: ['runbook LINE_WITHOUT_CHECK'] },
    },
    {
      name: 'a check for a line that is none',
      facts: { ...read, strangers: ['bus.x at L2'] },
      expect: { code: 'NO_SUCH_LINE', findings: ['runbook NO_SUCH_LINE'] },
    },
    {
      name: 'an excuse that is over',
      facts: { ...read, stale: ['L65'] },
      expect: { code: 'REASON_IS_OVER', findings: ['runbook REASON_IS_OVER'] },
    },
    {
      name: 'a heading nobody knows',
      facts: { ...read, faults: ['L9: no heading of the runbook is called Extras'] },
      expect: { code: 'RUNBOOK_UNREADABLE', findings: ['runbook RUNBOOK_UNREADABLE'] },
    },
    {
      name: 'no runbook',
      stopped: { code: 'RUNBOOK_MISSING', observed: 'ENOENT', step: 'read' },
      expect: { code: 'RUNBOOK_MISSING' },
    },
  ],
  ignores: [{ name: 'staging', env: { ARQONBUS_ENVIRONMENT: 'staging' }, facts: read }],
}

interface Dates {
  readonly updated?: string
  readonly named: readonly string[]
  readonly touched?: string
}

const dated: Dates = { updated: '2026-02-19', named: ['2026-02-18'], touched: '2026-02-18' }

export const datedWorlds: Worlds<Dates> = {
  passes: [
    { name: 'later than all it names', facts: dated },
    {
      name: 'of the day of what it names, of its commit, and of today',
      facts: { updated: '2026-02-19', named: ['2026-02-19'], touched: '2026-02-19' },
      now: '2026-02-19T00:00:00Z',
    },
  ],
  fails: [
    { name: 'no date', facts: { named: [] }, expect: { code: 'NO_DATE', findings: ['runbook NO_DATE'] } },
    {
      name: 'words for a date',
      facts: { ...dated, updated: 'last week' },
      expect: { code: 'NOT_A_DATE', findings: ['runbook NOT_A_DATE'] },
    },
    { name: 'a day there never was', facts: { ...dated, updated: '2026-02-30' }, expect: { code: 'NOT_A_DATE' } },
    {
      name: 'it names a migration of the day after',
      facts: { ...dated, named: ['2026-02-18', '2026-02-20'] },
      expect: { code: 'OLDER_THAN_NAMED', findings: ['runbook OLDER_THAN_NAMED'] },
    },
    {
      name: 'changed the day after',
      facts: { ...dated, touched: '2026-02-20' },
      expect: { code: 'OLDER_THAN_COMMIT', findings: ['runbook OLDER_THAN_COMMIT'] },
    },
    {
      name: 'the day has not come',
      facts: dated,
      now: '2026-02-18T23:59:59Z',
      expect: { code: 'IN_FUTURE', findings: ['runbook IN_FUTURE'] },
    },
    {
      name: 'no runbook',
      stopped: { code: 'RUNBOOK_MISSING', observed: 'ENOENT', step: 'read' },
      expect: { code: 'RUNBOOK_MISSING', class: 'regression' },
    },
  ],
  ignores: [{ name: 'no repository, and no file with a date', facts: { updated: '2026-02-19', named: [] } }],
}

interface SourceFacts {
  readonly source: string
  readonly isGiven: boolean
  readonly drift: readonly string[]
  readonly hidden: readonly string[]
}

const unit: SourceFacts = { source: 'systemd:arqonbus.service', isGiven: true, drift: [], hidden: [] }

export const sourceWorlds: Worlds<SourceFacts> = {
  passes: [
    { name: 'the unit that will start', facts: unit },
    { name: 'this shell, on request', facts: { ...unit, source: 'process' } },
  ],
  fails: [
    {
      name: 'this shell, and nobody said so',
      facts: { ...unit, source: 'process', isGiven: false },
      expect: { code: 'NOT_NAMED', findings: ['--env-from NOT_NAMED'] },
    },
  ],
  ignores: [
    {
      name: 'a shell with other values, and a drop-in over the unit',
      facts: {
        ...unit,
        drift: ['ARQONBUS_SERVER_PORT'],
        hidden: [
          'ARQONBUS_SERVER_PORT of /etc/systemd/system/arqonbus.service:7 by /etc/systemd/system/arqonbus.service.d/1.conf:2',
        ],
      },
    },
  ],
}

interface CatalogueFacts {
  readonly count: number
  readonly expected: string
  readonly actual: string
  readonly missing: readonly string[]
  readonly unexpected: readonly string[]
}

const complete: CatalogueFacts = { count: 2, expected: 'sha256:aa', actual: 'sha256:aa', missing: [], unexpected: [] }

export const catalogueWorlds: Worlds<CatalogueFacts> = {
  passes: [{ name: 'as it was built', facts: complete }],
  fails: [
    {
      name: 'a part did not load',
      facts: { ...complete, count: 1, actual: 'sha256:bb', missing: ['dep.nats.connect'] },
      expect: { code: 'CHECK_MISSING', findings: ['catalogue CHECK_MISSING'] },
    },
    {
      name: 'one that the build does not have',
      facts: { ...complete, count: 3, actual: 'sha256:bb', unexpected: ['x.acme.one'] },
      expect: { code: 'CHECK_UNEXPECTED', findings: ['catalogue CHECK_UNEXPECTED'] },
    },
    {
      name: 'the same ids, one of them milder',
      facts: { ...complete, actual: 'sha256:bb' },
      expect: { code: 'CHECK_CHANGED', findings: ['catalogue CHECK_CHANGED'] },
    },
    {
      name: 'no manifest',
      stopped: { code: 'MANIFEST_MISSING', observed: 'ENOENT', step: 'read' },
      expect: { code: 'MANIFEST_MISSING' },
    },
  ],
  ignores: [{ name: 'development', env: { ARQONBUS_ENVIRONMENT: 'development' }, facts: complete }],
}

interface ProofFacts {
  readonly ledger: string
  readonly kills: number
  readonly faults: number
  readonly unproven: readonly string[]
}

const proven: ProofFacts = { ledger: 'sha256:aa', kills: 1, faults: 0, unproven: [] }

export const proofWorlds: Worlds<ProofFacts> = {
  passes: [{ name: 'all proven', facts: proven }],
  fails: [
    {
      name: 'a check that got a world wrong',
      facts: { ...proven, faults: 1, unproven: ['bus.no-defaults'] },
      expect: { code: 'UNPROVEN', findings: ['catalogue UNPROVEN'] },
    },
    { name: 'a world went wrong and nobody says whose', facts: { ...proven, faults: 1 }, expect: { code: 'UNPROVEN' } },
    { name: 'names without a count', facts: { ...proven, unproven: ['bus.x'] }, expect: { code: 'UNPROVEN' } },
    {
      name: 'an empty catalogue',
      facts: { ...proven, kills: 0 },
      expect: { code: 'NOTHING_PROVEN', findings: ['catalogue NOTHING_PROVEN'] },
    },
    {
      name: 'no end of it',
      stopped: { code: 'DEADLINE', observed: 'no answer within 5000 ms' },
      expect: { status: 'error', code: 'DEADLINE', class: 'dependency' },
    },
  ],
  ignores: [{ name: 'another ledger of the same catalogue', facts: { ...proven, ledger: 'sha256:bb', kills: 400 } }],
}

export const lockWorlds: Worlds<{ readonly isOurs: boolean }> = {
  passes: [{ name: 'taken', facts: { isOurs: true } }],
  fails: [
    {
      name: 'another run',
      stopped: { code: 'RUN_LOCKED', observed: 'held by run ab12, process 812, for 40 s', step: 'take' },
      expect: { code: 'RUN_LOCKED' },
    },
    {
      name: 'taken, and lost at once',
      facts: { isOurs: false },
      expect: { code: 'LOCK_LOST', findings: ['lock LOCK_LOST'] },
    },
    {
      name: 'a folder that takes no files',
      stopped: { code: 'LOCK_UNWRITABLE', observed: 'EACCES', step: 'take' },
      expect: { status: 'error', code: 'LOCK_UNWRITABLE' },
    },
  ],
  ignores: [{ name: 'staging', env: { ARQONBUS_ENVIRONMENT: 'staging' }, facts: { isOurs: true } }],
}
