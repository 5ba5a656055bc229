// Revocations in Valkey, looked at four times a second: a version says whether anything changed, so that no message
// between processes can be missed. What was lost by the server is written to it again from what is known here.
import type { Clock } from '../../base/clock.ts'
import { BusError } from '../../base/errors.ts'
import { randomHex } from '../../base/ids.ts'
import { asList, asNumber, asText, type ValkeyReply } from '../../valkey/replies.ts'
import type { KeptRevocation, KnownRevocations, RevocationLog } from '../hot-state.ts'
import type { Backend } from './backend.ts'
import { parseRevocationMember, revocationKeys, revocationMember } from './keys.ts'

const lookEveryMs = 250
const maxKept = 100_000
const perWrite = 500
const perRead = 1_000
const keys = [revocationKeys.until, revocationKeys.log, revocationKeys.version]

/** ARGV: now, a name for a new set, then who and until, by pairs. A later end wins. */
const addScript = `
local ended = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, 1000)
for _, who in ipairs(ended) do
  redis.call('ZREM', KEYS[1], who)
  redis.call('ZREM', KEYS[2], who)
end
redis.call('HSETNX', KEYS[3], 'life', ARGV[2])
for i = 3, #ARGV, 2 do
  local known = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if not known or tonumber(known) < tonumber(ARGV[i + 1]) then
    if not known and redis.call('ZCARD', KEYS[1]) >= ${maxKept} then return 'full' end
    redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i])
    redis.call('ZADD', KEYS[2], redis.call('HINCRBY', KEYS[3], 'n', 1), ARGV[i])
  end
end
return 'ok'`

/** ARGV: the life and number seen last. Empty: nothing is kept. One number: nothing new. Else life, number, changes. */
const readScript = `
local life, n = unpack(redis.call('HMGET', KEYS[3], 'life', 'n'))
if not life then return {} end
n = n or '0'
if life ~= ARGV[1] then return {life, n} end
if n == ARGV[2] then return 0 end
local changes = redis.call('ZRANGE', KEYS[2], '(' .. ARGV[2], '+inf', 'BYSCORE', 'LIMIT', 0, ${perRead}, 'WITHSCORES')
if #changes == ${perRead * 2} then n = changes[#changes] end
local found = {life, n}
for i = 1, #changes, 2 do
  found[#found + 1] = changes[i]
  found[#found + 1] = redis.call('ZSCORE', KEYS[1], changes[i]) or '0'
end
return found`

export interface ValkeyRevocationsPorts {
  readonly backend: Backend
  readonly clock: Clock
  readonly known: KnownRevocations
  readonly failed: (error: unknown) => void
  readonly guard: (change: 'read' | 'write', run: () => Promise<ValkeyReply>) => Promise<ValkeyReply>
}

export interface ValkeyRevocations extends RevocationLog {
  /** Looks now: the first time it resolves when all that is kept is in force here. */
  look(): Promise<void>
  /** Has the last look succeeded? */
  readonly isCurrent: boolean
  close(): void
}

export function createValkeyRevocations(ports: ValkeyRevocationsPorts): ValkeyRevocations {
  const { backend, clock, known } = ports
  /** In force here, and not yet written. */
  const unwritten = new Map<string, number>()
  let seen = { life: '', n: '0' }
  let isCurrent = false
  let looking: Promise<void> | undefined

  async function write(entries: readonly (readonly [string, number])[]): Promise<void> {
    for (let i = 0; i < entries.length; i += perWrite) {
      const pairs = entries.slice(i, i + perWrite).flatMap(([who, untilMs]) => [who, String(untilMs)])
      const reply = await backend.send(['EVAL', addScript, '3', ...keys, String(clock.now()), randomHex(8), ...pairs])
      if (asText(reply) === 'full') throw full()
    }
  }

  function take(who: string, untilMs: number): void {
    const parsed = parseRevocationMember(who)
    if (parsed !== undefined && untilMs > clock.now()) known.revoke({ ...parsed, untilMs })
  }

  /** Another set than the one seen last: all of it, and what it lacks of ours. */
  async function readAll(): Promise<void> {
    const kept = new Map<string, number>()
    const pairs = await backend.send([
      'ZRANGE',
      revocationKeys.until,
      `(${clock.now()}`,
      '+inf',
      'BYSCORE',
      'WITHSCORES',
    ])
    for (const pair of asList(pairs)) {
      const [who, untilMs] = asList(pair)
      kept.set(asText(who), asNumber(untilMs))
    }
    for (const [who, untilMs] of kept) take(who, untilMs)
    const lacking = ownEntries().filter(([who, untilMs]) => (kept.get(who) ?? 0) < untilMs)
    if (lacking.length > 0) await write(lacking)
  }

  function ownEntries(): [string, number][] {
    return [...known.inForce()].map((one) => [revocationMember(one), one.untilMs])
  }

  async function writeLate(): Promise<void> {
    const entries = [...unwritten]
    await write(entries)
    for (const [who, untilMs] of entries) if (unwritten.get(who) === untilMs) unwritten.delete(who)
  }

  async function read(): Promise<void> {
    const reply = await backend.send(['EVAL', readScript, '3', ...keys, seen.life, seen.n])
    if (typeof reply === 'number') return
    const [life, n, ...changes] = asList(reply)
    if (life === undefined) {
      seen = { life: '', n: '0' }
      const own = ownEntries()
      if (own.length > 0) await write(own)
      return
    }
    const now = { life: asText(life), n: asText(n) }
    if (now.life !== seen.life) await readAll()
    for (let i = 0; i + 1 < changes.length; i += 2) take(asText(changes[i]), asNumber(changes[i + 1]))
    seen = now
  }

  async function lookOnce(): Promise<void> {
    await read()
    if (unwritten.size > 0) await writeLate()
  }

  async function lookAndTell(): Promise<void> {
    try {
      await lookOnce()
      isCurrent = true
    } catch (error) {
      isCurrent = false
      throw error
    } finally {
      looking = undefined
    }
  }

  function look(): Promise<void> {
    looking ??= lookAndTell()
    return looking
  }

  const lookNow = (): void => void look().catch(ports.failed)
  const timer = setInterval(() => backend.isConnected && lookNow(), lookEveryMs)
  backend.onConnected(() => {
    isCurrent = false // what was revoked meanwhile is not in force here yet
    lookNow()
  })

  return {
    look,
    get isCurrent() {
      return isCurrent && backend.isConnected
    },
    async add(revocation: KeptRevocation) {
      const who = revocationMember(revocation)
      const { untilMs } = revocation
      try {
        const reply = await ports.guard('write', () =>
          backend.send(['EVAL', addScript, '3', ...keys, String(clock.now()), randomHex(8), who, String(untilMs)]),
        )
        if (asText(reply) === 'full') throw full()
      } catch (error) {
        unwritten.set(who, Math.max(untilMs, unwritten.get(who) ?? 0))
        throw error
      } finally {
        known.revoke(revocation) // closed is the safe side, whatever became of it elsewhere
      }
    },
    close: () => clearInterval(timer),
  }
}

function full(): BusError {
  return new BusError('LIMIT_EXCEEDED', 'Too many revocations', { limit: 'revocations', max: maxKept })
}
