// The lane of the projector at the bus (L57): an event that Shield takes is in the tables, and counts once.
import type { Finding } from '../../rules/rule.ts'
import { type Applicability, type Check, type CheckResult, defineCheck, type FactsOf, judgeAll } from '../check.ts'
import { followEvent, projectionShape } from './projection.ts'
import { projectionWorlds } from './projection-worlds.ts'

/** The bus follows its history; without one it projects what it is commanded to, and nothing that is published. */
export const followsEvents = (given: Applicability): Applicability => ({
  name: `projector-and-history-and-${given.name}`,
  test(ports) {
    const { projectorEnabled, enablePersistence } = ports.ctx.resolution.values
    if (!projectorEnabled) return { holds: false, because: 'ARQONBUS_PROJECTOR_ENABLED=false' }
    if (!enablePersistence) return { holds: false, because: 'ARQONBUS_ENABLE_PERSISTENCE=false' }
    return given.test(ports)
  },
})

const fix = 'see component projector of /ready at the bus, `arqonbus projector dlq list`, and docs/projector.md'

function judge(facts: FactsOf<typeof projectionShape>): CheckResult {
  const { isProjected, isFollowed, copies, isSame, shown, deadLetters, mayClear, left } = facts
  const findings: Finding[] = []
  const add = (code: string, found: string): void => void findings.push({ code, variable: 'projector', found, fix })
  if (!isProjected) add('NOT_PROJECTED', 'an event that Shield took was in no row within 4 s')
  else if (!isFollowed) add('STOPPED', 'after an event that came twice the next one was in no row within 4 s')
  else {
    if (copies !== 1) add('WRONG_COUNT', `an event that came twice is there ${copies} times`)
    if (!isSame) add('CHANGED', 'the log holds another event than the one that was sent')
    if (shown !== 'last') add('NOT_NEWEST', `the episode shows ${shown === 'none' ? 'nothing' : `the ${shown} event`}`)
  }
  if (deadLetters > 0) add('SET_ASIDE', `${deadLetters} dead letters were made of good events`)
  if (left > 0) add('LEFT_BEHIND', `${left} rows of the probe are there after they were deleted`)
  const rest = mayClear ? 'cleared away' : 'left as a deleted episode, since its user may delete no events'
  return judgeAll(findings, `projected once, newest shown; ${rest}`)
}

export const projectionCheck = (appliesWhen: Applicability, retryOn: readonly string[]): Check =>
  defineCheck({
    id: 'live.shield-event-projected',
    title: 'An event that Shield takes is in the tables of the projector, once',
    proves:
      'An episode event sent through Shield into the channel that the bus follows is a row of the event log, unchanged, and once although it came twice; the newest event of its episode is what the projection shows, and none became a dead letter.',
    evidence: 'Rows of the two tables, read from Postgres itself once a later event of the same channel was there.',
    fix: 'Look at the projector of the bus (docs/projector.md): its component of /ready, and the dead letters.',
    runbook: ['L57'],
    phase: 'live',
    severity: 'critical',
    class: 'regression',
    // Without its tables, which is a blocker, nothing is sent.
    requires: ['live.shield-accepts-valid-token'],
    appliesWhen: followsEvents(appliesWhen),
    deadlineMs: 15_000,
    resource: 'postgres',
    retryOn,
    effects: [
      { kind: 'net', what: 'opens 1 connection to Shield and 1 to Postgres' },
      {
        kind: 'write',
        what: 'publishes 3 messages in the room of the projector, of a reserved tenant; their rows are deleted where the user may, else 2 are left',
      },
    ],
    shape: projectionShape,
    probe: followEvent,
    judge,
    worlds: projectionWorlds,
  })
