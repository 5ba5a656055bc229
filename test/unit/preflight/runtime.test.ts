// The checks of Node, tree and machine: proven by their worlds; and the ranges that pins are written in.
import { describe, expect, it } from 'vitest'
import { runtimeChecks } from '../../../src/preflight/runtime/runtime-checks.ts'
import { inRange } from '../../../src/preflight/runtime/versions.ts'
import { proveCheck } from '../../../src/preflight/self-proof.ts'

describe.each(runtimeChecks.map((check) => [check.id, check] as const))('%s', (_id, check) => {
  it('passes and fails in the worlds where it has to', () => {
    expect(proveCheck(check).faults).toEqual([])
  })
})

it.each([
  ['24.21.0', '>=24', true],
  ['23.9.9', '>=24', false],
  ['24.0.0', '>24.0.0', false],
  ['24.0.1', '>24.0.0', true],
  ['24.0.0', '<=24', true],
  ['24.0.1', '<=24', false],
  ['25.0.0', '>=24 <25', false],
  ['24.99.0', '>=24 <25', true],
  ['1.82.3', '~1.82.1', true],
  ['1.82.0', '~1.82.1', false],
  ['1.83.0', '~1.82.1', false],
  ['24.22.0', '^24.21', true],
  ['25.22.0', '^24.21', false],
  ['24.21.0', '=24.21.0', true],
  ['24.21.1', '24.21.0', false],
  ['24.21.0', '24.x', false],
  ['nightly', '>=0', false],
])('%s in %s: %s', (version, range, expected) => {
  expect(inRange(version, range)).toBe(expected)
})
