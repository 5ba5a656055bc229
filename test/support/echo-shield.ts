// A Shield that does everything right at its door - tokens, schema, JSON, rooms, tenants - and whose link is cut off: what it
// acknowledges goes no further than to its own members, the sender among them.
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { createAuthenticator } from '../../src/auth/authenticator.ts'
import { systemClock, toIsoTime } from '../../src/base/clock.ts'
import { createMessageIds } from '../../src/base/ids.ts'
import type { JsonObject } from '../../src/base/json.ts'
import { protocolVersion } from '../../src/base/version.ts'
import type { Envelope } from '../../src/envelope/envelope.ts'
import { authenticateUpgrade } from '../../src/shield/authenticate.ts'
import { defaultWireLimits } from '../../src/wire/limits.ts'
import { decodeProtobuf, encodeProtobuf } from '../../src/wire/protobuf-codec.ts'

export interface EchoShield {
  /** With the path. */
  readonly url: string
  close(): Promise<void>
}

interface Session {
  readonly tenant: string
  readonly places: Set<string>
  send(fields: Partial<Envelope> & Pick<Envelope, 'type'>): void
}

export async function startEchoShield(secret: string): Promise<EchoShield> {
  const nextId = createMessageIds(systemClock.now())
  const sessions = new Set<Session>()
  const authenticator = await createAuthenticator({
    algorithm: 'HS256',
    secret,
    clock: systemClock,
    allowReservedTenants: true,
    requireClaims: true,
  })

  function answer(session: Session, data: Buffer, isBinary: boolean): void {
    const frame = isBinary ? readFrame(data) : undefined
    if (frame === undefined) {
      session.send({ type: 'error', error_code: isBinary ? 'SCHEMA_VIOLATION' : 'INFRA_PROTOCOL_ERROR' })
    } else if (frame.type === 'command') {
      session.places.add(placeOf(frame.args))
      session.send({ type: 'response', request_id: frame.id, status: 'success' })
    } else {
      const { room, channel, payload, id } = frame
      for (const other of sessions) {
        const isThere = other.tenant === session.tenant && other.places.has(placeOf({ room: room!, channel: channel! }))
        if (isThere) other.send({ type: 'message', room: room!, channel: channel!, payload })
      }
      session.send({ type: 'message_response', id, request_id: id, status: 'success' })
    }
  }

  const server = createServer()
  const sockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', (request, socket, head) => {
    void authenticateUpgrade(request, authenticator, () => undefined).then((outcome) => {
      if (!('identity' in outcome)) {
        const body = JSON.stringify(outcome.body)
        socket.end(`HTTP/1.1 ${outcome.status} Refused\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
        return
      }
      sockets.handleUpgrade(request, socket, head, (ws) => {
        const session: Session = {
          tenant: outcome.identity.tenant,
          places: new Set(),
          send: (fields) => ws.send(encodeProtobuf(frameOf({ id: nextId(), ...fields }))),
        }
        sessions.add(session)
        ws.on('close', () => sessions.delete(session))
        ws.on('message', (data, isOne) => answer(session, data as Buffer, isOne)) // a Buffer: binaryType is nodebuffer
        session.send({ type: 'message', payload: { client_id: nextId() } })
      })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `ws://127.0.0.1:${(server.address() as { port: number }).port}/ws`,
    async close() {
      for (const client of sockets.clients) client.terminate()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function readFrame(data: Buffer): Envelope | undefined {
  try {
    return decodeProtobuf(data, defaultWireLimits)
  } catch {
    return undefined
  }
}

const placeOf = ({ room, channel }: JsonObject): string => JSON.stringify([room, channel])

const frameOf = (fields: Partial<Envelope> & Pick<Envelope, 'id' | 'type'>): Envelope => ({
  timestamp: toIsoTime(systemClock.now()),
  version: protocolVersion,
  payload: {},
  args: {},
  metadata: {},
  ...fields,
})
