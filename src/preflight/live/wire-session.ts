// One client of the bus or of Shield as a probe needs it: sends envelopes, keeps every frame in order, waits for one.
import { type RawData, WebSocket } from 'ws'
import { toIsoTime } from '../../base/clock.ts'
import { createMessageIds } from '../../base/ids.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../../base/json.ts'
import { protocolVersion } from '../../base/version.ts'
import type { Envelope } from '../../envelope/envelope.ts'
import { decodeJson, encodeJson } from '../../wire/json-codec.ts'
import { defaultWireLimits } from '../../wire/limits.ts'
import { decodeProtobuf, encodeProtobuf } from '../../wire/protobuf-codec.ts'
import type { CheckPorts } from '../check.ts'
import { sha256 } from '../runtime/host.ts'
import { ProbeStop } from '../stops.ts'
import { createInbox, type Inbox } from './inbox.ts'

export interface WireSession {
  readonly clientId: string
  readonly inbox: Inbox<Envelope>
  /** Joins, and waits for the answer. */
  join(room: string, channel: string): Promise<void>
  /** Publishes, and waits for the acknowledgement. Resolves with the digest of the binary frame; without one for text. */
  publish(room: string, channel: string, payload: JsonObject): Promise<string | undefined>
  /** Payloads of the newest 50 messages that are kept of the channel, oldest first; none where it may not be asked. */
  kept(room: string, channel: string): Promise<readonly JsonObject[]>
  /** A message with an id of its own, not sent. */
  message(room: string, channel: string, payload: JsonObject): Envelope
  /** Text or binary as it is, right or wrong. */
  send(frame: string | Uint8Array): void
  close(): void
}

/** `name` says which target it was. Rejects with ProbeStop unless the welcome comes first. */
export async function openWireSession(
  name: string,
  url: URL,
  token: string | undefined,
  ports: CheckPorts,
  signal: AbortSignal,
): Promise<WireSession> {
  const { values } = ports.ctx.resolution
  const isJson = values.allowJsonInfra || values.infraProtocol === 'json'
  const inbox = createInbox<Envelope>(name, signal)
  const socket = openSocket(url, token)
  feed(socket, inbox, signal, (data, isBinary) =>
    isBinary ? decodeProtobuf(data, defaultWireLimits) : decodeJson(data.toString('utf8'), defaultWireLimits),
  )
  const nextId = createMessageIds(ports.clock.now())

  function make(fields: Partial<Envelope> & Pick<Envelope, 'type'>): Envelope {
    return {
      id: nextId(),
      timestamp: toIsoTime(ports.clock.now()),
      version: protocolVersion,
      payload: {},
      args: {},
      metadata: {},
      ...fields,
    }
  }
  function send(fields: Partial<Envelope> & Pick<Envelope, 'type'>): { id: string; digest?: string } {
    const envelope = make(fields)
    const { id } = envelope
    const frame = isJson ? encodeJson(envelope) : encodeProtobuf(envelope)
    socket.send(frame)
    return typeof frame === 'string' ? { id } : { id, digest: sha256(frame) }
  }

  const welcome = await inbox.first()
  const clientId = textAt(welcome.payload, 'client_id')
  if (welcome.type !== 'message' || clientId === undefined) {
    socket.terminate()
    throw wrong(name, 'NO_WELCOME', `the first frame is a ${welcome.type} without client_id`)
  }
  return {
    clientId,
    inbox,
    async join(room, channel) {
      const { id } = send({ type: 'command', command: 'join_channel', args: { room, channel } })
      const answer = await inbox.next((frame) => frame.request_id === id)
      if (answer.status !== 'success') throw wrong(name, 'JOIN_REFUSED', refusalOf(answer))
    },
    async publish(room, channel, payload) {
      const { id, digest } = send({ type: 'message', room, channel, payload })
      const answer = await inbox.next(
        (frame) => frame.request_id === id || (frame.type === 'message_response' && frame.id === id),
      )
      if (answer.type !== 'message_response') throw wrong(name, 'PUBLISH_REFUSED', refusalOf(answer))
      return digest
    },
    async kept(room, channel) {
      const { id } = send({ type: 'command', command: 'history', args: { room, channel } })
      const { payload } = await inbox.next((frame) => frame.request_id === id)
      const { history } = objectAt(payload, 'data')
      return Array.isArray(history) ? history.map((entry) => objectAt(objectAt(entry, 'envelope'), 'payload')) : []
    },
    message: (room, channel, payload) => make({ type: 'message', room, channel, payload }),
    send: (frame) => socket.send(frame),
    close: () => socket.terminate(),
  }
}

/** No compression, no redirect, frames up to 1 MiB. */
export function openSocket(url: URL, token: string | undefined): WebSocket {
  return new WebSocket(url, {
    perMessageDeflate: false,
    followRedirects: false,
    maxPayload: 1_048_576,
    ...(token !== undefined && { headers: { authorization: `Bearer ${token}` } }),
  })
}

/** Puts every frame of the socket into the inbox, in order; its end ends the inbox; the signal ends the socket. */
export function feed<T>(
  socket: WebSocket,
  inbox: Inbox<T>,
  signal: AbortSignal,
  decode: (data: Buffer, isBinary: boolean) => T,
): void {
  socket.on('message', (data: RawData, isBinary) => {
    try {
      inbox.put(decode(data as Buffer, isBinary)) // a Buffer: binaryType is left at nodebuffer
    } catch (cause) {
      inbox.end(wrong(inbox.name, 'UNREADABLE_FRAME', cause instanceof Error ? cause.message : 'not a frame'))
    }
  })
  socket.on('unexpected-response', (request, response) => {
    request.destroy()
    inbox.end(wrong(inbox.name, 'UPGRADE_REFUSED', `HTTP ${response.statusCode}`))
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    // The library's own codes are about bytes that are no frame; the system's have names of their own.
    const isFrame = error.code?.startsWith('WS_ERR_') === true
    inbox.end(isFrame ? wrong(inbox.name, 'UNREADABLE_FRAME', error.message) : error)
  })
  socket.on('close', (code) => inbox.end(wrong(inbox.name, 'CLOSED', `closed with ${code}`)))
  signal.addEventListener('abort', () => socket.terminate(), { once: true })
}

/** `name`: the target that answered so. */
function wrong(name: string, code: string, found: string): ProbeStop {
  return new ProbeStop(code, found, name)
}

function refusalOf({ type, error_code: code, error }: Envelope): string {
  return `${type} ${code ?? ''} ${error ?? ''}`.trimEnd()
}

/** Empty where there is none. */
function objectAt(value: JsonValue, key: string): JsonObject {
  const found = isJsonObject(value) ? value[key] : undefined
  return isJsonObject(found) ? found : {}
}

function textAt(value: JsonValue, key: string): string | undefined {
  const found = isJsonObject(value) ? value[key] : undefined
  return typeof found === 'string' ? found : undefined
}
