// The gate of the servers takes the same exceptions as the preflight, and asks nothing but rules.
import { describe, expect, it } from 'vitest'
import type { Environment } from '../../../src/config/resolution.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { subjectOf } from '../../../src/preflight/exceptions.ts'
import { createRuleContext } from '../../../src/rules/context.ts'
import { formatGate, gate, type GateResult } from '../../../src/rules/gate.ts'
import { failIfAny, type Finding, type Rule } from '../../../src/rules/rule.ts'
import { rules } from '../../../src/rules/rules.ts'
import { bindOf, dayMs } from '../../../src/waivers/judge-waivers.ts'
import type { Waiver } from '../../../src/waivers/waiver.ts'
import { productionEnvironment } from '../../support/environments.ts'
import { dualStackOff, fileOf, instant, policy, signed, waiverOf } from '../../support/waivers.ts'

const now = Date.UTC(2026, 10, 25, 12)
const machine = { localAddresses: ['127.0.0.1'] }
const noDualStack = { ...productionEnvironment, ARQONBUS_REQUIRE_DUAL_DATA_STACK: 'false' }

function judge(
  waivers: readonly Waiver[],
  env: Environment = noDualStack,
  program: 'bus' | 'shield' = 'bus',
): GateResult {
  return gate(program, createRuleContext(env, machine), { waivers, policy, now })
}
const idsOf = ({ findings }: GateResult): string[] => findings.map(({ rule }) => rule.id)

