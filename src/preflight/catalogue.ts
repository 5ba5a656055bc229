// Every check there is.
import { BusError } from '../base/errors.ts'
import { bootChecks } from './boot/boot-checks.ts'
import { type Check, type Effect, phases } from './check.ts'
import { gateChecks } from './gates/gate-checks.ts'
import { bootCertificateCheck } from './certificate/boot-checks.ts'
import { pinnedCheck } from './certificate/pinned-checks.ts'
import { liveChecks } from './live/live-checks.ts'
import type { PluginEntry } from '../waivers/preflight-policy.ts'
import { createMetaChecks } from './meta/meta-checks.ts'
import { natsChecks } from './nats/nats-checks.ts'
import { ollamaChecks } from './ollama/ollama-checks.ts'
import { postgresChecks } from './postgres/postgres-checks.ts'
import { projectorChecks } from './projector/projector-checks.ts'
import { rollUps } from './roll-ups.ts'
import { runtimeChecks } from './runtime/runtime-checks.ts'
import { shieldChecks } from './shield/shield-checks.ts'
import { staticChecks } from './static-checks.ts'
import { valkeyChecks } from './valkey/valkey-checks.ts'

/** Throws INTERNAL_ERROR (BAD_CATALOGUE) for a check that brings no proof that it can fail. */
export function createCatalogue(): readonly Check[] {
  return register([
    ...createMetaChecks(createCatalogue),
    pinnedCheck,
    ...runtimeChecks,
    ...staticChecks,
    ...shieldChecks,
    ...valkeyChecks,
    ...postgresChecks,
    ...natsChecks,
    ...ollamaChecks,
    ...projectorChecks,
    ...rollUps,
    ...gateChecks,
    ...bootChecks,
    bootCertificateCheck,
    ...liveChecks,
  ])
}

/** What has never been seen to fail proves nothing: such a check does not become part of a catalogue. */
export function register(checks: readonly Check[]): readonly Check[] {
  const unproven = checks.filter(({ worlds: { passes, fails, ignores }, isRollUp }) => {
    return isRollUp !== true && [passes, fails, ignores].some((worlds) => worlds.length === 0)
  })
  if (unproven.length === 0) return checks
  const ids = unproven.map(({ id }) => id).join(', ')
  throw new BusError('INTERNAL_ERROR', `Checks without a passing, a failing and an ignored world: ${ids}`, {
    reason: 'BAD_CATALOGUE',
  })
}

export interface CatalogueRow {
  readonly id: string
  readonly title: string
  readonly phase: string
  readonly severity: string
  readonly class: string
  readonly runbook: readonly string[]
  /** The plug-in it came from; absent: it is built in. */
  readonly origin?: PluginEntry
}

/** For `preflight list`. */
export function listCatalogue(catalogue: readonly Check[] = createCatalogue()): CatalogueRow[] {
  const rows = catalogue.map(({ id, title, phase, severity, class: fault, runbook, origin }) => ({
    id,
    title,
    phase,
    severity,
    class: fault,
    runbook,
    ...(origin !== undefined && { origin }),
  }))
  return rows.sort((a, b) => phases.indexOf(a.phase) - phases.indexOf(b.phase) || (a.id < b.id ? -1 : 1))
}

export interface Explanation extends CatalogueRow {
  readonly proves: string
  readonly evidence: string
  readonly fix: string
  readonly requires: readonly string[]
  readonly appliesWhen: string
  readonly deadlineMs: number
  readonly effects: readonly string[]
  /** Name of the world that kills it: the state in which it has been seen to fail. */
  readonly failsIn: readonly string[]
}

/** For `preflight explain ID`; undefined for an unknown id. */
export function explainCheck(id: string, catalogue: readonly Check[] = createCatalogue()): Explanation | undefined {
  const check = catalogue.find((candidate) => candidate.id === id)
  if (check === undefined) return undefined
  const { phase, severity, class: fault, title, runbook, proves, evidence, fix, requires, deadlineMs, effects } = check
  const appliesWhen = check.appliesWhen.name
  return {
    id,
    phase,
    severity,
    class: fault,
    title,
    runbook,
    proves,
    evidence,
    fix,
    requires,
    deadlineMs,
    effects: effects.map(showEffect),
    appliesWhen,
    failsIn: check.worlds.fails.map(({ name, expect }) => `${name}: ${expect.code}`),
  }
}

/** `write key arqon:pf:<run>, 30 s`. */
export const showEffect = ({ kind, what }: Effect): string => `${kind} ${what}`
