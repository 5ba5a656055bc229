// Presence over Valkey: each process shows its own members, under a lease that it renews as a whole. Writes gather for
// a moment and say what is true when they go out, so they may be repeated, and lost, without harm.
//
// A process whose lease has lapsed begins a new life under a new name and shows everything again: whoever clears away
// what a silent process has left behind can never meet a process that lives.
import { randomHex } from '../../base/ids.ts'
import type { StreamKey } from '../../envelope/envelope.ts'
import type { CommandArguments } from '../../valkey/connection.ts'
import { asNumber, asText, asTextMap, asList } from '../../valkey/replies.ts'
import type { LocalPresence, Presence, ShownMember } from '../hot-state.ts'
import type { Backend } from './backend.ts'
import { leaseKey, membersKey, type Place, placeOf, placeOfId, placesKey, processesKey } from './keys.ts'

export interface PresenceTiming {
  readonly leaseMs: number
  readonly renewMs: number
  /** Changes gather for so long. */
  readonly gatherMs: number
}

const standardTiming: PresenceTiming = { leaseMs: 10_000, renewMs: 3_000, gatherMs: 50 }
const marksPerWrite = 1_000
/** More changes than this while nothing can be written, and all is shown anew instead. */
const maxMarks = 100_000
const placesPerClearing = 500
/** Wait after a write that failed. */
const retryMs = 500

export interface ValkeyPresencePorts {
  readonly backend: Backend
  readonly failed: (error: unknown) => void
  readonly timing?: Partial<PresenceTiming>
}

export interface ValkeyPresence extends Presence {
  /** Ends the lease and clears away what this process has shown. */
  close(): Promise<void>
}

interface Marks {
  readonly key: StreamKey
  readonly clientIds: Set<string>
}

