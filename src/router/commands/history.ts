// history, op.history.get and op.history.replay: reading the log (original-contract 4.3, 4.7, 7.5, without its faults:
// newest entries are reachable, and replay gives the window from its beginning).
import { toIsoTime } from '../../base/clock.ts'
import { BusError, invalid } from '../../base/errors.ts'
import { parseName } from '../../envelope/names.ts'
import type { Envelope } from '../../envelope/envelope.ts'
import type { ReadByTime, StoredRecord } from '../../storage/store.ts'
import { limitOf, optionalFlag, optionalText, optionalTime, roomAndChannel } from '../args.ts'
import type { Command, CommandCall, CommandPorts } from '../command.ts'
import { type HistoryPage, type HistoryPagePorts, readPage, toEntry } from '../history-page.ts'

function requireHistory({ store, rooms }: CommandPorts): HistoryPagePorts {
  if (store === undefined) {
    throw new BusError('FEATURE_DISABLED', 'History is off; set ARQONBUS_ENABLE_PERSISTENCE=true')
  }
  return { store, rooms }
}

/** Room and channel of a window; only admins may leave out the room. */
function scopeOf({ args, client }: CommandCall): { room?: string; channel?: string } {
  const room = optionalText(args, 'room')?.trim()
  const channel = optionalText(args, 'channel')?.trim()
  if (room === undefined || room === '') {
    if (client.identity.role === 'user') throw invalid('MISSING_ARGUMENT', 'room is missing', { field: 'room' })
    if (channel !== undefined && channel !== '')
      throw invalid('MISSING_ARGUMENT', 'channel needs a room', { field: 'room' })
    return {}
  }
  return {
    room: parseName('room', room),
    ...(channel !== undefined && channel !== '' && { channel: parseName('channel', channel) }),
  }
}

export const history: Command = {
  summary: 'The newest messages of a channel, oldest first',
  args: { room: 'room name', channel: 'channel name', limit: '1 to 1000, default 50', since: 'ISO time, optional' },
  permission: 'channel_view',
  async run({ args, tenant }, ports) {
    const kept = requireHistory(ports)
    const { room, channel } = roomAndChannel(args)
    const limit = limitOf(args, 'limit', { min: 1, max: 1_000, default: 50 })
    const sinceMs = optionalTime(args, 'since')
    const window = { order: 'newest', limit, maxBytes: ports.maxHistoryPageBytes } as const
    const query = { tenant, room, channel, ...window, ...(sinceMs !== undefined && { sinceMs }) }
    const { entries, facts } = await readPage(query, kept)
    return {
      message: `${entries.length} messages`,
      data: {
        room_id: room,
        room_name: room,
        channel_id: `${room}:${channel}`,
        channel_name: channel,
        total_messages: entries.length,
        limit,
        since: sinceMs === undefined ? null : toIsoTime(sinceMs),
        ...facts,
        history: entries.toReversed(),
      },
    }
  },
}

export const historyGet: Command = {
  summary: 'The newest entries of a room or channel, newest first; admins may leave out the room',
  args: {
    room: 'room name',
    channel: 'channel name, optional',
    limit: '1 to 1000, default 100',
    since: 'ISO time, inclusive, optional',
    until: 'ISO time, inclusive, optional',
  },
  permission: 'channel_view',
  async run(call, ports) {
    const kept = requireHistory(ports)
    const { args, tenant } = call
    const scope = scopeOf(call)
    const limit = limitOf(args, 'limit', { min: 1, max: 1_000, default: 100 })
    const sinceMs = optionalTime(args, 'since')
    const untilMs = optionalTime(args, 'until')
    if (sinceMs !== undefined && untilMs !== undefined && untilMs < sinceMs) {
      throw invalid('BAD_WINDOW', 'until is before since', { field: 'until' })
    }
    const window = { order: 'newest', limit, maxBytes: ports.maxHistoryPageBytes } as const
    const bounds = { ...(sinceMs !== undefined && { sinceMs }), ...(untilMs !== undefined && { untilMs }) }
    const { entries, facts } = await readPage({ tenant, ...scope, ...window, ...bounds }, kept)
    return {
      message: `${entries.length} entries`,
      data: {
        entries,
        count: entries.length,
        ...facts,
        room: scope.room ?? null,
        channel: scope.channel ?? null,
        since: sinceMs === undefined ? null : toIsoTime(sinceMs),
        until: untilMs === undefined ? null : toIsoTime(untilMs),
        limit,
      },
    }
  },
}

