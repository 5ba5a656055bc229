// The engine: deadlines, crashes, dependencies, order, determinism. Its checks are made up; nothing is mocked.
import { describe, expect, it } from 'vitest'
import { canonicalJson, digestOf } from '../../../src/base/canonical-json.ts'
import { systemClock } from '../../../src/base/clock.ts'
import type { JsonObject } from '../../../src/base/json.ts'
import type { Check, CheckPorts, CheckResult } from '../../../src/preflight/check.ts'
import { healthyEnvironment } from '../../../src/preflight/healthy-world.ts'
import { planPreflight } from '../../../src/preflight/plan.ts'
import type { Report, Result } from '../../../src/preflight/report.ts'
import { checkPortsOf } from '../../../src/preflight/ports.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { exitCodeOf } from '../../../src/preflight/verdict.ts'
import { defaultPreflightPolicy } from '../../../src/waivers/preflight-policy.ts'

const passed: CheckResult = { status: 'pass' }

type Run = (ports: CheckPorts, signal: AbortSignal) => unknown

/** Its probe comes back with the result itself. */
function check(id: string, { run = () => passed, ...fields }: Partial<Check> & { readonly run?: Run } = {}): Check {
  return {
    id,
    title: id,
    proves: id,
    evidence: id,
    fix: id,
    runbook: [],
    phase: 'static',
    severity: 'high',
    class: 'config',
    requires: [],
    appliesWhen: { name: 'always', test: () => ({ holds: true, because: 'always' }) },
    deadlineMs: 1_000,
    effects: [],
    shape: { result: 'object?' },
    probe: async (ports, signal) => ({ result: (await run(ports, signal)) as JsonObject }),
    judge: ({ result }) => result as unknown as CheckResult,
    worlds: { passes: [], fails: [], ignores: [] },
    ...fields,
  }
}

const live = check('live.proof', { phase: 'live' })
const run = (checks: readonly Check[], inputs: object = {}): Promise<Report> =>
  runPreflight({ env: {}, ...inputs }, { catalogue: checks, localAddresses: [], node: '24.0.0' })

const resultOf = ({ canonical }: Report, id: string): Result => canonical.results.find((result) => result.id === id)!

