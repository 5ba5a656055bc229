// Every error code there is: who caused it, whether to retry, what is known about the write, what to say.
// Codes are a contract with clients and operators: never renamed, never reused. docs/errors.md shows this table.

export interface ErrorSpec {
  /** Who has to act: the client that sent it, the server, an upstream service, or the operator. */
  readonly fault: 'client' | 'server' | 'dependency' | 'operator'
  /** May the same request be sent again, with the same id, after `retryAfterMs`? */
  readonly retry: boolean
  /** What became of a publish that got this answer. */
  readonly outcome: 'not_stored' | 'unknown'
  readonly retryAfterMs?: number
  /** Safe default text: no payload, no secret, no internals. */
  readonly text: string
}

const client = (text: string): ErrorSpec => ({ fault: 'client', retry: false, outcome: 'not_stored', text })
const limited = (text: string, retryAfterMs: number): ErrorSpec => ({
  fault: 'client',
  retry: true,
  outcome: 'not_stored',
  retryAfterMs,
  text,
})
const upstream = (text: string, outcome: ErrorSpec['outcome'], retryAfterMs: number): ErrorSpec => ({
  fault: 'dependency',
  retry: true,
  outcome,
  retryAfterMs,
  text,
})
const operator = (text: string): ErrorSpec => ({ fault: 'operator', retry: false, outcome: 'not_stored', text })

export const errorTable = {
  // What a frame can get wrong.
  VALIDATION_ERROR: client('Message validation failed'),
  INFRA_PROTOCOL_ERROR: client('This server takes binary protobuf frames only'),
  UNKNOWN_COMMAND: client('No such command; the help command lists them'),
  COMMAND_NOT_FOUND: client('No such command to explain; help without arguments lists them'),
  SCHEMA_VIOLATION: client('The frame does not match its schema'),
  ID_CONFLICT: client('This message id was already used with another payload; use a new id'),
  INVALID_TIMESTAMP: client('Not an ISO 8601 time'),
  // Who may do what.
  AUTHENTICATION_FAILED: client('Authentication failed'),
  AUTHORIZATION_ERROR: client('Not permitted'),
  TENANT_MISMATCH: client('The frame names another tenant than the token'),
  POLICY_DENIED: client('Refused by policy'),
  POLICY_ERROR: { fault: 'server', retry: false, outcome: 'not_stored', text: 'The policy could not decide; refused' },
  FEATURE_DISABLED: client('This feature is switched off on this server'),
  // Things that are not there, or already are.
  ROOM_NOT_FOUND: client('No such room'),
  CHANNEL_NOT_FOUND: client('No such channel'),
  CHANNEL_EXISTS: client('The channel exists already'),
  TARGET_NOT_FOUND: client('No connected client has that id'),
  NOT_JOINED: client('Not a member of that channel'),
  NOT_FOUND: client('Not found'),
  // Limits.
  RATE_LIMIT_EXCEEDED: limited('Too many frames; slow down', 1_000),
  LIMIT_EXCEEDED: client('A limit is reached'),
  INFLIGHT_EXCEEDED: limited('Too many unacknowledged publishes', 100),
  DEDUP_FULL: limited('The window of remembered message ids is full', 1_000),
  BUFFER_FULL: limited('The buffer for unstored messages is full', 1_000),
  CAPACITY: limited('The server is at its connection limit', 5_000),
  // Dependencies and the link.
  STORE_UNAVAILABLE: upstream('History storage is unavailable; nothing was stored', 'not_stored', 1_000),
  STORE_TIMEOUT: upstream('History storage did not answer in time; send again with the same id', 'unknown', 1_000),
  LINK_UNAVAILABLE: upstream('The link to the bus is down; nothing was stored', 'not_stored', 1_000),
  LINK_GAP: upstream('An earlier frame of this session was lost; send again with the same id', 'not_stored', 0),
  LINK_TIMEOUT: upstream('The bus did not answer in time; send again with the same id', 'unknown', 1_000),
  KEYS_UNAVAILABLE: upstream('The keys that tokens are verified with cannot be fetched', 'not_stored', 5_000),
  DRAINING: upstream('The server is going away; reconnect', 'not_stored', 1_000),
  // Ours.
  EXECUTION_ERROR: { fault: 'server', retry: false, outcome: 'not_stored', text: 'The command failed' },
  INTERNAL_ERROR: { fault: 'server', retry: false, outcome: 'unknown', text: 'Internal error' },
  // The operator's.
  CONFIG_INVALID: operator('The configuration has errors'),
  START_REFUSED: operator('The start-up gate refused to start'),
  LINK_DENIED: operator('The message server refused the credentials or a subject'),
  PORT_UNAVAILABLE: operator('The port cannot be opened'),
  STORE_OPEN_FAILED: operator('The data folder or store cannot be opened'),
  STORE_CORRUPT: operator('The store holds data that cannot be read'),
  USAGE: operator('The command line has errors'),
} as const satisfies Record<string, ErrorSpec>

export type ErrorCode = keyof typeof errorTable

/** Extra facts of an error, safe to show to whoever caused it: names of fields, limits, counts. Never payload text. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | readonly string[]>>

/**
 * The one error class. `message` is safe for the client; put internals in `cause`.
 * `details.reason`, where given, is an upper-case sub-code such as `TOO_DEEP`.
 */
export class BusError extends Error {
  readonly code: ErrorCode
  readonly details: ErrorDetails

  constructor(code: ErrorCode, message: string = errorTable[code].text, details: ErrorDetails = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'BusError'
    this.code = code
    this.details = details
  }
}

export function isBusError(error: unknown, code?: ErrorCode): error is BusError {
  return error instanceof BusError && (code === undefined || error.code === code)
}

/** Short for the commonest refusal: a frame that is not as it has to be. */
export function invalid(reason: string, message: string, details: ErrorDetails = {}): BusError {
  return new BusError('VALIDATION_ERROR', message, { reason, ...details })
}
