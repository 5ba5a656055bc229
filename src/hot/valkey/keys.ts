// The names under which hot state lies in Valkey. Every part a client chose is escaped, so that no two of our names
// meet (`f(a) = f(b)` means `a = b`); within a tenant all begin with `tenant:<tenant>:`.
import type { StreamKey } from '../../envelope/envelope.ts'
import { escapeToken, unescapeToken } from '../../envelope/names.ts'
import type { CountedUse, KeptRevocation, ValueName } from '../hot-state.ts'

/** One hash for each tenant: its values, and under `bytesField` what they take. */
export const valuesKey = (tenant: string): string => `tenant:${escapeToken(tenant)}:store`

/** No escaped name has a `#`. */
export const bytesField = '#bytes'

export const namespacePrefix = (namespace: string): string => `${escapeToken(namespace)}:`
export const valueField = ({ namespace, key }: ValueName): string => namespacePrefix(namespace) + escapeToken(key)

/** The part after `namespacePrefix`. */
export function keyOfField(rest: string): string {
  return unescapeToken(rest) ?? rest
}

/** Of a subject as documented for agents, or of the whole tenant. */
export function counterKey({ tenant, subject, name }: CountedUse): string {
  const agent = subject === undefined ? '' : `:agent:${escapeToken(subject)}`
  return `tenant:${escapeToken(tenant)}${agent}:rate_limit:${escapeToken(name)}`
}

/** A channel, or with channel `*` a whole room, as one text; it stands in sets, and between the parts of keys. */
export function placeOf({ tenant, room, channel }: StreamKey): Place {
  const [t, r, c] = [tenant, room, channel].map(escapeToken) as [string, string, string]
  return { id: `${t}:${r}:${c}`, processes: `tenant:${t}:presence:${r}:${c}` }
}

export interface Place {
  readonly id: string
  /** Set of the processes with members there. */
  readonly processes: string
}

export function placeOfId(id: string): Place {
  const [t = '', r = '', c = ''] = id.split(':')
  return { id, processes: `tenant:${t}:presence:${r}:${c}` }
}

/** Hash of the members of one process there. */
export const membersKey = (place: Place, process: string): string => `${place.processes}:${process}`

/** Set of the processes that show members. */
export const processesKey = 'arqonbus:presence:processes'
export const leaseKey = (process: string): string => `arqonbus:presence:lease:${process}`
/** Set of the places where a process has members: what there is to clear away when it is gone. */
export const placesKey = (process: string): string => `arqonbus:presence:places:${process}`

/** One slot of a cluster: they change together. */
export const revocationKeys = {
  /** Sorted set: who, by the end in milliseconds. */
  until: 'arqonbus:{revocations}:until',
  /** Sorted set: who, by the number of the change. */
  log: 'arqonbus:{revocations}:log',
  /** Hash: `life` names the set, `n` is the number of the last change. */
  version: 'arqonbus:{revocations}:version',
} as const

export function revocationMember({ tenant, subject }: Pick<KeptRevocation, 'tenant' | 'subject'>): string {
  return subject === undefined ? escapeToken(tenant) : `${escapeToken(tenant)}:${escapeToken(subject)}`
}

/** Undefined for what `revocationMember` cannot have made. */
export function parseRevocationMember(member: string): Pick<KeptRevocation, 'tenant' | 'subject'> | undefined {
  const [tenant, subject, ...more] = member.split(':').map(unescapeToken)
  if (tenant === undefined || more.length > 0) return undefined
  if (!member.includes(':')) return { tenant }
  return subject === undefined ? undefined : { tenant, subject }
}