describe('a run', () => {
  it('is GO when static and live proved something', async () => {
    const report = await run([check('a.one'), live])
    expect(report.canonical.verdict).toBe('GO')
    expect(exitCodeOf(report.canonical)).toBe(0)
  })

  it.each([
    [
      'throws',
      () => {
        throw new Error('boom')
      },
      'THREW',
    ],
    ['rejects', () => Promise.reject(new TypeError('boom')), 'THREW'],
    ['returns nothing', () => undefined, 'NO_ANSWER'],
    ['returns a failure without a finding', () => ({ status: 'fail', findings: [] }), 'NO_ANSWER'],
    ['returns an unknown status', () => ({ status: 'fine' }), 'NO_ANSWER'],
    ['hangs and ignores the signal', () => new Promise(() => {}), 'DEADLINE'],
    [
      'hangs until the signal and then throws',
      (_: unknown, signal: AbortSignal) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('stopped')))),
      'DEADLINE',
    ],
  ])('makes an error of a check that %s, and goes on', async (_name, broken, code) => {
    const bad = check('a.bad', { deadlineMs: 50, run: broken as Run })
    const report = await run([bad, check('b.good'), live])
    expect(resultOf(report, 'a.bad')).toMatchObject({ status: 'error', code })
    expect(resultOf(report, 'b.good').status).toBe('pass')
    expect(report.canonical.verdict).toBe('NO-GO')
    expect(exitCodeOf(report.canonical)).toBe(22)
  })

  it('stops a check at its deadline by its signal', async () => {
    let reason: unknown
    const slow = check('a.slow', {
      deadlineMs: 20,
      run: (_ports, signal) =>
        new Promise((resolve) =>
          signal.addEventListener('abort', () => {
            reason = signal.aborted
            resolve(passed)
          }),
        ),
    })
    const report = await run([slow])
    expect(reason).toBe(true)
    expect(resultOf(report, 'a.slow')).toMatchObject({ status: 'error', code: 'DEADLINE' })
  })

  it('runs a lane one by one, each timed from its turn, and keeps no slot from others meanwhile', async () => {
    const lane = 'one at a time'
    const { promise: others, resolve: proceed } = Promise.withResolvers<void>()
    const order: string[] = []
    let now = 0
    const first = async (): Promise<CheckResult> => {
      order.push('a begins')
      await others // with a slot kept by the one that waits, this would not come
      now += 900
      order.push('a ends')
      return passed
    }
    const second = (): CheckResult => {
      order.push('b')
      return passed
    }
    const report = await runPreflight(
      { env: {}, jobs: 2 },
      {
        catalogue: [
          check('a.first', { lane, run: first }),
          check('b.second', { lane, run: second }),
          check('c.other', {
            run: () => {
              proceed()
              return passed
            },
          }),
        ],
        clock: { ...systemClock, monotonic: () => now },
        localAddresses: [],
      },
    )
    expect(order).toEqual(['a begins', 'a ends', 'b'])
    const { results } = report.observations
    expect([results['a.first']?.ms, results['b.second']?.ms]).toEqual([900, 0])
  })

  it('tells each check of a phase why its system did not start, and ends what was prepared', async () => {
    let ends = 0
    const looks: string[] = []
    const own = (id: string, phase: Check['phase']): Check =>
      check(id, {
        phase,
        run: () => {
          looks.push(id)
          return passed
        },
      })
    const report = await runPreflight(
      { env: {} },
      {
        catalogue: [own('a.one', 'static'), own('live.one', 'live'), own('live.two', 'live')],
        localAddresses: [],
        onPhase: (phase) =>
          Promise.resolve(
            phase === 'live' ? { trouble: 'it fell over', end: () => Promise.resolve(void ends++) } : undefined,
          ),
      },
    )
    expect(looks).toEqual(['a.one'])
    for (const id of ['live.one', 'live.two']) {
      expect(resultOf(report, id)).toMatchObject({ status: 'error', code: 'NO_CANDIDATE' })
      expect(report.observations.results[id]?.observed).toBe('start: it fell over')
    }
    expect(ends).toBe(1)
    expect(report.canonical.verdict).toBe('NO-GO')
  })

  it('blocks what requires a check that did not pass, down the chain, and names the one cause', async () => {
    const failing = check('a.first', {
      run: () => ({ status: 'fail', findings: [{ code: 'X', variable: 'V', found: 'f', fix: 'x' }] }),
    })
    const ran: string[] = []
    const second = check('a.second', {
      requires: ['a.first'],
      run: () => {
        ran.push('second')
        return passed
      },
    })
    const third = check('a.third', {
      requires: ['a.second'],
      run: () => {
        ran.push('third')
        return passed
      },
    })
    const report = await run([third, second, failing])
    expect(ran).toEqual([])
    expect(resultOf(report, 'a.second')).toMatchObject({
      status: 'skip',
      reason: { kind: 'blocked-by', id: 'a.first' },
    })
    expect(resultOf(report, 'a.third')).toMatchObject({ reason: { kind: 'blocked-by', id: 'a.first' } })
    expect(resultOf(report, 'a.first').blocks).toEqual(['a.second', 'a.third'])
    expect(report.canonical.rootCauses).toEqual(['a.first'])
  })

  it('does not speak to a system after a blocker, unless told to go on', async () => {
    const blocker = check('a.blocker', {
      severity: 'blocker',
      run: () => ({ status: 'error', code: 'X', observed: '' }),
    })
    expect(resultOf(await run([blocker, live]), 'live.proof')).toMatchObject({
      reason: { kind: 'blocked-by', id: 'a.blocker' },
    })
    expect(resultOf(await run([blocker, live], { keepGoing: true }), 'live.proof').status).toBe('pass')
  })

  it('says INCONCLUSIVE for production, naming the phases without checks', async () => {
    const report = await run([check('a.one'), live], { profile: 'prod' })
    expect(report.canonical.verdict).toBe('INCONCLUSIVE')
    expect(report.canonical.unproven).toEqual([
      'phase deps proved nothing',
      'phase gates proved nothing',
      'phase boot proved nothing',
    ])
    expect(exitCodeOf(report.canonical)).toBe(30)
  })

  it('says INCONCLUSIVE for an empty catalogue, and for checks left out by hand', async () => {
    expect((await run([])).canonical.verdict).toBe('INCONCLUSIVE')
    const report = await run([check('a.one'), check('a.two'), live], { skip: ['a.two'] })
    expect(report.canonical.verdict).toBe('INCONCLUSIVE')
    expect(report.canonical.unproven).toEqual(['1 check was not run'])
  })

  it('answers a wrong call with exit code 64, a broken catalogue with 70', async () => {
    const wrongCall = await run([live], { only: ['no.such'] })
    expect(wrongCall.canonical.fault).toEqual({ kind: 'usage', code: 'UNKNOWN_CHECK' })
    expect(exitCodeOf(wrongCall.canonical)).toBe(64)
    const circle = [check('a.one', { requires: ['a.two'] }), check('a.two', { requires: ['a.one'] })]
    for (const broken of [circle, [check('a.one'), check('a.one')], [check('a.one', { requires: ['a.lost'] })]]) {
      const report = await run(broken)
      expect(report.canonical).toMatchObject({
        verdict: 'INCONCLUSIVE',
        fault: { kind: 'internal', code: 'BAD_CATALOGUE' },
      })
      expect(exitCodeOf(report.canonical)).toBe(70)
    }
  })

  it('gives one digest whatever ends first, however many run at once, whenever it runs', async () => {
    const digests = new Set<string>()
    const orders = new Set<string>()
    for (let round = 0; round < 20; round++) {
      const order: string[] = []
      const turns = (count: number): Promise<CheckResult> =>
        Array.from({ length: count })
          .reduce<Promise<unknown>>((done) => done.then(() => new Promise(setImmediate)), Promise.resolve())
          .then(() => passed)
      const checks = Array.from({ length: 8 }, (_, index) =>
        check(`c.check-${index}`, {
          ...(index === 5 && { requires: ['c.check-1'] }),
          run: async () => {
            const result = await turns((index * 7 + round * 3) % 5)
            order.push(String(index))
            return { ...result, observed: `round ${round}` }
          },
        }),
      )
      const report = await run(round % 2 === 0 ? checks : checks.toReversed(), { jobs: 1 + (round % 8) })
      digests.add(report.digest)
      orders.add(order.join(''))
      expect(report.digest).toBe(digestOf(report.canonical))
    }
    expect(digests.size).toBe(1)
    expect(orders.size).toBeGreaterThan(1)
  })

  it('tells of its progress', async () => {
    const lines: string[] = []
    await runPreflight(
      { env: {} },
      {
        catalogue: [check('a.one'), live],
        localAddresses: [],
        progress: { write: ({ id, status, planned }) => lines.push(`${status} ${id} ${planned}`) },
      },
    )
    expect(lines).toEqual(['pass a.one 2', 'pass live.proof 2'])
  })

  it('keeps control characters of servers out of the report', async () => {
    const rude = check('a.rude', {
      run: () => ({ status: 'error', code: 'X', observed: `\u001b[2J\r\n${'x'.repeat(2_000)}` }),
    })
    const { observations } = await run([rude])
    expect(observations.results['a.rude']?.observed).toMatch(/^ \[2J {2}x+…$/)
    expect(observations.results['a.rude']?.observed?.length).toBeLessThan(510)
  })
})

