// What is taken from a plug-in that nobody here compiled, and what the policy may say of it.
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { BusError } from '../../../src/base/errors.ts'
import { createCatalogue } from '../../../src/preflight/catalogue.ts'
import { portsOfWorld } from '../../../src/preflight/healthy-world.ts'
import { judgeAnswer } from '../../../src/preflight/judge.ts'
import { lookAtCatalogue } from '../../../src/preflight/meta/meta-probes.ts'
import * as api from '../../../src/preflight/plugins/api.ts'
import { effectsOf, readHead, readResult } from '../../../src/preflight/plugins/form.ts'
import type { PluginEntry } from '../../../src/waivers/preflight-policy.ts'
import { defaultPreflightPolicy } from '../../../src/waivers/preflight-policy.ts'
import { parsePreflightPolicy } from '../../../src/waivers/policy-file.ts'
import { headOf } from '../../support/plugins.ts'

const finding = { code: 'OLD', variable: 'LEDGER', found: 'old', fix: 'renew it' }
const hex = 'a'.repeat(64)

describe('the head of a check', () => {
  it('gets its defaults, and no line of the runbook', () => {
    const head = readHead({ ...headOf('one'), deadlineMs: undefined }, 'f')
    expect(head).toMatchObject({ id: 'x.acme.one', requires: [], variables: [], runbook: [], deadlineMs: 5_000 })
    expect(head.appliesWhen.test(portsOfWorld({ name: 'any' })).holds).toBe(true)
  })

  it('shows in its effects the program that it is, and the variables it is given', () => {
    const head = readHead(headOf('one', { variables: ['A', 'B'] }), 'f')
    expect(effectsOf(head, 'arqon-check-one')).toEqual([
      { kind: 'spawn', what: 'arqon-check-one' },
      { kind: 'env', what: 'is given A, B' },
      { kind: 'file', what: 'the ledger' },
    ])
  })

  it.each([
    ['id', 'x.Acme.one'],
    ['id', 'x.acme.'],
    ['phase', 'late'],
    ['class', 'mine'],
    ['requires', ['Not An Id']],
    ['deadlineMs', 99],
    ['deadlineMs', 600_001],
    ['deadlineMs', 1_000.5],
    ['effects', [{ kind: 'pray', what: 'a' }]],
    ['effects', [{ kind: 'net' }]],
    ['effects', undefined],
    ['isDeep', 'yes'],
    ['retryOn', ['starting']],
    ['hints', { CODE: '' }],
    ['variables', ['A-B']],
    ['shape', { young: 'bool' }],
    ['title', 'a'.repeat(501)],
    ['title', ' '],
    ['worlds', { passes: [{}], fails: [], ignores: [] }],
    ['worlds', { passes: [], fails: [{ name: 'f', expect: { code: 'lower' } }], ignores: [] }],
    ['worlds', { passes: Array.from({ length: 51 }, () => ({ name: 'p' })), fails: [], ignores: [] }],
    ['colour', 'red'],
  ])('may not have as %s: %j', (name, value) => {
    expect(() => readHead(headOf('one', { [name]: value }), 'file')).toThrow(BusError)
    expect(() => readHead(headOf('one', { [name]: value }), 'file')).toThrow(name)
  })

  it.each([null, [], 'check', 1])('is no %j', (value) => {
    expect(() => readHead(value, 'file')).toThrow('describes no check')
  })
})

describe('a result', () => {
  it.each([
    [{ status: 'pass' }],
    [{ status: 'pass', observed: 'seen', facts: { a: 1 } }],
    [{ status: 'fail', findings: [finding, finding], class: 'config', facts: {} }],
    [{ status: 'error', code: 'NO_IDEA', observed: 'why', class: 'unknown' }],
  ])('is taken as it is: %j', (result) => {
    expect(readResult(result)).toEqual(result)
  })

  it('loses what nobody asked for', () => {
    const result = { status: 'fail', findings: [{ ...finding, more: 1 }], more: 1 }
    expect(readResult(result)).toEqual({ status: 'fail', findings: [finding] })
  })

  it.each([
    [undefined],
    [[]],
    [{ status: 'GO' }],
    [{ status: 'pass', observed: 1 }],
    [{ status: 'pass', facts: [] }],
    [{ status: 'error', code: 'lower' }],
    [{ status: 'error' }],
    [{ status: 'fail' }],
    [{ status: 'fail', findings: [] }],
    [{ status: 'fail', findings: [{ ...finding, code: 'lower' }] }],
    [{ status: 'fail', findings: [{ ...finding, found: 1 }] }],
    [{ status: 'fail', findings: [{ ...finding, fix: '' }] }],
    [{ status: 'fail', findings: [{ ...finding, fix: 'a\u001b[2Jb' }] }],
    [{ status: 'fail', findings: [finding], class: 'mine' }],
  ])('is none: %j', (value) => {
    expect(readResult(value)).toBeUndefined()
  })
})

