// WebSocket close codes this system sends. The range tells a client what to do, without reading the reason:
// 1xxx as RFC 6455 says; 40xx come back; 44xx come back with a new token; 45xx stay away until something is changed.

export interface CloseSpec {
  readonly code: number
  readonly next: 'reconnect' | 'new-token' | 'stay-away'
  readonly text: string
}

const spec = (code: number, next: CloseSpec['next'], text: string): CloseSpec => ({ code, next, text })

export const closeTable = {
  NORMAL: spec(1000, 'stay-away', 'closed normally'),
  GOING_AWAY: spec(1001, 'reconnect', 'the server is going away'),
  PROTOCOL_ERROR: spec(1002, 'stay-away', 'not valid WebSocket framing'),
  BAD_UTF8: spec(1007, 'stay-away', 'text that is not UTF-8'),
  POLICY_VIOLATION: spec(1008, 'stay-away', 'not permitted on this endpoint'),
  FRAME_TOO_LARGE: spec(1009, 'stay-away', 'frame larger than the limit'),
  INTERNAL: spec(1011, 'reconnect', 'internal error'),
  RESTART: spec(1012, 'reconnect', 'the server restarts'),
  CAPACITY: spec(1013, 'reconnect', 'the server is full'),
  SLOW_CONSUMER: spec(4008, 'reconnect', 'reads slower than it is written to'),
  PING_TIMEOUT: spec(4009, 'reconnect', 'no pong in time'),
  LINK_LOST: spec(4010, 'reconnect', 'the bus behind the gateway is gone'),
  FLOOD: spec(4029, 'reconnect', 'too many refused frames'),
  TOKEN_EXPIRED: spec(4401, 'new-token', 'the token has expired'),
  TOKEN_REVOKED: spec(4403, 'new-token', 'the token was revoked'),
  REFUSED_TOO_OFTEN: spec(4503, 'stay-away', 'too many frames refused by schema or policy'),
} as const satisfies Record<string, CloseSpec>

export type CloseName = keyof typeof closeTable

/** What a client should do after a close code, also for codes of other servers. */
export function nextAfterClose(code: number): CloseSpec['next'] {
  for (const entry of Object.values(closeTable)) if (entry.code === code) return entry.next
  if (code >= 4500) return 'stay-away'
  if (code >= 4400) return 'new-token'
  return 'reconnect'
}
