// Proof that the bus delivers: a message published here on a reserved channel is received here (design 6).
// An open port, or a store that answers PING, proves neither.
import type { Clock } from '../base/clock.ts'
import { toIsoTime } from '../base/clock.ts'
import { protocolVersion } from '../base/version.ts'
import type { StreamKey } from '../envelope/envelope.ts'
import type { Rooms } from '../rooms/rooms.ts'
import type { Recipient } from '../rooms/recipient.ts'
import type { Publisher } from '../router/publisher.ts'
import type { Client } from '../session/client.ts'
import { frameFromEnvelope } from '../wire/message-frame.ts'

export interface Canary {
  /** Publishes one canary; resolves true when it came back in time. */
  check(timeoutMs: number): Promise<boolean>
}

export interface CanaryPorts {
  readonly rooms: Rooms
  readonly publisher: Publisher
  readonly clock: Clock
  readonly nextId: () => string
  /** Loads the channel's head from the log, as a join does. */
  readonly open: (key: StreamKey, recipient: Recipient) => Promise<void>
}

/** Where canaries are published. */
export const canaryKey: StreamKey = { tenant: 'arqon-canary', room: 'canary', channel: 'canary' }
const key = canaryKey

export function createCanary(ports: CanaryPorts): Canary {
  const waiting = new Map<string, () => void>()
  const listener: Recipient = {
    id: 'arqon-canary-listener',
    format: 'protobuf',
    isRemote: false,
    write(frames) {
      const bytes = Buffer.from(frames.buffer, frames.byteOffset, frames.length)
      for (const [id, resolve] of waiting) if (bytes.includes(id)) resolve()
    },
  }
  let joined: Promise<void> | undefined

  /** False when it could not be published. */
  async function publish(id: string): Promise<boolean> {
    joined ??= ports.open(key, listener)
    try {
      await joined
    } catch {
      joined = undefined // the log did not answer: asked again at the next round, and this one has failed
      return false
    }
    if (!waiting.has(id)) return false // too late
    const frame = frameFromEnvelope(
      {
        id,
        timestamp: toIsoTime(ports.clock.now()),
        type: 'message',
        version: protocolVersion,
        payload: { canary: id },
        args: {},
        metadata: {},
        room: key.room,
        channel: key.channel,
      },
      { sender: publisherClient.id },
    )
    ports.publisher.publish({
      client: publisherClient,
      key,
      id,
      frame,
      ack: 'none',
      done: undefined,
    })
    return true
  }

  return {
    async check(timeoutMs) {
      const id = ports.nextId()
      const received = new Promise<boolean>((resolve) => waiting.set(id, () => resolve(true)))
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<boolean>((resolve) => {
        timer = setTimeout(resolve, timeoutMs, false)
        timer.unref()
      })
      try {
        return await Promise.race([publish(id).then((isPublished) => isPublished && received), late])
      } finally {
        clearTimeout(timer)
        waiting.delete(id)
      }
    },
  }
}

/** Publishes in the system's name; whatever it is answered says nothing new, the delivery does. */
const publisherClient: Client = {
  id: 'arqon-canary-publisher',
  isRemote: false,
  identity: { tenant: key.tenant, subject: 'canary', role: 'user' },
  format: 'protobuf',
  address: '',
  connectedAtMs: 0,
  inflight: 0,
  isClosed: false,
  send() {},
  write() {},
  close() {},
}
