// Every environment of the table, judged by the rules, by both gates, and by the preflight.
import { describe, expect, it } from 'vitest'
import { formatGate, gate } from '../../../src/rules/gate.ts'
import { createRuleContext } from '../../../src/rules/context.ts'
import { exitCodeOf } from '../../../src/preflight/verdict.ts'
import { liveChecks } from '../../../src/preflight/live/live-checks.ts'
import { runPreflight } from '../../../src/preflight/run.ts'
import { staticChecks } from '../../../src/preflight/static-checks.ts'
import {
  brokenEnvironments,
  type EnvironmentCase,
  everyEnvironment,
  healthyEnvironments,
  productionEnvironment,
} from '../../support/environments.ts'

const machine = {
  localAddresses: ['127.0.0.1', '10.0.0.5'],
  files: { mode: () => undefined, isReadable: () => false },
  // Only what the environment decides: other checks look at services and at this build.
  catalogue: [...staticChecks, ...liveChecks],
}

const byName = (cases: readonly EnvironmentCase[]): [string, EnvironmentCase][] =>
  cases.map((entry) => [`${entry.line ?? '-'} ${entry.name}`, entry])

async function judge({ env }: EnvironmentCase): Promise<{ findings: unknown[]; exitCode: number }> {
  const { canonical } = await runPreflight({ env, phases: ['static', 'live'] }, machine)
  const findings = canonical.results.flatMap((result) =>
    result.status === 'fail'
      ? result.findings.map(({ code, variable }) => ({
          id: result.id,
          code,
          variable,
          severity: result.severity,
          class: result.class,
        }))
      : [],
  )
  return { findings, exitCode: exitCodeOf(canonical) }
}

const sorted = (findings: readonly unknown[]): string[] => findings.map((finding) => JSON.stringify(finding)).sort()

const inOrder = ({ id, code, variable, severity, class: fault }: EnvironmentCase['findings'][number]): object => ({
  id,
  code,
  variable,
  severity,
  class: fault,
})

describe('the table of environments', () => {
  it('has at least forty broken and five healthy ones, each of another name', () => {
    expect(brokenEnvironments.length).toBeGreaterThanOrEqual(40)
    expect(healthyEnvironments.length).toBeGreaterThanOrEqual(5)
    expect(new Set(everyEnvironment.map(({ name }) => name)).size).toBe(everyEnvironment.length)
  })

  it('breaks every line of the checklists and every fail condition that needs no service', () => {
    const lines = new Set(brokenEnvironments.map(({ line }) => line))
    for (const line of [19, 20, 21, 22, 23, 24, 25, 26, 27, 31, 32, 33, 34, 61, 62, 63, 64]) {
      expect(lines).toContain(`L${line}`)
    }
  })
})

describe('the preflight', () => {
  it.each(byName(healthyEnvironments))('raises no false alarm: %s', async (_name, entry) => {
    const { findings, exitCode } = await judge(entry)
    expect(findings).toEqual([])
    expect(exitCode).toBe(30)
  })

  it.each(byName(brokenEnvironments))('finds exactly what is wrong: %s', async (_name, entry) => {
    const { findings, exitCode } = await judge(entry)
    expect(sorted(findings)).toEqual(sorted(entry.findings.map(inOrder)))
    expect(exitCode).toBe(entry.exitCode)
  })
})