export const historyReplay: Command = {
  summary: 'The entries of a time window, oldest first; strict replay refuses holes and regressions',
  args: {
    from_ts: 'ISO time, inclusive',
    to_ts: 'ISO time, inclusive',
    room: 'room name',
    channel: 'channel name, optional',
    strict_sequence: 'true or false, default true',
    limit: '1 to 5000, default 1000',
  },
  permission: 'channel_view',
  async run(call, ports) {
    const kept = requireHistory(ports)
    const { args, tenant } = call
    const scope = scopeOf(call)
    const fromMs = optionalTime(args, 'from_ts')
    const toMs = optionalTime(args, 'to_ts')
    if (fromMs === undefined) throw invalid('MISSING_ARGUMENT', 'from_ts is missing', { field: 'from_ts' })
    if (toMs === undefined) throw invalid('MISSING_ARGUMENT', 'to_ts is missing', { field: 'to_ts' })
    if (toMs < fromMs) throw invalid('BAD_WINDOW', 'to_ts is before from_ts', { field: 'to_ts' })
    const limit = limitOf(args, 'limit', { min: 1, max: 5_000, default: 1_000 })
    const strict = optionalFlag(args, 'strict_sequence', true)
    const begun = ports.clock.monotonic()
    const window = { order: 'oldest', limit, maxBytes: ports.maxHistoryPageBytes } as const
    const query = { tenant, ...scope, ...window, sinceMs: fromMs, untilMs: toMs }
    const { entries, facts } = await (strict ? readStrictly(query, kept) : readPage(query, kept))
    return {
      message: `${entries.length} entries`,
      data: {
        entries,
        count: entries.length,
        ...facts,
        room: scope.room ?? null,
        channel: scope.channel ?? null,
        from_ts: toIsoTime(fromMs),
        to_ts: toIsoTime(toMs),
        strict_sequence: strict,
        limit,
        latency_ms: Math.round((ports.clock.monotonic() - begun) * 1_000) / 1_000,
      },
    }
  },
}

/** What is held has no positions to check, so only the store can answer. */
async function readStrictly(query: ReadByTime, { store }: HistoryPagePorts): Promise<HistoryPage> {
  const records = await store.readByTime(query)
  const entries = records.map(toEntry)
  checkOrder(records, entries)
  return { entries, facts: {} }
}

/** Positions rise without holes in each channel; clients' own `metadata.sequence` never falls over the whole window. */
function checkOrder(records: readonly StoredRecord[], entries: readonly { envelope: Envelope }[]): void {
  const lastOfChannel = new Map<string, number>()
  let lastOfClients = 0
  records.forEach(({ key, position }, index) => {
    const name = JSON.stringify([key.room, key.channel])
    const last = lastOfChannel.get(name)
    if (last !== undefined && position.sequence !== last + 1) {
      throw invalid('SEQUENCE_GAP', `Sequence gap: ${position.sequence} follows ${last}`, {
        after: last,
        found: position.sequence,
      })
    }
    lastOfChannel.set(name, position.sequence)
    const own = entries[index]!.envelope.metadata['sequence']
    if (typeof own !== 'number') return
    if (own < lastOfClients) {
      throw invalid('SEQUENCE_REGRESSION', `Sequence regression: ${own} after ${lastOfClients}`, {
        after: lastOfClients,
        found: own,
      })
    }
    lastOfClients = own
  })
}
