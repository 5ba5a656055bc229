// Every check there is. The phases gates and boot have none in this version, and a production run says so.
import { type Check, type Effect, phases } from './check.ts'
import { liveChecks } from './live/live-checks.ts'
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

export function createCatalogue(): readonly Check[] {
  return [
    ...createMetaChecks(createCatalogue),
    ...runtimeChecks,
    ...staticChecks,
    ...shieldChecks,
    ...valkeyChecks,
    ...postgresChecks,
    ...natsChecks,
    ...ollamaChecks,
    ...projectorChecks,
    ...rollUps,
    ...liveChecks,
  ]
}

export interface CatalogueRow {
  readonly id: string
  readonly title: string
  readonly phase: string
  readonly severity: string
  readonly class: string
  readonly runbook: readonly string[]
}

/** For `preflight list`. */
export function listCatalogue(catalogue: readonly Check[] = createCatalogue()): CatalogueRow[] {
  const rows = catalogue.map(({ id, title, phase, severity, class: fault, runbook }) => ({
    id,
    title,
    phase,
    severity,
    class: fault,
    runbook,
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
