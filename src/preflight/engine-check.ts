// A check of the engine itself, for the self-proof and the mutation run only: it is in no catalogue. Its worlds hold the
// way from an answer to a result: shapes, codes of stops, and judges that misbehave.
import { type Check, type CheckResult, failed, passed } from './check.ts'
import { engineWorlds } from './engine-worlds.ts'
import { ProbeStop, stopCodeOf } from './stops.ts'

export const engineCheck: Check = {
  id: 'selftest.engine',
  title: 'Answers become the results they mean',
  proves: 'Facts of another shape, stops, and judges that misbehave never become a pass.',
  evidence: 'The worlds of this check.',
  fix: 'Report it.',
  runbook: [],
  phase: 'static',
  severity: 'high',
  class: 'regression',
  requires: [],
  appliesWhen: { name: 'always', test: () => ({ holds: true, because: 'always' }) },
  deadlineMs: 1_000,
  effects: [],
  shape: {
    judge: 'string',
    text: 'string?',
    count: 'number?',
    flag: 'boolean?',
    list: 'strings?',
    things: 'objects?',
    thing: 'object?',
  },
  probe: () => Promise.reject(new ProbeStop('THREW', 'this check is judged in worlds only')),
  judge: ({ judge, text }) => behave(judge as string, text as string | undefined), // held to the shape above
  worlds: engineWorlds,
}

/** A judge as its worlds want it. */
function behave(how: string, text: string | undefined): CheckResult {
  switch (how) {
    case 'passes':
      return passed()
    case 'fails':
      return failed('WRONG', 'it', '', '')
    case 'throws':
      throw new TypeError('as its world wants it')
    case 'names-the-code': {
      const code = stopCodeOf(text === undefined ? 'no error' : Object.assign(new Error(''), { code: text }))
      return code === undefined ? passed() : failed(code, 'it', '', '')
    }
    case 'names-the-stop': {
      const { name, stopped } = new ProbeStop('CODE', 'observed', text)
      return failed([name, ...Object.keys(stopped)].join('-'), 'it', '', '')
    }
    default:
      // What no judge of ours returns, and what types would not let it.
      return JSON.parse(how) as CheckResult
  }
}