describe('the gate', () => {
  it('lets a valid exception through, and says which it was', () => {
    const waiver = signed(waiverOf(now))
    const result = judge([waiver])
    expect(result.findings).toEqual([])
    expect(result.excused.map(({ rule, waiver: { id } }) => [rule.id, id])).toEqual([
      ['bus.dual-stack-required', waiver.id],
    ])
  })

  it('refuses without waivers as it did', () => {
    const result = gate('bus', createRuleContext(noDualStack, machine))
    expect(idsOf(result)).toEqual(['bus.dual-stack-required'])
    expect(result.excused).toEqual([])
  })

  it('is not asked to excuse what holds', () => {
    expect(judge([signed(waiverOf(now))], productionEnvironment)).toMatchObject({ findings: [], excused: [] })
  })

  it.each([
    [
      'expired',
      signed(waiverOf(now, { expires: instant(now - 2 * dayMs), requested: instant(now - 3 * dayMs) })),
      'waiver EX-2026-014 refused: expired 2 d ago (EXPIRED)',
    ],
    ['bound to another failure', signed(waiverOf(now, { bind: `sha256:${'0'.repeat(64)}` })), '(WRONG_BIND)'],
    ['approved by its owner', signed(waiverOf(now, { owner: 'r.patel' })), 'r.patel is its owner (SELF_APPROVED)'],
    ['for another site', signed(waiverOf(now, { scope: { profile: 'prod', site: 'akl-2' } })), '(WRONG_SITE)'],
    [
      'that counts on a service',
      signed(waiverOf(now, { compensating: ['dep.postgres.writable'] })),
      'is no start-up rule, and a start can ask no other check (COMPENSATING_FAILED)',
    ],
  ])('refuses one %s, and says why', (_name, waiver, expected) => {
    const result = judge([waiver])
    expect(idsOf(result)).toEqual(['bus.dual-stack-required'])
    expect(formatGate(result)).toContain(expected)
  })

  it('asks the rules that have to make up for it', () => {
    const waiver = signed(waiverOf(now, { compensating: ['bus.auth-enabled', 'shield.schema-strict'] }))
    expect(judge([waiver]).findings).toEqual([])
    expect(idsOf(judge([waiver], { ...noDualStack, ARQONBUS_ENABLE_AUTH: 'false' }))).toContain(
      'bus.dual-stack-required',
    )
    expect(idsOf(judge([waiver], { ...noDualStack, ARQON_SCHEMA_STRICT: 'false' }))).toEqual([
      'bus.dual-stack-required',
    ])
  })

  it('does not take a rule that does not apply for one that holds', () => {
    const waiver = signed(waiverOf(now, { compensating: ['shield.jwt-secret-strong'] }))
    expect(judge([waiver]).findings).toEqual([])
    const { JWT_SECRET: _, ...keyPair } = noDualStack
    const env = { ...keyPair, ARQONBUS_AUTH_JWT_ALGORITHM: 'EdDSA', ARQONBUS_AUTH_JWT_KEY_FILE: '/nowhere' }
    expect(formatGate(judge([waiver], env))).toContain(
      'shield.jwt-secret-strong, which has to make up for it, does not apply',
    )
  })

  it('asks for both addresses whatever is excused: L63 is no part of the exception', () => {
    for (const [name, id] of [
      ['ARQONBUS_VALKEY_URL', 'bus.valkey-url-configured'],
      ['ARQONBUS_POSTGRES_URL', 'bus.postgres-url-configured'],
    ] as const) {
      const { [name]: _, ...env } = noDualStack
      const bound = {
        class: 'config',
        status: 'fail',
        severity: 'blocker',
        findings: [{ code: 'NOT_SET', variable: name }],
      } as const
      const forced = signed(waiverOf(now, { id: 'EX-2', check: id, bind: bindOf({ ...bound, id }) }))
      const result = judge([signed(waiverOf(now)), forced], env)
      expect(idsOf(result)).toEqual([id])
      expect(formatGate(result)).toContain('those are never excused (BLOCKER)')
    }
  })

  it('takes a waiver of what both programs get wrong for the part that one has', async () => {
    const env = { ...productionEnvironment, ARQONBUS_LIMIT_MAX_JOINS: 'x', SHIELD_LIMIT_MAX_JOINS: 'x' }
    const { canonical } = await runPreflight({ env, profile: 'prod', only: ['meta.config-valid'] }, machine)
    const subject = subjectOf(canonical.results.find(({ id }) => id === 'meta.config-valid')!)!
    expect(subject.findings).toHaveLength(2)
    const waiver = signed(waiverOf(now, { check: subject.id, bind: bindOf(subject) }), ['s.kim'])
    for (const program of ['bus', 'shield'] as const) {
      expect(gate(program, createRuleContext(env, machine)).findings, program).toHaveLength(1)
    }
    expect(judge([waiver], env, 'bus').findings).toEqual([])
    expect(judge([waiver], env, 'shield').findings).toEqual([])
    expect(idsOf(judge([waiver], { ...env, ARQONBUS_LIMIT_MAX_LEAVE: '1' }, 'bus'))).toContain('meta.config-valid')
  })

  it('takes none for what only one program gets wrong, and the preflight did not see', () => {
    const finding = (code: string): Finding => ({ code, variable: 'X', found: 'x', fix: 'x' })
    const rule: Rule = {
      ...rules.find(({ id }) => id === dualStackOff.id)!,
      judge: ({ programs }) =>
        failIfAny([finding('BOTH'), ...(programs.length === 1 ? [finding('ONE')] : [finding('OTHER')])], ''),
    }
    const seen = [finding('BOTH'), finding('OTHER')]
    const waiver = signed(waiverOf(now, { bind: bindOf({ ...dualStackOff, findings: seen }) }))
    const result = gate('bus', createRuleContext(noDualStack, machine), { waivers: [waiver], policy, now }, [rule])
    expect(result.findings.map(({ code }) => code)).toEqual(['BOTH', 'ONE'])
  })

  it('is bound to the same failure as the preflight', async () => {
    const { canonical } = await runPreflight({ env: noDualStack, profile: 'prod', waivers: fileOf() }, machine)
    const result = canonical.results.find(({ id }) => id === dualStackOff.id)!
    expect(bindOf(subjectOf(result)!)).toBe(bindOf(dualStackOff))
  })
})
