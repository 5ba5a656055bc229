// The gates as judges, and what their readers make of texts. Real suites: test/integration/preflight/gates.test.ts.
import { describe, expect, it } from 'vitest'
import { gateChecks } from '../../../src/preflight/gates/gate-checks.ts'
import { gateIds } from '../../../src/preflight/gates/gate-ids.ts'
import { loadedBy, onlyPlaces, packageOf } from '../../../src/preflight/gates/sources.ts'
import { proveCheck } from '../../../src/preflight/self-proof.ts'

const file = (text: string) => ({ path: 'x.ts', text })

describe('the gates', () => {
  it.each(gateChecks.map((check) => [check.id, check] as const))('%s can fail in every way it knows', (_id, check) => {
    expect(proveCheck(check).faults).toEqual([])
  })

  it('are those that an attestation covers', () => {
    expect(gateChecks.map(({ id }) => id)).toEqual(gateIds)
  })
})

// Put together, so that the gate does not find them here.
const only = `.${'only'}`

describe('what hides other tests', () => {
  it.each([
    [`it${only}('x', () => {})`],
    [`  describe${only}.each([1])('x')`],
    [`test.concurrent${only}('x')`],
    [`test.skipIf(a)${only}('x')`],
    [`test('x', { ${'only'}: true }, () => {})`],
  ])('%s is found', (text) => {
    expect(onlyPlaces([file(`// one\n${text}`)])).toEqual(['x.ts:2'])
  })

  it.each([[`expect.only('x')`], [`const { only } = x`], [`it('runs with --only', () => {})`], ['only: truest']])(
    '%s is left alone',
    (text) => {
      expect(onlyPlaces([file(text)])).toEqual([])
    },
  )
})

describe('what a file loads', () => {
  it.each([
    ["import { a } from 'a'", ['a']],
    ["import b, {\n  c,\n} from '@s/b/part'", ['@s/b/part']],
    ["import 'c'", ['c']],
    ["export * from 'd'", ['d']],
    ["const e = await import('e')", ['e']],
    ["const f = require('f')", ['f']],
    ["import { type G } from 'g'", ['g']],
    ["import type { H } from 'h'", []],
    ["export type { I } from 'i'", []],
    ["type J = import('j').J", []],
    ["// import 'k'\n/* import 'l' */", []],
    ['const text = "it is from \'m\'"', []],
  ])('of %j is %j', (text, loaded) => {
    expect(loadedBy(file(text))).toEqual(loaded)
  })

  it.each([
    ['ws', 'ws'],
    ['@s/b/part', '@s/b'],
    ['pg/lib/x.js', 'pg'],
    ['./x.ts', undefined],
    ['#inner', undefined],
    ['node:fs', undefined],
  ])('%s is of the package %s', (specifier, name) => {
    expect(packageOf(specifier)).toBe(name)
  })
})