describe('the gate of a server', () => {
  it.each(byName(everyEnvironment))('refuses exactly the programs it should: %s', (_name, entry) => {
    const ctx = createRuleContext(entry.env, machine)
    const refusing = (['bus', 'shield'] as const).filter((program) => gate(program, ctx).findings.length > 0)
    expect(refusing).toEqual(entry.refuses)
  })

  it.each(byName(everyEnvironment))('shows no secret: %s', (_name, { env }) => {
    const ctx = createRuleContext(env, machine)
    const text = formatGate(gate('bus', ctx)) + formatGate(gate('shield', ctx))
    const jwtSecret = env['JWT_SECRET']?.trim() ?? ''
    for (const secret of ['hunter-two', 'hunter/two', ...(jwtSecret === '' ? [] : [jwtSecret])]) {
      expect(text).not.toContain(secret)
    }
  })

  it('lists every problem in one block, each with variable, finding, fix, rule and line', () => {
    const ctx = createRuleContext({ ARQONBUS_ENVIRONMENT: 'production', JWT_SKIP_VALIDATION: '' }, machine)
    const text = formatGate(gate('shield', ctx))
    expect(text).toMatch(/^shield: start refused, 8 problems\n/)
    expect(text).toContain('JWT_SKIP_VALIDATION: present in the environment, value hidden')
    expect(text).toContain(
      '    fix   set ARQON_SCHEMA_STRICT=true\n    rule  shield.schema-strict NOT_SET, critical, runbook L34\n',
    )
  })

  it('never refuses for an advisory rule', () => {
    const entry = brokenEnvironments.find(({ name }) => name.startsWith('degraded storage'))!
    expect(gate('bus', createRuleContext(entry.env, machine)).findings).toEqual([])
  })
})

describe('a secret in a file', () => {
  const { JWT_SECRET, ...rest } = productionEnvironment
  const env = { ...rest, ARQONBUS_CONFIG_FILE: '/etc/arqonbus.env' }
  const codesAt = (mode: number): string[] => {
    const files = { mode: () => mode, isReadable: () => true }
    const ctx = createRuleContext(env, { ...machine, files, readFile: () => `JWT_SECRET=${JWT_SECRET}\n` })
    return gate('shield', ctx).findings.map(({ code, rule }) => `${rule.id} ${code}`)
  }

  it('is refused where others may read the file, and only there', () => {
    expect(codesAt(0o100644)).toEqual(['shield.jwt-secret-hygiene FILE_OPEN_TO_OTHERS'])
    expect(codesAt(0o100640)).toEqual(['shield.jwt-secret-hygiene FILE_OPEN_TO_OTHERS'])
    expect(codesAt(0o100600)).toEqual([])
    expect(codesAt(0o100400)).toEqual([])
  })
})

describe('secrets in a key file', () => {
  const env = { ...productionEnvironment, ARQONBUS_AUTH_JWT_KEY_FILE: '/etc/arqonbus.jwks' }
  const codesAt = (mode: number, more: object = {}): string[] => {
    const files = { mode: () => mode, isReadable: () => true }
    const ctx = createRuleContext({ ...env, ...more }, { ...machine, files })
    return gate('shield', ctx).findings.map(({ code, variable }) => `${variable} ${code}`)
  }

  it('are refused where others may read it; public keys are not', () => {
    expect(codesAt(0o100644)).toEqual(['ARQONBUS_AUTH_JWT_KEY_FILE FILE_OPEN_TO_OTHERS'])
    expect(codesAt(0o100600)).toEqual([])
    expect(codesAt(0o100644, { ARQONBUS_AUTH_JWT_ALGORITHM: 'RS256' })).toEqual([])
  })
})

describe('tokens signed with a key pair', () => {
  it('need no secret, but a key that can be read', () => {
    const { JWT_SECRET: _, ...rest } = productionEnvironment
    const env = { ...rest, ARQONBUS_AUTH_JWT_ALGORITHM: 'EdDSA', ARQONBUS_AUTH_JWT_KEY_FILE: '/etc/arqonbus.pem' }
    const idsWith = (isReadable: boolean): string[] => {
      const ctx = createRuleContext(env, { ...machine, files: { mode: () => 0o600, isReadable: () => isReadable } })
      return (['bus', 'shield'] as const).flatMap((program) => gate(program, ctx).findings.map(({ rule }) => rule.id))
    }
    expect(idsWith(true)).toEqual([])
    expect(idsWith(false)).toEqual(['meta.files-readable', 'meta.files-readable'])
  })
})
