// How probes of Postgres look: on a connection of their own, which gives up before the deadline does, and with errors
// turned into the codes of stops.ts.
import { isBusError } from '../../base/errors.ts'
import type { JsonValue } from '../../base/json.ts'
import { findPostgresUrl } from '../../config/load.ts'
import type { PostgresAddress } from '../../postgres/address.ts'
import type { ProbeConnection, Row } from '../../postgres/connection.ts'
import type { RuleContext } from '../../rules/rule.ts'
import type { Applicability, Check, CheckPorts } from '../check.ts'
import { ProbeStop, stopCodeOf } from '../stops.ts'

export const variable = 'ARQONBUS_POSTGRES_URL'

export const postgresNamed: Applicability = {
  name: 'postgres-configured',
  test({ ctx }) {
    const holds = findPostgresUrl(ctx.resolution) !== undefined
    return { holds, because: holds ? 'Postgres is configured' : `${variable} is not set` }
  },
}

/** What waiting can heal. */
export const healing = [
  'STARTING',
  'TOO_MANY_CONNECTIONS',
  'ECONNREFUSED',
  'ENOENT',
  'ETIMEDOUT',
  'EAI_AGAIN',
  'NO_ANSWER',
  'HUNG_UP',
] as const

/** Within the 5 s of a probe, so that what is reported says more than that time was up. */
const limits = { connectMs: 2_500, answerMs: 2_000, statementMs: 1_500 }
const lockMs = 1_000

/** Throws BAD_ADDRESS. */
export async function addressOf(ctx: RuleContext): Promise<PostgresAddress> {
  const { parsePostgresAddress } = await import('../../postgres/address.ts')
  const url = findPostgresUrl(ctx.resolution)
  try {
    return parsePostgresAddress(url?.reveal() ?? '')
  } catch (error) {
    throw new ProbeStop('BAD_ADDRESS', error instanceof Error ? error.message : 'no address', 'address')
  }
}

export interface Looking {
  readonly connection: ProbeConnection
  readonly address: PostgresAddress
  /** Rows of one statement. */
  readonly query: (text: string, values?: readonly unknown[]) => Promise<readonly Row[]>
  /** The first row. */
  readonly ask: (text: string, values?: readonly unknown[]) => Promise<Row>
}

/** Opens, looks, closes. Rejects with ProbeStop. */
export async function look<T>({ ctx, runId }: CheckPorts, work: (looking: Looking) => Promise<T>): Promise<T> {
  const address = await addressOf(ctx)
  const { openProbe } = await import('../../postgres/connection.ts')
  const applicationName = `arqon-preflight/${runId}`
  const connection = await openProbe({ address, limits, applicationName, lockMs }).catch((error: unknown) => {
    throw toStop(error, 'connect')
  })
  const query = (text: string, values: readonly unknown[] = []) => connection.query({ text, values })
  try {
    return await work({ connection, address, query, ask: async (text, values) => (await query(text, values))[0] ?? {} })
  } catch (error) {
    throw error instanceof ProbeStop ? error : toStop(error, 'query')
  } finally {
    await connection.close()
  }
}

/** SQLSTATE, or its class of two letters, to a code of stops.ts (PostgreSQL manual, appendix A). */
const states: Readonly<Record<string, string>> = {
  28: 'AUTH_REFUSED',
  '3D000': 'NO_DATABASE',
  42501: 'NO_PERMISSION',
  25006: 'READ_ONLY',
  53100: 'DISK_FULL',
  53200: 'OUT_OF_MEMORY',
  53300: 'TOO_MANY_CONNECTIONS',
  '55P03': 'LOCKED',
  57014: 'DEADLINE',
  '57P01': 'HUNG_UP',
  '57P02': 'HUNG_UP',
  '57P03': 'STARTING',
}

export function toStop(error: unknown, step: string): ProbeStop | Error {
  if (!isBusError(error)) return error instanceof Error ? error : new Error('not an error')
  const cause = error.cause
  const text = cause instanceof Error ? cause.message : error.message
  const state = error.details['sqlstate']
  if (typeof state === 'string') {
    const code = states[state] ?? states[state.slice(0, 2)] ?? 'SERVER_ERROR'
    return new ProbeStop(code, text, step)
  }
  // An answer that did not come has one word here, whatever the driver made of it.
  return new ProbeStop(stopCodeOf(cause) ?? 'SERVER_ERROR', text, step)
}

/** Columns of a catalogue come as the driver parses them; what is no number is a fault of the query. */
export const numberIn = (row: Row, name: string): number => Number(row[name])
export const textIn = (row: Row, name: string): string => String(row[name])
/** Of a fact; empty for what is no text. */
export const wordOf = (value: JsonValue | undefined): string => (typeof value === 'string' ? value : '')
export const flagIn = (row: Row, name: string): boolean => row[name] === true

/** What the checks of this chain have in common. */
export const common = {
  runbook: ['L13', 'L23', 'L43'],
  phase: 'deps',
  class: 'dependency',
  appliesWhen: postgresNamed,
  deadlineMs: 5_000,
  effects: [{ kind: 'net', what: 'a connection to Postgres; reads' }],
  resource: 'postgres',
  retryOn: healing,
} as const satisfies Partial<Check>
