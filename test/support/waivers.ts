// Signed waivers for tests: people with real keys, a policy that knows them, and a waiver of the dual data stack.
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { Document } from 'yaml'
import { bindOf, dayMs, type Subject } from '../../src/waivers/judge-waivers.ts'
import { defaultPreflightPolicy, type PreflightPolicy } from '../../src/waivers/preflight-policy.ts'
import { approve, keyTextOf } from '../../src/waivers/sign.ts'
import { type Waiver, type WaiverFile, waiverSchema } from '../../src/waivers/waiver.ts'

export const approvers = {
  'r.patel': generateKeyPairSync('ed25519').privateKey,
  's.kim': generateKeyPairSync('ed25519').privateKey,
  't.moe': generateKeyPairSync('ed25519').privateKey,
} as const satisfies Record<string, KeyObject>
type Approver = keyof typeof approvers

export const site = 'akl-1'
export const policy: PreflightPolicy = {
  ...defaultPreflightPolicy,
  site,
  approvers: Object.fromEntries(Object.entries(approvers).map(([name, key]) => [name, keyTextOf(key)])),
}

/** What the preflight and the gate see where ARQONBUS_REQUIRE_DUAL_DATA_STACK=false. */
export const dualStackOff: Subject = {
  id: 'bus.dual-stack-required',
  severity: 'critical',
  class: 'config',
  status: 'fail',
  findings: [{ code: 'SWITCHED_OFF', variable: 'ARQONBUS_REQUIRE_DUAL_DATA_STACK' }],
}

export const instant = (ms: number): string => new Date(ms).toISOString()

/** Requested a day before `now`, for seven days. Not approved. */
export function waiverOf(now: number, changes: Partial<Waiver> = {}): Waiver {
  return {
    id: 'EX-2026-014',
    check: dualStackOff.id,
    scope: { profile: 'prod', site },
    reason: 'Valkey cluster move; one store for a week.',
    risk: 'Hot state is lost when a node fails.',
    compensating: [],
    ticket: 'https://tracker.example/OPS-4411',
    owner: 'a.ngata@example.org',
    requested: instant(now - dayMs),
    expires: instant(now + 6 * dayMs),
    renewal: { number: 0, of: null },
    bind: bindOf(dualStackOff),
    approvals: [],
    ...changes,
  }
}

/** Approved by these, an hour after it was requested. */
export function signed(waiver: Waiver, by: readonly Approver[] = ['r.patel', 's.kim'], at?: string): Waiver {
  const when = at ?? instant(Date.parse(waiver.requested) + 3_600_000)
  return { ...waiver, approvals: by.map((name) => approve(waiver, name, when, approvers[name])) }
}

export const fileOf = (...waivers: readonly Waiver[]): WaiverFile => ({ schema: waiverSchema, waivers })

export const yamlOf = (value: object): string => new Document(value, { aliasDuplicateObjects: false }).toString()

export const policyYaml = (changes: object = {}): string =>
  yamlOf({ schema: 'arqonbus/preflight-policy/1', site, approvers: policy.approvers, ...changes })
