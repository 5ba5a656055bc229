// The boot proofs: their judges by worlds, what is read from standard error, and what a candidate is given.
import { describe, expect, it } from 'vitest'
import { bootChecks } from '../../../src/preflight/boot/boot-checks.ts'
import { candidateEnvironment } from '../../../src/preflight/boot/candidate.ts'
import { reasonsIn } from '../../../src/preflight/boot/refusal.ts'
import { proveCheck } from '../../../src/preflight/self-proof.ts'
import { createRuleContext } from '../../../src/rules/context.ts'
import { productionEnvironment } from '../../support/environments.ts'

describe.each(bootChecks.map((check) => [check.id, check] as const))('%s', (_id, check) => {
  it('passes and fails in the worlds where it has to', () => {
    expect(proveCheck(check).faults).toEqual([])
  })
})

it('reads rules, errors and stores from standard error, and nothing else', () => {
  const text = [
    'arqonbus: START_REFUSED: bus: start refused, 1 problem',
    '',
    '  JWT_SECRET: not set',
    '    fix   set JWT_SECRET',
    '    rule  shield.jwt-secret-present NOT_SET, blocker, runbook L31, L61',
    'the rule  shield.jwt-skip-absent PRESENT, is only mentioned here',
    '{"event":"store.open_failed","backend":"valkey"}',
    '{"event":"store.open_failed","backend":"valkey"}',
    '{"event":"other","backend":"postgres"}',
    'arqonbus: STORE_OPEN_FAILED (SCHEMA_MISSING): no tables',
    'OTHER (WORDS): of somebody else',
  ].join('\n')
  expect(reasonsIn(text)).toEqual([
    'START_REFUSED',
    'STORE_OPEN_FAILED SCHEMA_MISSING',
    'shield.jwt-secret-present NOT_SET',
    'store.open_failed valkey',
  ])
})

describe('the environment of a candidate', () => {
  const ports = { bus: 1, http: 2, telemetry: 3, shield: 4, metrics: 5, projector: 6 }
  const of = (env: Record<string, string>, changes: Record<string, string | undefined> = {}) =>
    candidateEnvironment(createRuleContext(env), { ports, dataDir: '/tmp/data' }, { changes })

  it('reaches no service of the environment, by whichever name', () => {
    const env = of({
      ...productionEnvironment,
      ARQONBUS_REDIS_URL: 'redis://cache.internal',
      ARQONBUS_REDIS_HOST: 'cache.internal',
      ARQONBUS_POSTGRES_HOST: 'db.internal',
      SHIELD_MIRROR_NATS_URL: 'tls://shadow.internal',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'https://spans.internal',
    })
    expect(Object.entries(env).filter(([, value]) => value.includes('.internal'))).toEqual([])
    expect(env['ARQONBUS_DATA_DIR']).toBe('/tmp/data')
  })

  it('holds what is declared and nothing of the shell but PATH', () => {
    const env = of({ ...productionEnvironment, PATH: '/bin', HOME: '/home/a', NODE_OPTIONS: '--inspect', ZONE: 'x' })
    expect(env).toMatchObject({ PATH: '/bin', JWT_SECRET: productionEnvironment.JWT_SECRET })
    expect(Object.keys(env)).not.toContain('NODE_OPTIONS')
    expect(Object.keys(env)).not.toContain('HOME')
    expect(Object.keys(env)).not.toContain('ZONE')
  })

  it('takes away what a fault takes away', () => {
    expect(Object.keys(of(productionEnvironment, { JWT_SECRET: undefined }))).not.toContain('JWT_SECRET')
  })
})
