// The names of our keys. Injective, for parts are escaped (design 4); one hash tag for each stream, so that a script
// finds all keys of its stream in one slot of a cluster.
import type { StreamKey } from '../../envelope/envelope.ts'
import { escapeToken, unescapeToken } from '../../envelope/names.ts'

export interface StreamKeys {
  /** Hash: epoch, extent, bytes, life. Outlives the records: sequences are never used again. */
  readonly meta: string
  /** Stream: an entry for each append, `<sequence of its last record>-0`, with one field `r`. */
  readonly log: string
  /** Hash: id -> payload hash, time, sequence (scripts.ts). */
  readonly ids: string
  /** List: which ids were remembered when, a batch an entry, oldest first. */
  readonly order: string
  /** List: the extent, bytes and times of each entry of the log, oldest first. */
  readonly sums: string
}

export interface KeyNames {
  readonly of: (key: StreamKey) => StreamKeys
  /** Set of the tenants that ever had a stream. */
  readonly tenants: string
  /** Set of `<room>:<channel>` of a tenant, each escaped. */
  readonly streamsOf: (tenant: string) => string
  readonly identity: string
  readonly probe: (unique: string) => string
}

/** `family` parts what different uses of one server keep there. */
export function createKeyNames(family: string): KeyNames {
  const prefix = `arqonbus:${escapeToken(family)}`
  return {
    of({ tenant, room, channel }) {
      const stream = `${prefix}:{${escapeToken(tenant)}:${escapeToken(room)}:${escapeToken(channel)}}`
      const at = (what: string) => `${stream}:${what}`
      return { meta: at('meta'), log: at('log'), ids: at('ids'), order: at('order'), sums: at('sums') }
    },
    tenants: `${prefix}:tenants`,
    streamsOf: (tenant) => `${prefix}:{${escapeToken(tenant)}}:streams`,
    identity: `${prefix}:identity`,
    probe: (unique) => `${prefix}:probe:${unique}`,
  }
}

/** How a stream is listed in its tenant's set. */
export function memberOf({ room, channel }: StreamKey): string {
  return `${escapeToken(room)}:${escapeToken(channel)}`
}

/** Undefined for a member that we never wrote. */
export function streamOfMember(tenant: string, member: string): StreamKey | undefined {
  const [room, channel, ...rest] = member.split(':').map(unescapeToken)
  return room === undefined || channel === undefined || rest.length > 0 ? undefined : { tenant, room, channel }
}
