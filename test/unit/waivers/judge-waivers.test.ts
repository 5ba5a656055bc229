// When a waiver holds, and that nothing of it can be changed: the failure, the clock, the scope, a signature, a word.
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalJson } from '../../../src/base/canonical-json.ts'
import {
  applyWaiver,
  bindOf,
  type CompensatingFault,
  dayMs,
  type Grounds,
  type RefusalReason,
  type Subject,
} from '../../../src/waivers/judge-waivers.ts'
import { approve, keyTextOf } from '../../../src/waivers/sign.ts'
import type { Waiver } from '../../../src/waivers/waiver.ts'
import { approvers, dualStackOff, instant, policy, signed, waiverOf } from '../../support/waivers.ts'

const now = Date.UTC(2026, 10, 25, 12)
const grounds = (waiver: Waiver, changes: Partial<Grounds> = {}): Grounds => ({
  waivers: [waiver],
  policy,
  profile: 'prod',
  now,
  ...changes,
})
type Outcome = 'waived' | RefusalReason | 'nobody asked'
function outcome(
  waiver: Waiver,
  changes: Partial<Grounds> = {},
  subject: Subject = dualStackOff,
  compensating?: CompensatingFault,
): Outcome {
  const judgement = applyWaiver(subject, grounds(waiver, changes), compensating)
  return judgement.status === 'waived' ? 'waived' : (judgement.refusals[0]?.reason ?? 'nobody asked')
}

const high: Subject = { ...dualStackOff, id: 'bus.auth-enabled', severity: 'high' }
const highWaiver = (changes: Partial<Waiver> = {}): Waiver =>
  waiverOf(now, { check: high.id, bind: bindOf(high), ...changes })

