// What an HTTP route answers, and how errors become answers: {error, code, details}, never internals.
import { randomUUID } from 'node:crypto'
import { STATUS_CODES, type ServerResponse } from 'node:http'
import { type ErrorCode, type BusError, errorTable, isBusError } from '../base/errors.ts'
import { describeError, type Logger } from '../base/logger.ts'

export interface HttpAnswer {
  readonly status: number
  /** JSON, or ready text together with its `contentType`. */
  readonly body: object | string
  readonly contentType?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Writes the rest of the answer, for as long as it takes; `body` is empty then. */
  readonly stream?: (response: ServerResponse) => void
  /** Runs when the answer has left, or could not. */
  readonly after?: () => void
}

export function ok(body: object): HttpAnswer {
  return { status: 200, body }
}

/** `details` says what to change; it is shown to whoever asked. */
export function refusal(status: number, code: string, details: string, headers?: HttpAnswer['headers']): HttpAnswer {
  return {
    status,
    body: { error: STATUS_CODES[status] ?? 'Error', code, details },
    ...(headers !== undefined && { headers }),
  }
}

/** The bus's own 401 (original-contract 3.1). */
export function unauthorized(details: 'Missing bearer token' | 'Invalid token' | 'Invalid API key'): HttpAnswer {
  return refusal(401, 'AUTHENTICATION_FAILED', details, { 'www-authenticate': 'Bearer realm="arqonbus"' })
}

export function answerError(error: unknown, logger: Logger): HttpAnswer {
  if (isBusError(error)) {
    const { fault } = errorTable[error.code]
    if (fault === 'client') return answerBusError(error, statuses[error.code] ?? 400)
    if (fault === 'dependency') return answerBusError(error, 503)
  }
  const errorId = randomUUID()
  logger.error('http.request_failed', { error_id: errorId, ...describeError(error) })
  return refusal(500, 'INTERNAL_ERROR', `Internal error; the log has more under ${errorId}`)
}

function answerBusError(error: BusError, status: number): HttpAnswer {
  const { code, details, message } = error
  const { reason } = details
  const { retryAfterMs } = errorTable[code] as { retryAfterMs?: number } // only some rows of the table have it
  const retry = retryAfterMs === undefined ? {} : { 'retry-after': String(Math.ceil(retryAfterMs / 1_000)) }
  return refusal(status, typeof reason === 'string' ? reason : code, message, retry)
}

/** Client errors that are not 400. */
const statuses: Readonly<Partial<Record<ErrorCode, number>>> = {
  AUTHENTICATION_FAILED: 401,
  AUTHORIZATION_ERROR: 403,
  TENANT_MISMATCH: 403,
  ROOM_NOT_FOUND: 404,
  CHANNEL_NOT_FOUND: 404,
  NOT_FOUND: 404,
  RATE_LIMIT_EXCEEDED: 429,
  FEATURE_DISABLED: 503,
}
