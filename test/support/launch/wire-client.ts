// A client that shows exactly what arrived: every frame in order, nothing dropped, repeated or repaired. The SDK hides
// duplicates and comes back by itself; here both would be what a test looks for.
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { createMessageIds } from '../../../src/base/ids.ts'
import { isJsonObject, type JsonObject } from '../../../src/base/json.ts'
import type { Envelope, Position, WireFormat } from '../../../src/envelope/envelope.ts'
import { encodeJson } from '../../../src/wire/json-codec.ts'
import { defaultWireLimits } from '../../../src/wire/limits.ts'
import { decodeProtobuf, encodeProtobuf } from '../../../src/wire/protobuf-codec.ts'

export interface WireClientOptions {
  readonly token?: string | undefined
  readonly format?: WireFormat
  /** Whatever should be sent along with the upgrade. */
  readonly headers?: Readonly<Record<string, string>>
  /** Called with each frame in the turn in which it arrives, the welcome included. */
  readonly onFrame?: (frame: Envelope, isBinary: boolean) => void
  readonly deadlineMs?: number
}

interface Waiter {
  readonly fits: (frame: Envelope) => boolean
  readonly resolve: (frame: Envelope) => void
  readonly reject: (error: Error) => void
}

const nextId = createMessageIds(Date.now())
/** A page of history nests whole envelopes once more. */
const limits = { ...defaultWireLimits, maxDepth: 64, maxKeys: 1_000_000, maxArrayItems: 1_000_000 }

export class WireClient {
  readonly frames: Envelope[] = []
  /** Was the frame at the same index binary? */
  readonly isBinary: boolean[] = []
  readonly ws: WebSocket
  /** Resolves when the socket is closed, by whomever. */
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
  format: WireFormat
  id = ''
  readonly #waiters = new Set<Waiter>()
  readonly #deadlineMs: number
  #closeCode: number | undefined

  private constructor(url: string, options: WireClientOptions) {
    const { token, headers } = options
    this.format = options.format ?? 'json'
    this.#deadlineMs = options.deadlineMs ?? 20_000
    this.ws = new WebSocket(url, {
      perMessageDeflate: false,
      headers: { ...(token !== undefined && { authorization: `Bearer ${token}` }), ...headers },
    })
    this.ws.on('error', () => undefined) // a close follows
    this.ws.on('message', (data: Buffer, isBinary: boolean) => {
      const frame = isBinary ? decodeProtobuf(data, limits) : (JSON.parse(data.toString('utf8')) as Envelope)
      this.frames.push(frame)
      this.isBinary.push(isBinary)
      options.onFrame?.(frame, isBinary)
      for (const waiter of this.#waiters) {
        if (!waiter.fits(frame)) continue
        this.#waiters.delete(waiter)
        waiter.resolve(frame)
      }
    })
    this.closed = new Promise((resolve) => {
      this.ws.once('close', (code, reason) => {
        this.#closeCode = code
        for (const waiter of this.#waiters) waiter.reject(new Error(`closed with ${code}`))
        this.#waiters.clear()
        resolve({ code, reason: reason.toString() })
      })
    })
  }

  /** Resolves when the welcome has come. */
  static async connect(url: string, options: WireClientOptions = {}): Promise<WireClient> {
    const client = new WireClient(url, options)
    const welcome = await client.until(isWelcome, 'welcome')
    client.id = (welcome.payload as { client_id: string }).client_id
    return client
  }

  /** The first frame that fits, of those that came or that will. Rejects at the deadline and when the socket closes. */
  until(fits: (frame: Envelope) => boolean, what: string): Promise<Envelope> {
    const known = this.frames.find(fits)
    if (known !== undefined) return Promise.resolve(known)
    if (this.#closeCode !== undefined) return Promise.reject(new Error(`no ${what}: closed with ${this.#closeCode}`))
    const { promise, resolve, reject } = Promise.withResolvers<Envelope>()
    const waiter: Waiter = { fits, resolve, reject }
    const timer = setTimeout(() => {
      this.#waiters.delete(waiter)
      const seen = this.frames.slice(-8).map((f) => `${f.type}:${f.error_code ?? f.status ?? ''}`)
      reject(new Error(`no ${what} within ${this.#deadlineMs} ms; last frames: ${seen.join(' ')}`))
    }, this.#deadlineMs)
    this.#waiters.add(waiter)
    return promise.finally(() => clearTimeout(timer))
  }

  /** Sends a frame of this client's format; returns its id. */
  send(fields: Partial<Envelope>): string {
    const envelope: Envelope = {
      id: nextId(),
      timestamp: new Date().toISOString(),
      type: 'message',
      version: '1.0',
      payload: {},
      args: {},
      metadata: {},
      ...fields,
    }
    this.ws.send(this.format === 'json' ? encodeJson(envelope) : encodeProtobuf(envelope))
    return envelope.id
  }

  /** Sends, and resolves with the acknowledgement, the response or the error about it. */
  ask(fields: Partial<Envelope>): Promise<Envelope> {
    const id = this.send(fields)
    return this.until((frame) => answers(frame, id), `answer to ${id}`)
  }

  command(command: string, args: JsonObject = {}): Promise<Envelope> {
    return this.ask({ type: 'command', command, args })
  }

  join(room: string, channel: string, recover?: JsonObject): Promise<Envelope> {
    return this.command('join_channel', { room, channel, ...(recover !== undefined && { recover }) })
  }

  publish(room: string, channel: string, payload: JsonObject, metadata: JsonObject = {}): Promise<Envelope> {
    return this.ask({ room, channel, payload, metadata })
  }

  /** Published messages received, in the order of arrival. */
  messages(channel?: string): Envelope[] {
    return this.frames.filter((f) => isMessage(f) && (channel === undefined || f.channel === channel))
  }

  /** Resolves with the messages when `count` are there. */
  async received(count: number, channel?: string): Promise<Envelope[]> {
    let seen = 0
    const isCounted = (frame: Envelope): boolean =>
      isMessage(frame) && (channel === undefined || frame.channel === channel)
    // Counts those that came, then those that come: `until` looks at each frame once, in order.
    if (count > 0) await this.until((frame) => isCounted(frame) && ++seen === count, `${count} messages`)
    return this.messages(channel)
  }

  async close(): Promise<void> {
    this.ws.close(1000)
    await this.closed
  }

  async terminate(): Promise<void> {
    this.ws.terminate()
    if (this.ws.readyState !== this.ws.CLOSED) await once(this.ws, 'close')
  }
}

export function isWelcome(frame: Envelope): boolean {
  return frame.type === 'message' && isJsonObject(frame.payload) && 'welcome' in frame.payload
}

export function isMessage(frame: Envelope): boolean {
  return (frame.type === 'message' || frame.type === 'telemetry') && !isWelcome(frame)
}

export function answers(frame: Envelope, id: string): boolean {
  return (frame.type === 'message_response' && frame.id === id) || frame.request_id === id
}

export function dataOf({ payload }: Envelope): JsonObject {
  const data = isJsonObject(payload) ? payload['data'] : undefined
  return isJsonObject(data) ? data : {}
}

export function positionOf(frame: Envelope): Position {
  return toPosition(frame.metadata['position'])
}

export function toPosition(value: unknown): Position {
  if (!isJsonObject(value)) throw new Error(`not a position: ${JSON.stringify(value)}`)
  return { epoch: Number(value['epoch']), sequence: Number(value['sequence']) }
}
