// shield.schema-loads, proven on its worlds.
import { expect, it } from 'vitest'
import { proveCheck } from '../../../src/preflight/self-proof.ts'
import { shieldChecks } from '../../../src/preflight/shield/shield-checks.ts'

it.each(shieldChecks.map((check) => [check.id, check] as const))('%s is proven', (_id, check) => {
  expect(proveCheck(check).faults).toEqual([])
})
