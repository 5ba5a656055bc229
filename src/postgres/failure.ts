// What errors of Postgres and of the way to it mean for a write: certainly not stored, or unknown. One table of words.
// Nothing of an address, a statement or its values is in what comes out.
import { BusError, isBusError, type ErrorDetails } from '../base/errors.ts'

/** SQLSTATE, or its class of two letters, to our word (PostgreSQL manual, appendix A). */
const reasons: Readonly<Record<string, string>> = {
  '08': 'CONNECTION_LOST',
  '22': 'BAD_DATA',
  '23': 'BAD_DATA',
  '25006': 'READ_ONLY',
  '28': 'DENIED',
  '3D000': 'NO_DATABASE',
  '3F000': 'SCHEMA_MISSING',
  '40': 'SERIALIZATION',
  '42501': 'DENIED',
  '42883': 'SCHEMA_MISSING',
  '42P01': 'SCHEMA_MISSING',
  '42703': 'SCHEMA_MISSING',
  '53100': 'DISK_FULL',
  '53200': 'OUT_OF_MEMORY',
  '53300': 'TOO_MANY_CONNECTIONS',
  '53': 'OUT_OF_RESOURCES',
  '54': 'BAD_DATA',
  '55P03': 'LOCKED',
  '57014': 'TOO_SLOW',
  '57P01': 'SHUTTING_DOWN',
  '57P02': 'SHUTTING_DOWN',
  '57P03': 'STARTING_UP',
  '57P05': 'CONNECTION_LOST',
  '58': 'DISK_ERROR',
  XX001: 'DAMAGED',
  XX002: 'DAMAGED',
}

/** Answers after which nobody can say whether the transaction was committed: the server ended the connection. */
const leavesUnknown = new Set(['08', '57P01', '57P02', '57P05', '40003'])

const sqlstateForm = /^[0-9A-Z]{5}$/

/** The SQLSTATE of an answer of the server; undefined for everything else. */
export function sqlstateOf(error: unknown): string | undefined {
  if (isBusError(error)) {
    const state = error.details['sqlstate']
    return typeof state === 'string' ? state : undefined
  }
  if (!(error instanceof Error) || !('code' in error) || !('severity' in error)) return undefined
  return typeof error.code === 'string' && sqlstateForm.test(error.code) ? error.code : undefined
}

function lookUp(state: string): string | undefined {
  return reasons[state] ?? reasons[state.slice(0, 2)]
}

/** An error that holds words only: the driver's own objects can carry statements, values and sockets. */
function bare(error: unknown): Error {
  const state = sqlstateOf(error)
  const text = error instanceof Error ? error.message : typeof error
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? `${error.code}: ` : ''
  const cause = new Error(state === undefined ? `${code}${text}` : `SQLSTATE ${state}: ${text}`)
  cause.name = 'PostgresError'
  const way = state === undefined && error instanceof Error ? wayCodeOf(error) : undefined
  return way === undefined ? cause : Object.assign(cause, { code: way })
}

/** The driver's own words for what happened on the way, as codes; sockets and TLS have codes already. */
const wayWords: readonly (readonly [RegExp, string])[] = [
  [/timeout/i, 'NO_ANSWER'],
  [/does not support SSL|establishing an SSL/i, 'TLS_REFUSED'],
  [/password must be/i, 'AUTH_REQUIRED'],
  [/connection terminated|connection ended/i, 'HUNG_UP'],
]

function wayCodeOf(error: Error): string | undefined {
  if ('code' in error && typeof error.code === 'string') return error.code
  return wayWords.find(([words]) => words.test(error.message))?.[1]
}

/** What became of a statement that failed; `wasSent`: some byte of it may have reached the server. */
export function toCallError(error: unknown, wasSent: boolean): BusError {
  if (isBusError(error)) return error
  const state = sqlstateOf(error)
  if (state === undefined) {
    if (wasSent) return new BusError('STORE_TIMEOUT', undefined, { reason: unansweredReason(error) }, bare(error))
    return new BusError('STORE_UNAVAILABLE', undefined, { reason: 'UNREACHABLE' }, bare(error))
  }
  const details: ErrorDetails = { reason: lookUp(state) ?? 'REFUSED', sqlstate: state }
  const isUnknown = wasSent && (leavesUnknown.has(state) || leavesUnknown.has(state.slice(0, 2)))
  return new BusError(isUnknown ? 'STORE_TIMEOUT' : 'STORE_UNAVAILABLE', undefined, details, bare(error))
}

function unansweredReason(error: unknown): string {
  return error instanceof Error && /timeout/i.test(error.message) ? 'NO_ANSWER' : 'CONNECTION_LOST'
}

const openMessages: Readonly<Record<string, string>> = {
  DENIED: 'Postgres refuses the user, its password or a privilege; check them in the address and in the database',
  NO_DATABASE: 'Postgres has no database of that name; create it, or change the address',
  SCHEMA_MISSING: 'The database does not have the tables of this version; run `arqonbus migrate up`',
}

/**
 * What a failure while opening means: STORE_OPEN_FAILED where somebody has to change something (reasons DENIED,
 * NO_DATABASE, SCHEMA_MISSING), STORE_UNAVAILABLE where waiting may help.
 */
export function toOpenError(error: unknown, shown: string): BusError {
  const failure = toCallError(error, false)
  if (failure.code !== 'STORE_UNAVAILABLE' && failure.code !== 'STORE_TIMEOUT') return failure
  const isAskedForPassword = error instanceof Error && /password must be/i.test(error.message)
  const reason = isAskedForPassword ? 'DENIED' : failure.details['reason']
  const message = typeof reason === 'string' ? openMessages[reason] : undefined
  const details = { ...failure.details, server: shown, ...(typeof reason === 'string' && { reason }) }
  if (message === undefined) {
    const text = `Postgres at ${shown} cannot be used now`
    return new BusError('STORE_UNAVAILABLE', text, details, failure.cause)
  }
  return new BusError('STORE_OPEN_FAILED', `${message} (${shown})`, details, failure.cause)
}
