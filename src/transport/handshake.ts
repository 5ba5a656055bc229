// The upgrade of RFC 6455 4.2: what a request must have, and the answer that makes it a WebSocket.
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { HttpRefusal } from './http-refusal.ts'

/** The one subprotocol; offered tokens and the like are never echoed (reliability 0.2, L26). */
const subprotocol = 'arqon.v1'
/** Appended to the key before it is hashed (RFC 6455 1.3). */
const keySuffix = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
/** 16 bytes as base64. */
const keyForm = /^[+/0-9A-Za-z]{22}==$/

/** Why the request is no upgrade to a WebSocket, or undefined. */
export function judgeUpgrade({ method, headers }: IncomingMessage): HttpRefusal | undefined {
  if (method !== 'GET') return badUpgrade('the method must be GET', 405, { allow: 'GET' })
  if (headers.upgrade?.toLowerCase() !== 'websocket') return badUpgrade('Upgrade must be websocket')
  if (headers['sec-websocket-version'] !== '13') return badUpgrade('Sec-WebSocket-Version must be 13')
  if (!keyForm.test(headers['sec-websocket-key'] ?? ''))
    return badUpgrade('Sec-WebSocket-Key must be 16 bytes of base64')
  return undefined
}

function badUpgrade(details: string, status = 400, headers: Readonly<Record<string, string>> = {}): HttpRefusal {
  return { status, body: { error: 'Bad Request', details }, headers: { 'sec-websocket-version': '13', ...headers } }
}

/** Answers 101; the socket then carries frames. No extension is agreed to. */
export function acceptUpgrade({ headers }: IncomingMessage, socket: Socket): void {
  const accept = createHash('sha1').update(`${headers['sec-websocket-key']}${keySuffix}`).digest('base64')
  const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
  const lines = [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${accept}`,
  ]
  if (offered.includes(subprotocol)) lines.push(`Sec-WebSocket-Protocol: ${subprotocol}`)
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
}
