// Clients that publish without pause and read all the while, as a history for the checker. A publisher sends the same
// id until it is acknowledged, through whichever Shield still takes it.
import { setTimeout as pause } from 'node:timers/promises'
import { createMessageIds } from '../../../src/base/ids.ts'
import type { JsonObject } from '../../../src/base/json.ts'
import { type Client, ClientError, connect } from '../../../src/client/client.ts'
import type { Envelope, Position } from '../../../src/envelope/envelope.ts'
import type { HistoryEvent } from '../history-checker.ts'
import { dataOf, isMessage, positionOf, toPosition, WireClient } from './wire-client.ts'

export const room = 'lab'
const window = 8
const deadlineMs = 60_000
const retryMs = 25

export interface Traffic {
  readonly events: HistoryEvent[]
  /** Messages a reader was told it will not get. */
  readonly gaps: string[]
  readonly acks: number
  readonly counts: { unknown: number; refused: number; duplicates: number }
  /** Resolves when so many more publishes were acknowledged. */
  more(acks: number): Promise<void>
  publisher(urls: readonly string[], format: 'json' | 'protobuf'): void
  /** Joins every channel, from the last position seen where there is one. */
  reader(name: string, url: string): Promise<WireClient>
  /** Ends the publishers; rejects if one of them failed. */
  stop(): Promise<void>
  /** Every record of every channel, read from the log. */
  readLog(url: string): Promise<void>
}

const hashOf = (payload: JsonObject): string => JSON.stringify([payload['p'], payload['n']])

export function createTraffic(token: string | undefined, channels: readonly string[]): Traffic {
  const events: HistoryEvent[] = []
  const gaps: string[] = []
  const counts = { unknown: 0, refused: 0, duplicates: 0 }
  const nextId = createMessageIds(Date.now())
  const seen = new Map<string, Position>()
  const publishing: Promise<void>[] = []
  const waiting = new Set<() => void>()
  let acks = 0
  let isPublishing = true

  async function publishOn(name: string, urls: readonly string[], format: 'json' | 'protobuf'): Promise<void> {
    let attempt = 0
    let client: Promise<Client> | undefined
    /** One connection for all that is under way; after a loss, the next Shield. */
    const current = (): Promise<Client> => {
      const url = urls[attempt++ % urls.length]!
      client ??= connect({ url, ...(token !== undefined && { token }), format, reconnect: false })
      return client
    }
    async function deliver(id: string, channel: string, payload: JsonObject): Promise<void> {
      for (;;) {
        events.push({ op: 'publish', stream: channel, publisher: name, id, hash: hashOf(payload) })
        const used = current()
        try {
          const answer = await (await used).publish(room, channel, payload, {
            id,
            ack: 'stored',
            retry: false,
            timeoutMs: 5_000,
          })
          events.push({ op: 'ack', stream: channel, id, ...answer.position! })
          if (answer.duplicate) counts.duplicates++
          acks++
          for (const check of waiting) check()
          return
        } catch (error) {
          if (!(error instanceof ClientError) || !(error.retryable || isLoss(error))) throw error
          const isUnknown = error.outcome === 'unknown'
          counts[isUnknown ? 'unknown' : 'refused']++
          events.push({ op: isUnknown ? 'timeout' : 'nack', stream: channel, id })
          if (isLoss(error) && client === used) client = undefined
          await pause(retryMs)
        }
      }
    }
    const underWay = new Set<Promise<void>>()
    for (let n = 1; isPublishing; n++) {
      const sending = deliver(nextId(), channels[n % channels.length]!, { p: name, n })
      underWay.add(sending)
      void sending.then(
        () => underWay.delete(sending),
        () => undefined, // stays in the set, and fails the run below
      )
      if (underWay.size >= window) await Promise.race(underWay)
    }
    await Promise.all(underWay)
    await (await client)?.close()
  }

  const toDeliver = (reader: string, frame: Envelope): HistoryEvent => ({
    op: 'deliver',
    stream: frame.channel!,
    reader,
    id: frame.id,
    hash: hashOf(frame.payload as JsonObject),
    ...positionOf(frame),
  })

  return {
    events,
    gaps,
    counts,
    get acks() {
      return acks
    },
    async more(count) {
      const target = acks + count
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const timer = setTimeout(() => reject(new Error(`${acks} of ${target} within ${deadlineMs} ms`)), deadlineMs)
      const check = (): void => {
        if (acks >= target) resolve()
      }
      waiting.add(check)
      await Promise.race([promise, ...publishing]).finally(() => {
        clearTimeout(timer)
        waiting.delete(check)
      })
    },
    publisher(urls, format) {
      publishing.push(publishOn(`publisher-${publishing.length}`, urls, format))
    },
    async reader(name, url) {
      const joins = new Map<string, string>()
      const client = await WireClient.connect(url, {
        ...(token !== undefined && { token }),
        onFrame(frame) {
          const channel = joins.get(frame.request_id ?? '')
          if (frame.type === 'response' && channel !== undefined) {
            const data = dataOf(frame)
            const from = seen.get(`${name} ${channel}`)
            const recovered = from !== undefined && data['recovered'] === true
            const start = recovered ? from : toPosition(data['position'])
            events.push({ op: 'resume', stream: channel, reader: name, recovered, ...start })
            if (from !== undefined && !recovered) gaps.push(`${name}: not recovered: ${JSON.stringify(data)}`)
          }
          if (frame.type === 'gap') gaps.push(`${name}: ${JSON.stringify(frame)}`)
          if (!isMessage(frame)) return
          events.push(toDeliver(name, frame))
          seen.set(`${name} ${frame.channel}`, positionOf(frame))
        },
      })
      for (const channel of channels) {
        const from = seen.get(`${name} ${channel}`)
        const recover = from === undefined ? {} : { recover: { ...from } }
        const id = client.send({ type: 'command', command: 'join_channel', args: { room, channel, ...recover } })
        joins.set(id, channel)
        const answer = await client.until((frame) => frame.request_id === id, `answer to the join of ${channel}`)
        if (answer.status !== 'success') throw new Error(`${name} did not join: ${JSON.stringify(answer)}`)
      }
      return client
    },
    async stop() {
      isPublishing = false
      await Promise.all(publishing)
    },
    async readLog(url) {
      const client = await WireClient.connect(url, token === undefined ? {} : { token })
      for (const channel of channels) {
        const { epoch, sequence } = toPosition(dataOf(await client.join(room, channel))['position'])
        events.push({ op: 'resume', stream: channel, reader: 'log', recovered: true, epoch, sequence: 0 })
        await client.join(room, channel, { epoch, sequence: 0 })
        for (const frame of await client.received(sequence, channel)) events.push(toDeliver('log', frame))
      }
      await client.close()
    },
  }
}

function isLoss({ code }: ClientError): boolean {
  return code === 'CONNECTION_LOST' || code === 'CONNECTION_FAILED' || code === 'CLIENT_CLOSED'
}
