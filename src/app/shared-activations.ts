// What machines tell each other of certificates through the configured Postgres: which build was activated in which
// environment, and which break-glass was used. Rows that are only added, each by one statement over a connection of its
// own; within 2 s it is written or it is not known to be (reliability 5.5).
import { isBusError } from '../base/errors.ts'
import type { Activation } from '../certificate/activation.ts'
import type { BreakGlass } from '../certificate/break-glass.ts'
import { isOfFirstStart, judgeStart, type Mismatch, type StartFacts } from '../certificate/judge-start.ts'
import { findPostgresUrl } from '../config/load.ts'
import type { Resolution } from '../config/resolution.ts'
import type { Row, Statement } from '../postgres/connection.ts'

type Pair = Pick<Activation, 'artefact' | 'fingerprint'>

/** All reject with a BusError: STORE_UNAVAILABLE, STORE_TIMEOUT, STORE_OPEN_FAILED, CONFIG_INVALID. */
export interface SharedActivations {
  /** Was this build activated in this environment, on whatever machine? */
  isActivated(pair: Pair): Promise<boolean>
  /** Once for a build and environment; the first row stays. */
  record(activation: Activation): Promise<void>
  /** False where it was used before, on whatever machine. */
  use(breakGlass: BreakGlass): Promise<boolean>
}

/** Undefined where no Postgres is configured. */
export function sharedActivations(resolution: Resolution): SharedActivations | undefined {
  const url = findPostgresUrl(resolution)
  if (url === undefined) return undefined

  async function ask(statement: Statement): Promise<readonly Row[]> {
    // The driver is loaded where it is needed only: gateways have no other use for it.
    const { hotLimits, openConnection } = await import('../postgres/connection.ts')
    const { parsePostgresAddress } = await import('../postgres/address.ts')
    const connection = await openConnection({ address: parsePostgresAddress(url!.reveal()), limits: hotLimits })
    try {
      return await connection.query(statement)
    } finally {
      await connection.close()
    }
  }

  return {
    async isActivated({ artefact, fingerprint }) {
      const text = 'SELECT FROM arqonbus_preflight_activations WHERE artefact = $1 AND fingerprint = $2'
      return (await ask({ text, values: [artefact, fingerprint] })).length > 0
    },
    async record({ artefact, fingerprint, certificate }) {
      const text = `INSERT INTO arqonbus_preflight_activations (artefact, fingerprint, certificate)
        VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`
      await ask({ text, values: [artefact, fingerprint, certificate] })
    },
    async use({ nonce, program, by, reason }) {
      // Of two at once, one gets its row back.
      const text = `INSERT INTO arqonbus_preflight_break_glass (nonce, program, signed_by, reason)
        VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING nonce`
      return (await ask({ text, values: [nonce, program, by, reason] })).length > 0
    },
  }
}

/** For a line; of a missing table also what to do. */
export function whyNotShared(error: unknown): string {
  if (!isBusError(error)) return 'INTERNAL_ERROR'
  const { code, details } = error
  const { reason } = details
  if (reason === 'SCHEMA_MISSING') return 'the table is not there: run `arqonbus migrate up`'
  return typeof reason === 'string' ? reason : code
}

export interface SharedStart {
  readonly mismatches: readonly Mismatch[]
  readonly isActivated: boolean
}

/**
 * As `judgeStart`. Where nothing but the bounds of a first start stands against it, Postgres is asked whether it was
 * one: elsewhere it may have been activated. What cannot be asked was not.
 */
export async function judgeSharedStart(facts: StartFacts, shared: SharedActivations | undefined): Promise<SharedStart> {
  const mismatches = judgeStart(facts)
  const { isActivated, build, environment } = facts
  const isAsked = mismatches.length > 0 && mismatches.every(isOfFirstStart)
  if (shared === undefined || !isAsked || !('fingerprint' in environment)) return { mismatches, isActivated }
  try {
    const pair = { artefact: build.artefact, fingerprint: environment.fingerprint }
    if (!(await shared.isActivated(pair))) return { mismatches, isActivated }
    return { mismatches: judgeStart({ ...facts, isActivated: true }), isActivated: true }
  } catch (error) {
    const note = `; Postgres cannot be asked whether it was elsewhere (${whyNotShared(error)})`
    return { mismatches: mismatches.map((one) => ({ ...one, found: `${one.found}${note}` })), isActivated }
  }
}