describe('a plan', () => {
  const planOf = (catalogue: readonly Check[], selection = {}) =>
    planPreflight(catalogue, checkPortsOf({ env: {} }, { localAddresses: [] }), selection)

  it('orders by requirement, phase, category and id', () => {
    const catalogue = [
      live,
      check('b.one'),
      check('a.two'),
      check('a.three', { requires: ['b.one'] }),
      check('d.one', { phase: 'deps' }),
    ]
    const ids = planOf(catalogue).checks.map((planned) => planned.check.id)
    expect(ids).toEqual(['a.two', 'b.one', 'a.three', 'd.one', 'live.proof'])
    expect(planOf(catalogue.toReversed()).checks.map((planned) => planned.check.id)).toEqual(ids)
  })

  it('takes a category for all its checks, and has another digest for another selection', () => {
    const catalogue = [check('a.one'), check('a.two'), check('b.one')]
    const plan = planOf(catalogue, { only: ['a.*'] })
    expect(plan.checks.map((planned) => planned.skip?.kind)).toEqual([undefined, undefined, 'not-selected'])
    expect(plan.digest).not.toBe(planOf(catalogue).digest)
  })

  it('refuses a requirement on a later phase', () => {
    expect(() => planOf([live, check('a.one', { requires: ['live.proof'] })])).toThrow(/circle|later/)
  })
})

