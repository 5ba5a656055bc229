// Kills `arqonbus up` again and again under load and records what clients saw, as a history for the checker: publishers
// that retry the same id while an outcome is unknown, readers that recover after each restart, and the log read whole.
import { connect, type Client, ClientError } from '../../../src/client/client.ts'
import { createMessageIds } from '../../../src/base/ids.ts'
import type { JsonObject } from '../../../src/base/json.ts'
import type { Envelope, Position } from '../../../src/envelope/envelope.ts'
import type { HistoryEvent } from '../history-checker.ts'
import { createTempDir, findUpPorts, launchUp, removeTempDir } from './launch-up.ts'
import { raisedLimits } from './raised-limits.ts'
import { createSeeded } from './seeded.ts'
import { answers, dataOf, isMessage, positionOf, toPosition, WireClient } from './wire-client.ts'

export interface KillRunOptions {
  readonly seed: number
  readonly kills: number
  readonly backend: 'embedded' | 'memory'
  /** A kill comes after a random number of acknowledgements of the life, within these bounds. */
  readonly acksPerLife: readonly [number, number]
  /** Acknowledgements after the last kill; 0 ends publishing at the kill, but for what was under way. */
  readonly acksAtEnd: number
  readonly onKill?: (kill: number, acks: number) => void
}

export interface KillReport {
  readonly events: readonly HistoryEvent[]
  readonly acks: number
  /** Attempts whose outcome stayed unknown: they were retried under the same id. */
  readonly unknown: number
  /** Retries that were answered `duplicate`: the killed process had stored them and could not say so. */
  readonly duplicates: number
  readonly recoveries: number
  readonly refusedRecoveries: number
  /** Messages that recoveries brought back. */
  readonly replayed: number
  /** Acknowledged ids that are not in the log at the end. */
  readonly missing: readonly string[]
  /** Acknowledged ids of all lives that were sent again at the end, and those not answered as the duplicates they are. */
  readonly resent: { readonly count: number; readonly wrong: readonly string[] }
  readonly exitCode: number | null
}

const room = 'lab'
const channels = ['alpha', 'beta', 'gamma', 'delta'] as const
const publisherCount = 8
/** For the acknowledgements of one life of the server, restarts of clients included. */
const deadlineMs = 30_000
const resendAtMost = 1_500
/** Publishes of one publisher under way at once. */
const window = 8

interface Message {
  readonly id: string
  readonly channel: string
  readonly payload: JsonObject
}

const hashOf = ({ p, n, pad }: JsonObject): string => JSON.stringify([p, n, pad])
/** All messages are in one tenant and room: the channel names the stream. */
const streamOf = (channel: string): string => channel

