// Copies records into the streams that readers of earlier systems know (original-contract 7.3), over a connection of its
// own. How far each stream is copied stands with the stream itself and moves in the same atomic step as the copies: a
// bus that ends, or two that copy at once, leave nothing out and nothing twice.
import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logger.ts'
import type { StreamKey } from '../../envelope/envelope.ts'
import { isReservedTenant } from '../../envelope/names.ts'
import { asList, asNumber } from '../../valkey/replies.ts'
import type { ValkeyClient } from '../../valkey/valkey-client.ts'
import { createMirror, type FrameToEnvelope, type Mirror } from '../mirror.ts'
import type { StoredRecord } from '../store.ts'
import { streamName } from '../stream-name.ts'
import type { KeyNames } from './keys.ts'
import { inSlices, numberOrNothing, type Reader } from './reader.ts'
import { script } from './scripts.ts'
import { runScript } from './session.ts'

export interface ValkeyMirrorOptions {
  readonly client: ValkeyClient
  readonly names: KeyNames
  readonly reader: Reader
  readonly toEnvelope: FrameToEnvelope
  /** Entries kept in each stream. */
  readonly maxEntries: number
  readonly clock: Clock
  readonly logger: Logger
}

// Bounds how long a step holds the server up: appends wait behind it.
const recordsPerStep = 100
const bytesPerStep = 256 * 1024
/** A stream that nothing is written to for so long goes, as it always did: there is one for each sender. */
const keptMs = 3_600_000

const allKey = 'arqonbus:messages'
const senderKey = (sender: string): string => `arqonbus:sender_${sender}`
const channelKeys = ({ room, channel }: StreamKey): string[] => [
  `arqonbus:room_${room}`,
  `arqonbus:channel_${channel}`,
  `arqonbus:room_${room}_channel_${channel}`,
]

// KEYS: meta of the stream; then where its records go, those of senders last. ARGV: epoch of the records; entries and ms
// that are kept; tenant, room, channel; how many keys all records go to; then for each record its sequence, the place of
// its sender's key or 0, id, type, timestamp, sender, payload, frame. Answers how many records were copied, and how many
// entries other hands' keys kept out.
//
// The first write is the one that is refused where the server is full or read-only, and then nothing has happened.
const mirrorScript = script(`
local meta, epoch, max_entries, kept = KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[3]
local tenant, room, channel, shared = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local m = redis.call('HMGET', meta, 'epoch', 'mirrored')
if tonumber(m[1]) ~= epoch then return { 0, 0 } end
local mirrored, copied, refused, written = tonumber(m[2]) or 0, 0, 0, {}
local last = tonumber(ARGV[#ARGV - 7])
if last <= mirrored then return { 0, 0 } end
redis.call('HSET', meta, 'mirrored', last)
for at = 8, #ARGV, 8 do
  local function add(key)
    local added = redis.pcall('XADD', key, 'MAXLEN', max_entries, '*', 'id', ARGV[at + 2], 'type', ARGV[at + 3],
      'timestamp', ARGV[at + 4], 'sender', ARGV[at + 5], 'room', room, 'channel', channel, 'payload', ARGV[at + 6],
      'envelope_proto_b64', ARGV[at + 7], 'tenant', tenant, 'epoch', ARGV[1], 'sequence', ARGV[at])
    if type(added) == 'table' then refused = refused + 1 else written[key] = true end
  end
  if tonumber(ARGV[at]) > mirrored then
    copied = copied + 1
    for i = 2, shared + 1 do add(KEYS[i]) end
    local sender = tonumber(ARGV[at + 1])
    if sender > 0 then add(KEYS[sender]) end
  end
end
for key in pairs(written) do redis.call('PEXPIRE', key, kept) end
return { copied, refused }`)

export function createValkeyMirror(options: ValkeyMirrorOptions): Mirror<StreamKey> {
  const { client, names, reader, toEnvelope, maxEntries, clock, logger } = options

  async function extentOf(key: StreamKey): Promise<{ first: number; last: number; mirrored: number }> {
    const fields = asList(await client.send(['HMGET', names.of(key).meta, 'first', 'last', 'mirrored']))
    const [first = 1, last = 0, mirrored = 0] = fields.map(numberOrNothing)
    // More of one stream than are kept would push each other out again.
    return { first, last, mirrored: Math.max(mirrored, last - maxEntries) }
  }

  async function write(key: StreamKey, records: readonly StoredRecord[]): Promise<number> {
    const { tenant, room, channel } = key
    const shared = [allKey, ...channelKeys(key)]
    const keys = [names.of(key).meta, ...shared]
    const places = new Map<string, number>()
    const placeOf = (sender: string): number => {
      if (sender === '') return 0
      const place = places.get(sender) ?? keys.push(senderKey(sender))
      places.set(sender, place)
      return place
    }
    const entries = records.flatMap(({ id, sender, frame, position }) => {
      const { type, timestamp, payload } = toEnvelope(frame, position)
      const proto = Buffer.from(frame.buffer, frame.byteOffset, frame.length).toString('base64')
      return [
        String(position.sequence),
        String(placeOf(sender)),
        id,
        type,
        timestamp,
        sender,
        JSON.stringify(payload),
        proto,
      ]
    })
    const numbers = [records[0]!.position.epoch, maxEntries, keptMs].map(String)
    const args = [...numbers, tenant, room, channel, String(shared.length), ...entries]
    const [copied, refused] = asList(await runScript(client.connection(), mirrorScript, keys, args)).map(asNumber)
    if (refused !== 0) logger.warn('store.mirror.wrong_type', { tenant, room, channel, entries: refused })
    return copied ?? 0
  }

  return createMirror<StreamKey>({
    idOf: streamName,
    clock,
    logger,
    async copySome(key) {
      if (isReservedTenant(key.tenant)) return { copied: 0, hasMore: false }
      const { last, mirrored } = await extentOf(key)
      const range = { key, after: mirrored, limit: recordsPerStep, maxBytes: bytesPerStep }
      const records = last > mirrored ? await reader.bySequence(range) : []
      const reached = records.at(-1)?.position.sequence
      if (reached === undefined) return { copied: 0, hasMore: false }
      return { copied: await write(key, records), hasMore: reached < last }
    },
    async *behind() {
      const keys = (await reader.allStreams()).filter(({ tenant }) => !isReservedTenant(tenant))
      const extents = await inSlices(keys, extentOf)
      yield keys.filter((_, i) => extents[i]!.last >= extents[i]!.first && extents[i]!.last > extents[i]!.mirrored)
    },
  })
}
