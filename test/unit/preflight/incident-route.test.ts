// One label, one ticket for each root cause, and words that do not move.
import { describe, expect, it } from 'vitest'
import type { FaultClass, Severity } from '../../../src/rules/rule.ts'
import type { Check, Stopped } from '../../../src/preflight/check.ts'
import { ownerOf, routeOf } from '../../../src/preflight/incident/route.ts'
import { describeSink, parseSink } from '../../../src/preflight/incident/sinks.ts'
import type { Report } from '../../../src/preflight/report.ts'
import { runPreflight } from '../../../src/preflight/run.ts'

interface Fault {
  readonly codes?: readonly string[]
  readonly stopped?: Stopped
  readonly severity?: Severity
  readonly class?: FaultClass
  readonly requires?: readonly string[]
}

function check(
  id: string,
  { codes = [], stopped, severity = 'high', class: fault = 'config', requires = [] }: Fault,
): Check {
  return {
    id,
    title: id,
    proves: id,
    evidence: id,
    fix: id,
    runbook: ['L23'],
    phase: 'static',
    severity,
    class: fault,
    requires,
    appliesWhen: { name: 'always', test: () => ({ holds: true, because: 'always' }) },
    deadlineMs: 1_000,
    effects: [],
    shape: {},
    judge() {
      if (stopped !== undefined) return { status: 'error', class: 'unknown', ...stopped }
      const [first, ...others] = codes.map((code) => ({ code, variable: id, found: `saw ${code}`, fix: `set ${code}` }))
      return first === undefined ? { status: 'pass' } : { status: 'fail', findings: [first, ...others] }
    },
    worlds: { passes: [], fails: [], ignores: [] },
  }
}

const reportOf = (...checks: readonly Check[]): Promise<Report> =>
  runPreflight({ env: {} }, { catalogue: checks, localAddresses: [], node: '24.0.0' })
const withVersion = (report: Report, version: string): Report => ({
  ...report,
  canonical: { ...report.canonical, version },
})

describe('a route', () => {
  it('has the worst label of all root causes, and the worst ticket first', async () => {
    const report = await reportOf(
      check('dep.nats.a', { codes: ['X'] }),
      check('dep.valkey.b', { codes: ['Y'], severity: 'critical' }),
      check('bus.c', { codes: ['Z'], severity: 'advisory' }),
    )
    const route = routeOf(report, { owners: { 'dep.valkey': 'storage-oncall', dep: 'platform' } })!
    expect(route).toMatchObject({ label: 'critical', owner: 'storage-oncall' })
    expect(route.tickets.map(({ check: id, owner }) => [id, owner])).toEqual([
      ['dep.valkey.b', 'storage-oncall'],
      ['dep.nats.a', 'platform'],
    ])
  })

  it('has one ticket for a chain, and says what waits on it', async () => {
    const report = await reportOf(
      check('dep.postgres.connects', { codes: ['ECONNREFUSED'], severity: 'blocker', class: 'dependency' }),
      check('dep.postgres.writable', { requires: ['dep.postgres.connects'] }),
      check('dep.postgres.migrated', { requires: ['dep.postgres.writable'] }),
    )
    const { tickets } = routeOf(report, {})!
    expect(tickets).toHaveLength(1)
    expect(tickets[0]).toMatchObject({ owner: 'engineering', class: 'dependency', severity: 'blocker' })
    expect(tickets[0].title).toBe('[blocker] preflight: dep.postgres.connects ECONNREFUSED')
    expect(tickets[0].text).toContain('- dep.postgres.connects: saw ECONNREFUSED')
    expect(tickets[0].text).toContain('- set ECONNREFUSED')
    expect(tickets[0].text).toContain('Waiting on it: dep.postgres.writable, dep.postgres.migrated')
    expect(tickets[0].text).toContain('preflight explain dep.postgres.connects')
  })

  it('is none where nothing failed', async () => {
    expect(routeOf(await reportOf(check('a.fine', {})), {})).toBeUndefined()
    expect(routeOf(await reportOf(check('a.advice', { codes: ['X'], severity: 'advisory' })), {})).toBeUndefined()
  })

  it('keeps what nobody can tell, as a regression', async () => {
    const report = await reportOf(check('a.odd', { stopped: { code: 'THREW', observed: 'boom' } }))
    const [ticket] = routeOf(report, {})!.tickets
    expect(ticket).toMatchObject({ class: 'unknown' })
    expect(ticket.text).toContain('unknown, to be handled as a regression')
    expect(ticket.text).toContain('- boom')
  })

  it('has a key that depends on check, class, codes and line of builds alone', async () => {
    const keyOf = async (id: string, fault: Fault, version = '1.4.0'): Promise<string> =>
      routeOf(withVersion(await reportOf(check(id, fault)), version), {})!.tickets[0].dedupe
    const base = await keyOf('a.one', { codes: ['X', 'Y'] })
    expect(base).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(await keyOf('a.one', { codes: ['Y', 'X', 'X'] }, '1.4.7')).toBe(base)
    expect(await keyOf('a.one', { codes: ['X', 'Y'], severity: 'critical' })).toBe(base)
    const others = [
      await keyOf('a.two', { codes: ['X', 'Y'] }),
      await keyOf('a.one', { codes: ['X'] }),
      await keyOf('a.one', { codes: ['X', 'Y'], class: 'dependency' }),
      await keyOf('a.one', { codes: ['X', 'Y'] }, '1.5.0'),
    ]
    expect(new Set([base, ...others]).size).toBe(5)
  })

  it('goes to the owner of the longest category', () => {
    const owners = { dep: 'platform', 'dep.postgres': 'data' }
    expect(ownerOf('dep.postgres.writable', owners)).toBe('data')
    expect(ownerOf('dep.nats.reachable', owners)).toBe('platform')
    expect(ownerOf('depot.x', owners)).toBe('engineering')
    expect(ownerOf('toString.x', owners)).toBe('engineering')
  })
})

describe('a sink', () => {
  it.each([
    ['file=/var/x.json', { kind: 'file', path: '/var/x.json' }, 'file /var/x.json'],
    [
      'webhook=https://h.example/a?b=c',
      { kind: 'webhook', url: 'https://h.example/a?b=c' },
      'webhook https://h.example',
    ],
    ['slack=https://h.example/T/x', { kind: 'slack', url: 'https://h.example/T/x' }, 'slack https://h.example'],
    ['command=page --now x=1', { kind: 'command', argv: ['page', '--now', 'x=1'] }, 'command page'],
    ['command=["page","two words"]', { kind: 'command', argv: ['page', 'two words'] }, 'command page'],
  ])('%s', (text, sink, shown) => {
    expect(parseSink(text)).toEqual(sink)
    expect(describeSink(parseSink(text))).toBe(shown)
  })

  it.each([
    'file',
    'file=',
    'mail=x@example.org',
    'webhook=ftp://h/x',
    'webhook=http://',
    'slack=https://u:p@h/x',
    'command=[]',
    'command=[1]',
    'command=[',
    'command= ',
  ])('%s is a wrong call', (text) => {
    expect(() => parseSink(text)).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })
})
