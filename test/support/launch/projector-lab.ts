// A NATS server with JetStream, and a producer that hands events to it for certain: what the lane of the projector is
// tested with.
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { startNatsServer } from '../servers/nats-server.ts'

export const subject = 'continuum.episode.v1'
export const stream = 'CONTINUUM_EPISODES'

/** `config`: further lines of the server's; with users, `admin` may do everything. */
export async function startEventServer(config = '') {
  const server = await startNatsServer({ config: `jetstream { store_dir: "js" }\n${config}` })
  const login = config === '' ? {} : { user: 'admin', pass: 'admin' }
  const nc = await connect({ servers: server.url, ...login, maxReconnectAttempts: -1, reconnectTimeWait: 50 })
  const manager = await jetstreamManager(nc)
  return {
    server,
    url: server.url,
    /** As an operator would; the lane makes it where it is not. */
    makeStream: async () => void (await manager.streams.add({ name: stream, subjects: [subject] })),
    /** Resolves when the server keeps all of them, in their order. */
    async publish(messages: readonly Uint8Array[], inFlight = 500): Promise<void> {
      const js = jetstream(nc)
      for (let at = 0; at < messages.length; at += inFlight) {
        await Promise.all(messages.slice(at, at + inFlight).map((message) => js.publish(subject, message)))
      }
    },
    /** Of the lane's place in the stream. */
    async waiting(): Promise<{ unread: number; unacknowledged: number }> {
      const info = await manager.consumers.info(stream, 'arqonbus-projector')
      return { unread: info.num_pending, unacknowledged: info.num_ack_pending }
    },
    /** Forgets how far the lane is. */
    async forgetConsumer(): Promise<void> {
      await manager.consumers.delete(stream, 'arqonbus-projector').catch((error: unknown) => {
        // The consumer is gone; nats-server 2.9 complains of its own file that it was writing.
        if (!String(error).includes('directory not empty')) throw error
      })
    },
    async close() {
      await nc.close()
      await server.close()
    },
  }
}

export type EventServer = Awaited<ReturnType<typeof startEventServer>>
