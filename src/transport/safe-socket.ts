// Closing a WebSocket without ever throwing: `ws` throws on an illegal code and on a reason over 123 bytes, and either
// one would take the process down (reliability 3.2, rows 38 and 39). All closes of this system go through here.
import type { WebSocket } from 'ws'
import { type CloseName, closeTable } from '../base/close-codes.ts'

/** Below the 123 bytes a close frame can hold (RFC 6455, 5.5). */
const maxReasonBytes = 120

/** `NAME detail`, cut at 120 bytes without splitting a character. */
export function closeReason(name: CloseName, detail?: string): string {
  const reason = (detail === undefined ? name : `${name} ${detail}`).toWellFormed()
  const bytes = Buffer.from(reason)
  if (bytes.length <= maxReasonBytes) return reason
  let end = maxReasonBytes
  while ((bytes[end]! & 0xc0) === 0x80) end-- // inside a character: back to its first byte
  return bytes.toString('utf8', 0, end)
}

/** Starts the close handshake; harmless on a socket in any state. `detail` is for the peer: no payload, no secret. */
export function safeClose(ws: WebSocket, name: CloseName, detail?: string): void {
  if (ws.readyState === ws.OPEN) ws.close(closeTable[name].code, closeReason(name, detail))
  else if (ws.readyState === ws.CONNECTING) ws.terminate()
}