describe('the policy', () => {
  const parse = (lines: string) =>
    parsePreflightPolicy(Buffer.from(`schema: arqonbus/preflight-policy/1\n${lines}`), 'policy.yaml')

  it('lists plug-ins in their order', () => {
    const other = 'b'.repeat(64)
    const { plugins } = parse(
      `plugins:\n  - { path: b.ts, sha256: ${hex}, kind: module }\n  - { path: /opt/arqon-check-a, sha256: ${other}, kind: program }\n`,
    )
    expect(plugins).toEqual([
      { path: 'b.ts', sha256: hex, kind: 'module' },
      { path: '/opt/arqon-check-a', sha256: other, kind: 'program' },
    ])
    expect(parse('plugins: []\n').plugins).toEqual([])
  })

  it.each([
    ['{ path: a.ts, kind: module }', 'sha256 is missing'],
    [`{ sha256: ${hex}, kind: module }`, 'path is missing'],
    [`{ path: a.ts, sha256: ${hex} }`, 'kind is missing'],
    [`{ path: a.ts, sha256: ${hex.toUpperCase()}, kind: module }`, '64 lower-case hex digits'],
    [`{ path: a.ts, sha256: ${hex}, kind: wasm }`, 'module or program'],
    [`{ path: '', sha256: ${hex}, kind: module }`, 'empty'],
    [`{ path: a.ts, sha256: ${hex}, kind: module, optional: true }`, 'no such key'],
    [`{ path: a.ts, sha256: ${hex}, kind: module }\n  - { path: b.ts, sha256: ${hex}, kind: module }`, 'there already'],
    [
      `{ path: a.ts, sha256: ${hex}, kind: module }\n  - { path: a.ts, sha256: ${'b'.repeat(64)}, kind: module }`,
      'there already',
    ],
  ])('refuses %s', (item, words) => {
    expect(() => parse(`plugins:\n  - ${item}\n`)).toThrow(words)
  })

  it('and the plug-ins that were loaded have to be the same: meta.catalogue-complete', () => {
    const check = createCatalogue().find(({ id }) => id === 'meta.catalogue-complete')!
    const entry: PluginEntry = { path: 'a.ts', sha256: hex, kind: 'module' }
    const codes = (listed: readonly PluginEntry[], loaded: readonly PluginEntry[]) => {
      const ports = { policy: { ...defaultPreflightPolicy, plugins: listed }, plugins: loaded }
      const result = judgeAnswer(
        check,
        { facts: lookAtCatalogue([], { manifest: () => ({ ids: [], digest: emptyDigest }) }, ports) },
        portsOfWorld({ name: 'any' }),
      )
      return result.status === 'fail' ? result.findings.map(({ code }) => code) : result.status
    }
    const emptyDigest = lookAtCatalogue([], {}, { policy: defaultPreflightPolicy }).actual
    expect(codes([entry], [entry])).toBe('pass')
    expect(codes([entry], [])).toEqual(['PLUGIN_MISSING'])
    expect(codes([], [entry])).toEqual(['PLUGIN_UNEXPECTED'])
    expect(codes([entry], [{ ...entry, sha256: 'b'.repeat(64) }])).toEqual(['PLUGIN_MISSING', 'PLUGIN_UNEXPECTED'])
  })
})

describe('the package', () => {
  it('exports what plug-ins import', () => {
    const root = new URL('../../../', import.meta.url)
    const { exports } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as {
      exports: Record<string, { types: string; default: string }>
    }
    const { default: file, types } = exports['./preflight']!
    const source = file.replace('./dist/', 'src/').replace(/\.js$/, '.ts')
    expect(existsSync(new URL(source, root))).toBe(true)
    expect(types).toBe(file.replace(/\.js$/, '.d.ts'))
    expect(Object.keys(api).sort()).toEqual(['ProbeStop', 'defineCheck', 'failed', 'judgeAll', 'passed'])
  })
})
