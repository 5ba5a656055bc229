// What a bus asks of the server: its commands, those inside its scripts too, and the names of its keys. Read off
// src/storage/valkey and src/hot/valkey; a unit test compares the list with those sources.
import type { JudgePorts } from '../check.ts'

/** `hot`: values, presence, revocations, counters. `history`: only where history is kept in Valkey. */
export type Use = 'hot' | 'history'

export interface NeededCommand {
  readonly name: string
  /**
   * Its arguments, by which it changes nothing: K is a key that holds a short text, so that commands for other types end
   * in WRONGTYPE, after the server has looked at the rights and before it touches anything.
   */
  readonly args: readonly string[]
  readonly uses: readonly Use[]
}

const command = (text: string, ...uses: Use[]): NeededCommand => {
  const [name = '', ...args] = text.split(' ')
  return { name, args, uses }
}
const noScript = '0000000000000000000000000000000000000000'

export const neededCommands: readonly NeededCommand[] = [
  command('PING', 'hot', 'history'),
  command('INFO server', 'hot', 'history'),
  command('GET K', 'history'),
  command('SET K unchanged XX KEEPTTL', 'hot', 'history'),
  command('DEL K:absent', 'hot', 'history'),
  command('UNLINK K:absent', 'history'),
  command('EXISTS K', 'hot'),
  command('PEXPIRE K:absent 1000', 'hot', 'history'),
  command('PTTL K', 'hot'),
  command('INCR K', 'hot'),
  command('EVAL return{} 0', 'hot', 'history'),
  command(`EVALSHA ${noScript} 0`, 'history'),
  command('HGET K f', 'hot'),
  command('HMGET K f', 'hot', 'history'),
  command('HGETALL K', 'hot'),
  command('HKEYS K', 'hot'),
  command('HLEN K', 'hot'),
  command('HSTRLEN K f', 'hot'),
  command('HSET K f v', 'hot', 'history'),
  command('HSETNX K f v', 'hot'),
  command('HDEL K f', 'hot', 'history'),
  command('HINCRBY K f 1', 'hot'),
  command('SADD K m', 'hot', 'history'),
  command('SREM K m', 'hot'),
  command('SMEMBERS K', 'hot', 'history'),
  command('ZADD K 1 m', 'hot'),
  command('ZCARD K', 'hot'),
  command('ZRANGE K 0 0', 'hot'),
  command('ZREM K m', 'hot'),
  command('ZSCORE K m', 'hot'),
  command('LINDEX K 0', 'history'),
  command('LPOP K', 'history'),
  command('LRANGE K 0 0', 'history'),
  command('LSET K 0 v', 'history'),
  command('RPUSH K v', 'history'),
  command('XADD K * f v', 'history'),
  command('XLEN K', 'history'),
  command('XRANGE K - + COUNT 1', 'history'),
  command('XTRIM K MINID 0', 'history'),
]

/** Patterns of the bus' keys, and names that nobody has, one for each. */
export const neededKeys: readonly { readonly pattern: string; readonly nameFor: (unique: string) => string }[] = [
  { pattern: 'arqonbus:*', nameFor: (unique) => `arqonbus:pf:${unique}` },
  { pattern: 'tenant:*', nameFor: (unique) => `tenant:arqon-pf-${unique}` },
]

const named = neededCommands.map(({ name }) => `+${name.toLowerCase()}`)
const patterns = [...neededKeys.map(({ pattern }) => pattern), 'arqon:pf:*'].map((pattern) => `~${pattern}`)

/** What a bus goes without, and does better with: it learns when the server syncs, and sends its scripts once. */
export const usefulRights = ['+config|get', '+script|load']
/** What this preflight sends beside that. */
const ofPreflight = ['+select', '+time', '+role', '+xread', '+xdel']

/** Everything a bus needs, and what this preflight asks for beside it. */
export const rightsCommand = ['ACL SETUSER <user>', ...patterns, ...named, ...usefulRights, ...ofPreflight].join(' ')

/** Is history kept in Valkey? */
export function keepsHistory({ ctx }: Pick<JudgePorts, 'ctx'>): boolean {
  const { storageBackend, enablePersistence } = ctx.resolution.values
  return storageBackend === 'valkey' && enablePersistence
}