describe('a waiver', () => {
  const good = signed(waiverOf(now))

  it('holds with two approvers for what the runbook lets be excused', () => {
    expect(outcome(good)).toBe('waived')
  })

  it('holds with one approver for a high check', () => {
    expect(outcome(signed(highWaiver(), ['s.kim']), {}, high)).toBe('waived')
    expect(outcome(highWaiver(), {}, high)).toBe('NOT_ENOUGH_APPROVALS')
  })

  it('is nothing to another check', () => {
    expect(outcome(good, {}, high)).toBe('nobody asked')
  })

  it('never excuses a blocker, and has nothing to excuse where a check is advisory', () => {
    const everything = { policy: { ...policy, waivable: [dualStackOff.id] } }
    expect(outcome(good, everything, { ...dualStackOff, severity: 'blocker' })).toBe('BLOCKER')
    expect(outcome(good, everything, { ...dualStackOff, severity: 'advisory' })).toBe('NOT_WAIVABLE')
  })

  it('excuses another critical check only where the policy says so', () => {
    const subject: Subject = { ...dualStackOff, id: 'bus.infra-protocol' }
    const waiver = signed(waiverOf(now, { check: subject.id, bind: bindOf(subject) }))
    expect(outcome(waiver, {}, subject)).toBe('NOT_WAIVABLE')
    expect(outcome(waiver, { policy: { ...policy, waivable: [subject.id] } }, subject)).toBe('waived')
  })

  it('holds from its request to the instant before its end', () => {
    const { requested, expires } = good
    expect(outcome(good, { now: Date.parse(expires) - 1 })).toBe('waived')
    expect(outcome(good, { now: Date.parse(expires) })).toBe('EXPIRED')
    expect(outcome(good, { now: Date.parse(requested) - 1 })).toBe('NOT_YET')
    // Approved an hour after the request.
    expect(outcome(good, { now: Date.parse(requested) + 3_599_999 })).toBe('NOT_YET')
    expect(outcome(good, { now: Date.parse(requested) + 3_600_000 })).toBe('waived')
  })

  it('does not begin before it was requested, whenever it was approved', () => {
    const later = waiverOf(now, { requested: instant(now + 1) })
    expect(outcome(signed(later, ['r.patel', 's.kim'], instant(now)))).toBe('NOT_YET')
    const today = waiverOf(now, { requested: instant(now) })
    expect(outcome(signed(today, ['r.patel', 's.kim'], instant(now)))).toBe('waived')
  })

  it('says how long ago it ended', () => {
    const said = (later: number): unknown => {
      const judgement = applyWaiver(dualStackOff, grounds(good, { now: Date.parse(good.expires) + later }))
      return judgement.status === 'refused' ? judgement.refusals[0]?.words : judgement.status
    }
    expect([0, 3_600_000, 2 * dayMs + 5].map(said)).toEqual(['expired 1 min ago', 'expired 1 h ago', 'expired 2 d ago'])
  })

  it.each([
    ['critical', 14, dualStackOff, {}],
    ['high', 30, high, { check: high.id, bind: bindOf(high) }],
  ] as const)('of a %s check holds for %i days at most', (_severity, days, subject, changes) => {
    const lasting = (ms: number): Waiver => signed(waiverOf(now, { ...changes, expires: instant(now - dayMs + ms) }))
    expect(outcome(lasting(days * dayMs), {}, subject)).toBe('waived')
    expect(outcome(lasting(days * dayMs + 1), {}, subject)).toBe('TOO_LONG')
  })

  it('is renewed once, with approvals newer than the request', () => {
    const renewal = (number: number): Waiver => waiverOf(now, { id: 'EX-2', renewal: { number, of: 'EX-2026-014' } })
    expect(outcome(signed(renewal(1)))).toBe('waived')
    expect(outcome(signed(renewal(2)))).toBe('TOO_MANY_RENEWALS')
    expect(outcome(signed(renewal(1), ['r.patel', 's.kim'], instant(now - dayMs - 1)))).toBe('NOT_ENOUGH_APPROVALS')
    expect(outcome({ ...renewal(1), approvals: good.approvals })).toBe('BAD_SIGNATURE')
  })

  it('is silent about what it renews', () => {
    const old = signed(waiverOf(now, { expires: instant(now - 1) }))
    const renewal = signed(waiverOf(now, { id: 'EX-2', renewal: { number: 1, of: old.id }, bind: bindOf(high) }))
    const judgement = applyWaiver(dualStackOff, { ...grounds(old), waivers: [old, renewal] })
    expect(judgement).toMatchObject({ status: 'refused', refusals: [{ waiver: 'EX-2', reason: 'WRONG_BIND' }] })
  })

  it('is passed over for another that holds', () => {
    const late = signed(waiverOf(now, { id: 'EX-0', expires: instant(now - 1) }))
    expect(applyWaiver(dualStackOff, { ...grounds(late), waivers: [late, good] })).toMatchObject({
      status: 'waived',
      waiver: good,
    })
  })

  it('belongs to one profile and one site', () => {
    expect(outcome(good, { profile: 'staging' })).toBe('WRONG_PROFILE')
    expect(outcome(good, { policy: { ...policy, site: 'akl-2' } })).toBe('WRONG_SITE')
    const { site: _, ...nowhere } = policy
    expect(outcome(good, { policy: nowhere })).toBe('WRONG_SITE')
    expect(outcome(signed(waiverOf(now, { scope: { profile: 'prod' } })))).toBe('WRONG_SITE')
    expect(outcome(signed(waiverOf(now, { scope: { profile: 'prod' } })), { policy: nowhere })).toBe('waived')
  })

  it('needs two people, neither its owner', () => {
    expect(outcome(signed(waiverOf(now), ['r.patel']))).toBe('NOT_ENOUGH_APPROVALS')
    expect(outcome(signed(waiverOf(now), ['r.patel', 'r.patel']))).toBe('NOT_ENOUGH_APPROVALS')
    for (const owner of ['s.kim', 'S.Kim', 's.kim@example.org', 's.kim+ops@example.org']) {
      expect(outcome(signed(waiverOf(now, { owner }))), owner).toBe('SELF_APPROVED')
    }
    // Two would be enough; the third still has to be in order.
    expect(outcome(signed(waiverOf(now, { owner: 't.moe' }), ['r.patel', 's.kim', 't.moe']))).toBe('SELF_APPROVED')
  })

  it('takes keys from the policy and never from the file', () => {
    const stranger = generateKeyPairSync('ed25519').privateKey
    const waiver = waiverOf(now)
    const at = instant(now - 1)
    const [first] = signed(waiver, ['r.patel']).approvals
    expect(outcome({ ...waiver, approvals: [first!, approve(waiver, 's.kim', at, stranger)] })).toBe('BAD_SIGNATURE')
    expect(outcome({ ...waiver, approvals: [first!, approve(waiver, 'x.new', at, stranger)] })).toBe('UNKNOWN_APPROVER')
    expect(outcome({ ...waiver, approvals: [first!, approve(waiver, 'constructor', at, stranger)] })).toBe(
      'UNKNOWN_APPROVER',
    )
    const masked = { ...approve(waiver, 's.kim', at, stranger), key: keyTextOf(approvers['s.kim']) }
    expect(outcome({ ...waiver, approvals: [first!, masked] })).toBe('BAD_SIGNATURE')
  })

  it('lapses when the failure changes', () => {
    const other = (changes: Partial<Subject>): Outcome => outcome(good, {}, { ...dualStackOff, ...changes })
    const [finding] = dualStackOff.findings
    expect(other({ findings: [{ ...finding!, code: 'NOT_A_BOOLEAN' }] })).toBe('WRONG_BIND')
    expect(other({ findings: [{ ...finding!, variable: 'OTHER' }] })).toBe('WRONG_BIND')
    expect(other({ findings: [finding!, { code: 'X', variable: 'Y' }] })).toBe('WRONG_BIND')
    expect(other({ findings: [] })).toBe('WRONG_BIND')
    expect(other({ class: 'dependency' })).toBe('WRONG_BIND')
    expect(other({ status: 'error' })).toBe('WRONG_BIND')
    expect(other({ facts: { replicas: 0 } })).toBe('WRONG_BIND')
  })

  it('lapses with each check that has to make up for it', () => {
    const waiver = signed(waiverOf(now, { compensating: ['dep.postgres.replication', 'bus.auth-enabled'] }))
    const failing =
      (name: string): CompensatingFault =>
      (id) =>
        id === name ? 'did not pass' : undefined
    expect(outcome(waiver, {}, dualStackOff, failing('none'))).toBe('waived')
    expect(outcome(waiver, {}, dualStackOff, failing('dep.postgres.replication'))).toBe('COMPENSATING_FAILED')
    expect(outcome(waiver, {}, dualStackOff, failing('bus.auth-enabled'))).toBe('COMPENSATING_FAILED')
  })
})