export async function runKills(options: KillRunOptions): Promise<KillReport> {
  const { seed, kills, backend } = options
  const random = createSeeded(seed)
  const dataDir = await createTempDir()
  const launch = { dataDir, ports: await findUpPorts(), env: { ...raisedLimits, ARQONBUS_STORAGE_BACKEND: backend } }
  const events: HistoryEvent[] = []
  const acked = new Map<string, Message & { readonly position: Position }>()
  const counts = { unknown: 0, duplicates: 0, recoveries: 0, refusedRecoveries: 0, replayed: 0 }
  const nextId = createMessageIds(Date.now())
  let onAck = (): void => undefined
  let isPublishing = true
  const open: (Client | Reader)[] = []
  let up = await launchUp(launch)

  /** One message until it is acknowledged, however many lives of the server that takes. */
  async function deliver(client: Client, publisher: string, message: Message): Promise<void> {
    const { id, channel, payload } = message
    const stream = streamOf(channel)
    for (;;) {
      events.push({ op: 'publish', stream, publisher, id, hash: hashOf(payload) })
      try {
        const how = { id, ack: 'stored', retry: false, timeoutMs: 20_000 } as const
        const { position, duplicate } = await client.publish(room, channel, payload, how)
        events.push({ op: 'ack', stream, id, ...position! })
        if (duplicate) counts.duplicates++
        acked.set(id, { ...message, position: position! })
        onAck()
        return
      } catch (error) {
        if (!(error instanceof ClientError) || !error.retryable) throw error
        if (error.outcome === 'unknown') counts.unknown++
        events.push({ op: error.outcome === 'unknown' ? 'timeout' : 'nack', stream, id })
      }
    }
  }

  async function publishOn(client: Client, publisher: string): Promise<void> {
    const underWay = new Set<Promise<void>>()
    for (let n = 1; isPublishing; n++) {
      const channel = random.pick(channels)
      const payload = { p: publisher, n, pad: 'x'.repeat(random.int(0, 200)) }
      const sending = deliver(client, publisher, { id: nextId(), channel, payload })
      underWay.add(sending)
      void sending.then(
        () => underWay.delete(sending),
        () => undefined, // stays in the set, and fails the run below
      )
      if (underWay.size >= window) await Promise.race(underWay)
    }
    await Promise.all(underWay)
  }

  function acksReach(target: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = setTimeout(
      () => reject(new Error(`${acked.size} of ${target} acknowledgements within ${deadlineMs} ms`)),
      deadlineMs,
    )
    onAck = () => {
      if (acked.size >= target) resolve()
    }
    onAck()
    return promise.finally(() => clearTimeout(timer))
  }

  try {
    const clients = await Promise.all(
      Array.from({ length: publisherCount }, (_, index) =>
        connect({
          url: index % 2 === 0 ? up.busUrl : up.shieldUrl,
          token: up.token,
          format: index % 4 < 2 ? 'json' : 'protobuf',
        }),
      ),
    )
    open.push(...clients)
    // One joins each channel at the bus, the other the whole room through Shield.
    const readers = [createReader('by-channel', channels), createReader('by-room', ['*'])]
    open.push(...readers)
    const resumeAll = async (): Promise<void> => {
      await Promise.all([readers[0]!.resume(up.busUrl, up.token), readers[1]!.resume(up.shieldUrl, up.token)])
    }
    await resumeAll()
    const publishing = Promise.all(clients.map((client, index) => publishOn(client, `publisher-${index}`)))

    for (let kill = 1; kill <= kills; kill++) {
      await Promise.race([acksReach(acked.size + random.int(...options.acksPerLife)), publishing])
      await up.kill()
      if (kill === kills && options.acksAtEnd === 0) isPublishing = false
      if (backend === 'memory') events.push({ op: 'fault', kind: 'store-lost' })
      options.onKill?.(kill, acked.size)
      up = await launchUp(launch)
      await resumeAll()
    }
    await Promise.race([acksReach(acked.size + options.acksAtEnd), publishing])
    isPublishing = false
    await publishing

    const log = await readLog()
    const missing = [...acked.keys()].filter((id) => !log.has(id))
    const resent = await resend()
    for (const one of open.splice(0)) await one.close()
    return { events, acks: acked.size, ...counts, missing, resent, exitCode: await up.stop() }
  } finally {
    isPublishing = false
    for (const one of open) await one.close()
    await up.kill()
    await removeTempDir(dataDir)
  }

  /** Every record of every channel, from the first: what a restart must have kept. */
  async function readLog(): Promise<Set<string>> {
    const ids = new Set<string>()
    const client = await WireClient.connect(up.busUrl, { token: up.token })
    for (const channel of channels) {
      const { epoch, sequence } = toPosition(dataOf(await client.join(room, channel))['position'])
      const events0: Position = { epoch, sequence: 0 }
      events.push({ op: 'resume', stream: streamOf(channel), reader: 'log', recovered: true, ...events0 })
      const answer = await client.join(room, channel, { ...events0 })
      if (dataOf(answer)['recovered'] !== true)
        throw new Error(`the log was not read: ${JSON.stringify(answer.payload)}`)
      for (const frame of await client.received(sequence, channel)) {
        ids.add(frame.id)
        events.push(toDeliver('log', frame))
      }
    }
    await client.close()
    return ids
  }

  /** Sends ids of all lives once more, some by another way than before: nothing new may be stored. */
  async function resend(): Promise<KillReport['resent']> {
    const wrong: string[] = []
    const ways = await Promise.all([
      connect({ url: up.busUrl, format: 'json' }),
      connect({ url: up.shieldUrl, token: up.token, format: 'protobuf' }),
    ])
    const epoch = Math.max(...[...acked.values()].map(({ position }) => position.epoch))
    const remembered = [...acked.values()].filter(({ position }) => position.epoch === epoch)
    const step = Math.ceil(remembered.length / resendAtMost)
    const again = remembered.filter((_, index) => index % step === 0)
    await Promise.all(
      again.map(async ({ id, channel, payload, position }, index) => {
        const answer = await ways[index % 2]!.publish(room, channel, payload, { id })
        const isSame = answer.duplicate && answer.position?.sequence === position.sequence
        if (!isSame) wrong.push(`${id}: ${JSON.stringify(answer)}, stored at ${position.sequence}`)
      }),
    )
    for (const way of ways) await way.close()
    return { count: again.length, wrong }
  }

  function toDeliver(reader: string, frame: Envelope): HistoryEvent {
    const { id, channel, payload } = frame
    const stream = streamOf(channel ?? '')
    return { op: 'deliver', stream, reader, id, hash: hashOf(payload as JsonObject), ...positionOf(frame) }
  }

  interface Reader {
    /** Joins anew, from the last position seen where there is one; resolves when all joins were answered. */
    resume(url: string, token: string): Promise<void>
    close(): Promise<void>
  }

  function createReader(name: string, joined: readonly string[]): Reader {
    const seen = new Map<string, Position>()
    let client: WireClient | undefined

    /** In the turn in which the answer arrives: what was missed follows it at once. */
    function onJoined(data: JsonObject): void {
      const isRoom = data['channel'] === '*'
      const positions = isRoom ? (data['positions'] as JsonObject) : { [data['channel'] as string]: data['position']! }
      for (const [channel, position] of Object.entries(positions)) {
        const from = seen.get(channel)
        const outcome = isRoom ? ((data['recoveries'] ?? {}) as JsonObject)[channel] : data
        const recovered = from !== undefined && (outcome as JsonObject | undefined)?.['recovered'] === true
        const start = recovered ? from : toPosition(position)
        if (from !== undefined) counts[recovered ? 'recoveries' : 'refusedRecoveries']++
        events.push({ op: 'resume', stream: streamOf(channel), reader: name, recovered, ...start })
        seen.set(channel, start)
      }
      counts.replayed += Number(data['replayed'] ?? 0)
    }

    return {
      async resume(url, token) {
        await client?.terminate()
        const joins = new Set<string>()
        const fresh = await WireClient.connect(url, {
          token,
          onFrame(frame) {
            if (frame.type === 'response' && joins.has(frame.request_id ?? '')) onJoined(dataOf(frame))
            if (!isMessage(frame)) return
            events.push(toDeliver(name, frame))
            seen.set(frame.channel!, positionOf(frame))
          },
        })
        client = fresh
        for (const channel of joined) {
          const from = channel === '*' ? Object.fromEntries(seen) : seen.get(channel)
          const recover =
            from === undefined || Object.keys(from).length === 0 ? {} : { recover: { ...from } as JsonObject }
          const id = fresh.send({ type: 'command', command: 'join_channel', args: { room, channel, ...recover } })
          joins.add(id)
          const answer = await fresh.until((frame) => answers(frame, id), `answer to the join of ${channel}`)
          if (answer.status !== 'success') throw new Error(`${name} did not join: ${JSON.stringify(answer)}`)
        }
      },
      async close() {
        await client?.terminate()
      },
    }
  }
}
