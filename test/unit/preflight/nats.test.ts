// The NATS checks, proven on their worlds; when they apply.
import { describe, expect, it } from 'vitest'
import { createRuleContext } from '../../../src/rules/context.ts'
import type { Environment } from '../../../src/config/resolution.ts'
import { natsChecks } from '../../../src/preflight/nats/nats-checks.ts'
import { proveCheck } from '../../../src/preflight/self-proof.ts'

describe('the NATS checks', () => {
  it.each(natsChecks.map((check) => [check.id, check] as const))('%s is proven', (_id, check) => {
    expect(proveCheck(check).faults).toEqual([])
  })

  const applying = (env: Environment): string[] => {
    const ctx = createRuleContext(env)
    return natsChecks.filter(({ appliesWhen }) => appliesWhen.test({ ctx, targets: {} }).holds).map(({ id }) => id)
  }
  const core = ['connect', 'identity', 'pubsub', 'permissions'].map((name) => `dep.nats.${name}`)
  const url = { NATS_URL: 'nats://127.0.0.1:4333' }

  it.each<[string, Environment, string[]]>([
    ['dev without NATS', {}, []],
    ['dev with an address', url, core],
    ['staging, whose Shield needs NATS', { ARQONBUS_ENVIRONMENT: 'staging' }, core],
    [
      'schemas in a bucket',
      { ...url, SHIELD_SCHEMA_SOURCE: 'nats' },
      [...core, 'dep.nats.jetstream', 'dep.nats.streams', 'dep.nats.skew'],
    ],
    [
      'a projector of its own',
      { ...url, ARQONBUS_PROJECTOR_WORKERS: '2' },
      [...core, 'dep.nats.jetstream', 'dep.nats.jetstream-roundtrip', 'dep.nats.streams', 'dep.nats.skew'],
    ],
    ['a projector at the bus, which reads its log', { ...url, ARQONBUS_PROJECTOR_ENABLED: 'true' }, core],
    ['dev without NATS, with schemas', { SHIELD_SCHEMA_SOURCE: 'nats' }, []],
  ])('apply to %s as they should', (_name, env, ids) => {
    expect(applying(env)).toEqual(ids)
  })
})