describe('whatever is changed in a signed waiver', () => {
  const good = signed(waiverOf(now, { compensating: ['bus.auth-enabled'] }))

  /** Each single value of it, with the path to it. */
  function leavesOf(value: unknown, path: readonly (string | number)[] = []): (readonly (string | number)[])[] {
    if (typeof value !== 'object' || value === null) return [path]
    return Object.entries(value).flatMap(([key, inner]) => leavesOf(inner, [...path, key]))
  }

  function changed(
    value: unknown,
    [key, ...rest]: readonly (string | number)[],
    next: (old: unknown) => unknown,
  ): unknown {
    if (key === undefined) return next(value)
    const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string, unknown>
    copy[key] = changed(copy[key], rest, next)
    return copy
  }

  const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=-:.@ '
  const edit = fc.record({
    at: fc.nat(200),
    letter: fc.constantFrom(...letters.split('')),
    how: fc.constantFrom('replace', 'insert', 'remove'),
  })
  const edited = (old: unknown, { at, letter, how }: { at: number; letter: string; how: string }): unknown => {
    if (typeof old === 'number') return old + 1 + at
    if (typeof old !== 'string') return letter
    const place = at % old.length
    const tail = old.slice(how === 'insert' ? place : place + 1)
    return old.slice(0, place) + (how === 'remove' ? '' : letter) + tail
  }

  it('in one place, it is refused', () => {
    expect(outcome(good)).toBe('waived')
    fc.assert(
      fc.property(fc.constantFrom(...leavesOf(good)), edit, (path, how) => {
        const next = changed(good, path, (old) => edited(old, how)) as Waiver
        fc.pre(JSON.stringify(next) !== JSON.stringify(good))
        expect(outcome(next)).not.toBe('waived')
      }),
      { numRuns: 1_000 },
    )
  })

  it('by a key more or less, it is refused', () => {
    const { site: _, ...nowhere } = policy
    expect(outcome({ ...good, scope: { profile: 'prod' } }, { policy: nowhere })).toBe('BAD_SIGNATURE')
    expect(outcome({ ...good, compensating: [] })).toBe('BAD_SIGNATURE')
    expect(outcome({ ...good, approvals: good.approvals.slice(1) })).toBe('NOT_ENOUGH_APPROVALS')
    expect(outcome({ ...good, note: 'x' } as unknown as Waiver)).toBe('BAD_SIGNATURE')
  })

  it('an instant by seconds, it is refused', () => {
    const later = (text: string): string => instant(Date.parse(text) + 1_000)
    const [first, second] = good.approvals
    expect(outcome({ ...good, expires: later(good.expires) })).toBe('BAD_SIGNATURE')
    expect(outcome({ ...good, requested: later(good.requested) })).toBe('BAD_SIGNATURE')
    expect(outcome({ ...good, approvals: [first!, { ...second!, at: later(second!.at) }] })).toBe('BAD_SIGNATURE')
  })

  it('what is signed is what the documentation says', () => {
    const { approvals, ...entry } = good
    for (const { by, at, sig } of approvals) {
      const text = canonicalJson({ at, by, schema: 'arqonbus/waivers/1', waiver: entry })
      const key = createPublicKey(approvers[by as keyof typeof approvers])
      expect(verify(null, Buffer.from(text, 'utf8'), key, Buffer.from(sig, 'base64'))).toBe(true)
    }
  })

  it('approvals of one waiver do not stand under another', () => {
    const other = waiverOf(now, { id: 'EX-2026-015', compensating: ['bus.auth-enabled'] })
    expect(outcome({ ...other, approvals: good.approvals })).toBe('BAD_SIGNATURE')
  })
})
