// The one error of the SDK: a code to branch on, and what is known about the request that failed.
import { isJsonObject, type JsonObject, type JsonValue } from '../base/json.ts'
import type { Envelope } from '../envelope/envelope.ts'

/**
 * A server's error code (docs/errors.md), or one of the SDK's own:
 * - `CONNECTION_FAILED`: no connection was made (nothing listens, refused with 401, not a bus);
 * - `CONNECTION_LOST`: the connection ended before the answer came;
 * - `REQUEST_TIMEOUT`: no answer in time;
 * - `CLIENT_CLOSED`: this client was closed, by `close()` or because the server said to stay away;
 * - `BUFFER_FULL`: messages came faster than they were taken from an iterator, or too much waits to be sent.
 */
export type ClientErrorCode = string

export class ClientError extends Error {
  readonly code: ClientErrorCode
  /** May the same request be sent again, with the same id? */
  readonly retryable: boolean
  /** What became of a publish: certainly not stored, or not known. */
  readonly outcome: 'not_stored' | 'unknown'
  readonly retryAfterMs: number | undefined
  /** Extra facts the server gave (`reason`, limits, names of fields). */
  readonly details: JsonObject

  constructor(
    code: ClientErrorCode,
    message: string,
    facts: {
      retryable?: boolean
      outcome?: 'not_stored' | 'unknown'
      retryAfterMs?: number | undefined
      details?: JsonObject
      cause?: unknown
    } = {},
  ) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.name = 'ClientError'
    this.code = code
    this.retryable = facts.retryable ?? false
    this.outcome = facts.outcome ?? 'not_stored'
    this.retryAfterMs = facts.retryAfterMs
    this.details = facts.details ?? {}
  }
}

/** The error that an `error` frame, or a `response` with status `error`, tells about. */
export function errorOfAnswer(envelope: Envelope): ClientError {
  const facts = isJsonObject(envelope.payload) ? envelope.payload : {}
  const code = envelope.error_code ?? 'INTERNAL_ERROR'
  return new ClientError(code, messageOf(facts) ?? envelope.error ?? code, {
    retryable: facts['retryable'] === true,
    outcome: facts['outcome'] === 'unknown' ? 'unknown' : 'not_stored',
    retryAfterMs: typeof facts['retry_after_ms'] === 'number' ? facts['retry_after_ms'] : undefined,
    details: facts,
  })
}

function messageOf(facts: JsonObject): string | undefined {
  const first = Array.isArray(facts['errors']) ? facts['errors'][0] : undefined
  return [first, facts['message']].find((text: JsonValue | undefined) => typeof text === 'string' && text !== '') as
    | string
    | undefined
}