describe('canonical JSON', () => {
  it('has one spelling for one value', () => {
    expect(canonicalJson({ b: 1, a: [true, null, 'ü\n'], c: undefined })).toBe('{"a":[true,null,"ü\\n"],"b":1}')
    expect(canonicalJson({ 10: 1, 9: 1, '\u20ac': 1, '\r': 1 })).toBe('{"\\r":1,"10":1,"9":1,"€":1}')
    expect(canonicalJson([1e21, 1e-7, -0, 333_333_333.333_333_3])).toBe('[1e+21,1e-7,0,333333333.3333333]')
  })

  it.each([[Number.NaN], ['\ud800'], [[undefined]], [() => 1]])('refuses what JSON cannot hold', (value) => {
    expect(() => canonicalJson(value)).toThrow(TypeError)
  })
})

describe('a run that somebody stops', () => {
  it('keeps what came before, waits for nothing, and says so', async () => {
    const stop = new AbortController()
    let isStopped = false
    const hanging = check('b.hangs', {
      deadlineMs: 60_000,
      run: (_ports, signal) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => {
            isStopped = true
            resolve(passed)
          })
          setImmediate(() => stop.abort()) // once the check before it has come to its end
        }),
    })
    const report = await runPreflight(
      { env: {}, jobs: 1 },
      {
        catalogue: [check('a.one'), hanging, check('c.never'), live],
        localAddresses: [],
        stop: stop.signal,
      },
    )
    expect(isStopped).toBe(true)
    expect(resultOf(report, 'a.one').status).toBe('pass')
    for (const id of ['b.hangs', 'c.never', 'live.proof']) {
      expect(resultOf(report, id)).toMatchObject({ reason: { kind: 'not-selected', because: 'interrupted' } })
    }
    expect(report.canonical).toMatchObject({ verdict: 'INCONCLUSIVE', fault: { kind: 'interrupted' } })
    expect(exitCodeOf(report.canonical)).toBe(130)
  })
})

describe('a policy that is hardened', () => {
  const judged = async (hardened: boolean): Promise<Report> =>
    runPreflight(
      {
        env: { ...healthyEnvironment, ARQONBUS_STORAGE_MODE: 'degraded' },
        policy: { ...defaultPreflightPolicy, hardened },
        only: ['bus.storage-mode-strict'],
      },
      { localAddresses: ['10.0.0.5'] },
    )

  it('stops at what the runbook only recommends, and is the same catalogue', async () => {
    const [advised, insisted] = [await judged(false), await judged(true)]
    const severityIn = (report: Report) => resultOf(report, 'bus.storage-mode-strict').severity
    expect([severityIn(advised), advised.canonical.verdict]).toEqual(['advisory', 'INCONCLUSIVE'])
    expect([severityIn(insisted), insisted.canonical.verdict]).toEqual(['high', 'NO-GO'])
    expect(insisted.canonical.rootCauses).toEqual(['bus.storage-mode-strict'])
    expect(insisted.canonical.catalogue).toBe(advised.canonical.catalogue)
  })
})