export function createValkeyPresence({ backend, failed, timing }: ValkeyPresencePorts): ValkeyPresence {
  const { leaseMs, renewMs, gatherMs } = { ...standardTiming, ...timing }
  const process = randomHex(8)
  const marks = new Map<string, Marks>()
  let markCount = 0
  let local: LocalPresence | undefined
  let life = 0
  let hasLease = false
  let writing: Promise<void> | undefined
  let gathering: NodeJS.Timeout | undefined
  let renewing: NodeJS.Timeout | undefined
  let isClosed = false
  let others = 0

  const nameOf = (number: number): string => `${process}-${number}`

  function mark(key: StreamKey, clientId: string): void {
    const { id } = placeOf(key)
    let place = marks.get(id)
    if (place === undefined) {
      place = { key, clientIds: new Set() }
      marks.set(id, place)
    }
    if (place.clientIds.has(clientId)) return
    place.clientIds.add(clientId)
    markCount++
  }

  function forgetMarks(): void {
    marks.clear()
    markCount = 0
  }

  function writeSoon(afterMs: number): void {
    if (isClosed || gathering !== undefined) return
    gathering = setTimeout(() => {
      gathering = undefined
      void write()
    }, afterMs)
  }

  async function tryWrite(): Promise<void> {
    try {
      await writeAll()
    } catch (error) {
      failed(error)
      if (backend.isConnected) writeSoon(retryMs) // else at the next connection
    } finally {
      writing = undefined
    }
  }

  function write(): Promise<void> {
    writing ??= tryWrite()
    return writing
  }

  async function writeAll(): Promise<void> {
    if (local === undefined) return
    if (!hasLease) await begin(local)
    while (markCount > 0 && !isClosed) await writeSome(local)
  }

  /** A new life: everything is shown under a new name, and the old one is cleared away. */
  async function begin(from: LocalPresence): Promise<void> {
    const old = life++
    await backend.sendAll([
      ['SADD', processesKey, nameOf(life)],
      ['SET', leaseKey(nameOf(life)), '1', 'PX', String(leaseMs)],
    ])
    hasLease = true
    forgetMarks()
    for (const { key, clientId } of from.all()) mark(key, clientId)
    if (old > 0) await clear(nameOf(old))
  }

  async function writeSome(from: LocalPresence): Promise<void> {
    const taken: Marks[] = []
    for (const [id, place] of marks) {
      if (taken.reduce((sum, { clientIds }) => sum + clientIds.size, 0) >= marksPerWrite) break
      taken.push(place)
      marks.delete(id)
      markCount -= place.clientIds.size
    }
    try {
      await backend.sendAll(taken.flatMap((place) => commandsOf(place, from)))
    } catch (error) {
      for (const { key, clientIds } of taken) for (const clientId of clientIds) mark(key, clientId)
      throw error
    }
  }

  function commandsOf({ key, clientIds }: Marks, from: LocalPresence): CommandArguments[] {
    const place = placeOf(key)
    const name = nameOf(life)
    const hash = membersKey(place, name)
    if (!from.isUsed(key)) {
      return [
        ['DEL', hash],
        ['SREM', place.processes, name],
        ['SREM', placesKey(name), place.id],
      ]
    }
    const there: string[] = []
    const gone: string[] = []
    for (const clientId of clientIds) {
      const member = from.find(key, clientId)
      if (member === undefined) gone.push(clientId)
      else there.push(clientId, JSON.stringify([member.joinedAtMs, member.subject]))
    }
    return [
      // Before the members: what is not noted is never cleared away.
      ['SADD', placesKey(name), place.id],
      ...(there.length > 0 ? [['HSET', hash, ...there]] : []),
      ...(gone.length > 0 ? [['HDEL', hash, ...gone]] : []),
      ['SADD', place.processes, name],
    ]
  }

  /** Ends a life: the lease first, so that none of it is seen from then on. */
  async function clear(name: string): Promise<void> {
    await backend.send(['DEL', leaseKey(name)])
    const ids = asList(await backend.send(['SMEMBERS', placesKey(name)])).map(asText)
    for (let i = 0; i < ids.length; i += placesPerClearing) {
      const places = ids.slice(i, i + placesPerClearing).map(placeOfId)
      await backend.sendAll(
        places.flatMap((place) => [
          ['DEL', membersKey(place, name)],
          ['SREM', place.processes, name],
        ]),
      )
    }
    await backend.sendAll([
      ['DEL', placesKey(name)],
      ['SREM', processesKey, name],
    ])
  }

  async function renew(): Promise<void> {
    if (!backend.isConnected || isClosed) return
    try {
      if (hasLease) {
        const renewed = await backend.send(['PEXPIRE', leaseKey(nameOf(life)), String(leaseMs)])
        if (asNumber(renewed) === 0) hasLease = false
      }
      await write()
      await clearSilent()
    } catch (error) {
      failed(error)
    }
  }

  /** What processes whose lease has lapsed have left behind. Several may clear it at once. */
  async function clearSilent(): Promise<void> {
    const names = asList(await backend.send(['SMEMBERS', processesKey])).map(asText)
    const foreign = names.filter((name) => name !== nameOf(life))
    const leases = await backend.sendAll(foreign.map((name) => ['EXISTS', leaseKey(name)]))
    others = leases.filter((found) => found === 1).length
    for (const [i, name] of foreign.entries()) if (leases[i] === 0) await clear(name)
  }

  async function readElsewhere(key: StreamKey): Promise<ShownMember[]> {
    const places = [placeOf(key), placeOf({ ...key, channel: '*' })]
    const sets = await backend.sendAll(places.map(({ processes }) => ['SMEMBERS', processes]))
    const shown: { name: string; place: Place; byRoom: boolean }[] = []
    for (const [i, set] of sets.entries()) {
      for (const name of asList(set).map(asText)) {
        if (!name.startsWith(`${process}-`)) shown.push({ name, place: places[i]!, byRoom: i === 1 })
      }
    }
    const replies = await backend.sendAll(
      shown.flatMap(({ name, place }) => [
        ['EXISTS', leaseKey(name)],
        ['HGETALL', membersKey(place, name)],
      ]),
    )
    const members = new Map<string, ShownMember>()
    for (let i = 0; i < replies.length; i += 2) {
      if (replies[i] === 0) continue
      for (const [clientId, text] of asTextMap(replies[i + 1])) {
        // The channel's own come first.
        if (!members.has(clientId))
          members.set(clientId, { ...parseMember(text), clientId, byRoom: shown[i / 2]!.byRoom })
      }
    }
    return [...members.values()]
  }

  backend.onConnected(() => void renew())

  return {
    get others() {
      return others
    },
    follow(from) {
      local = from
      renewing = setInterval(() => void renew(), renewMs)
      void renew()
    },
    changed(key, clientId) {
      if (!hasLease || local === undefined) return // all is shown when it begins
      mark(key, clientId)
      if (markCount > maxMarks) {
        hasLease = false
        forgetMarks()
      }
      writeSoon(gatherMs)
    },
    async elsewhere(key) {
      try {
        return { members: await readElsewhere(key), isPartial: false }
      } catch (error) {
        failed(error)
        return { members: [], isPartial: true }
      }
    },
    async close() {
      if (isClosed) return
      isClosed = true
      clearTimeout(gathering)
      clearInterval(renewing)
      await writing
      if (!hasLease || !backend.isConnected) return
      await clear(nameOf(life)).catch(failed)
    },
  }
}

function parseMember(text: string): { readonly subject: string; readonly joinedAtMs: number } {
  const [joinedAtMs, subject] = JSON.parse(text) as [number, string] // written by `commandsOf`
  return { subject, joinedAtMs }
}
