// Who may open a socket now: rates and counts for the process, each address, tenant and subject (reliability 4).
import { isIPv6 } from 'node:net'
import type { Identity } from '../auth/identity.ts'
import { TokenBucket } from '../session/rate-limit.ts'

export interface AdmissionLimits {
  readonly maxConnections: number
  readonly maxConnectionsPerTenant: number
  readonly maxConnectionsPerSubject: number
  readonly maxConnectionsPerAddress: number
  readonly handshakesPerSecond: number
  readonly handshakesPerSecondPerAddress: number
  readonly maxHalfOpen: number
  /** Absent: no bound here. */
  readonly handshakesPerSecondPerTenant?: number
}

/** Why a handshake is refused; the HTTP status says whether others fare better. */
export interface Refusal {
  readonly status: 429 | 503
  readonly limit: string
  readonly retryAfterSeconds: number
}

export interface Admission {
  /** A socket that has said nothing yet; undefined: one too many of its address. `release` as for `admit`. */
  arrive(address: string): Taken | undefined
  /** Before anything is read of the request. On success `leave` must be called when the handshake has ended. */
  enter(address: string, nowMs: number): Refusal | { leave(): void }
  /** After authentication: may the tenant open another one now? */
  judgeTenant(tenant: string, nowMs: number): Refusal | undefined
  /** After that. On success `release` must be called when the socket has closed. */
  admit(address: string, identity: Identity): Refusal | Taken
  readonly open: number
}

/** Sockets of one address, for each connection it may have: room for handshakes, and for refusals being read. */
const socketsPerConnection = 2
/** Addresses, and tenants, remembered for their rate; beyond it the oldest is forgotten. */
const rememberedNames = 10_000

export function createAdmission(limits: AdmissionLimits, nowMs: number): Admission {
  const process = new TokenBucket(limits.handshakesPerSecond, limits.handshakesPerSecond * 2, nowMs)
  const byAddress = new Map<string, TokenBucket>()
  const byTenant = new Map<string, TokenBucket>()
  const counts = new Map<string, number>()
  let halfOpen = 0
  let open = 0

  function bucketOf(buckets: Map<string, TokenBucket>, name: string, rate: number, now: number): TokenBucket {
    let bucket = buckets.get(name)
    if (bucket === undefined) {
      bucket = new TokenBucket(rate, rate * 2, now)
      buckets.set(name, bucket)
      const oldest = buckets.keys().next()
      if (buckets.size > rememberedNames && !oldest.done) buckets.delete(oldest.value)
    }
    return bucket
  }

  function change(name: string, by: 1 | -1): void {
    const count = (counts.get(name) ?? 0) + by
    if (count === 0) counts.delete(name)
    else counts.set(name, count)
  }

  const countsOf = (address: string, { tenant, subject }: Identity): Count[] => [
    {
      name: `address ${addressGroup(address)}`,
      max: limits.maxConnectionsPerAddress,
      limit: 'connections-per-address',
    },
    { name: `tenant ${tenant}`, max: limits.maxConnectionsPerTenant, limit: 'connections-per-tenant' },
    { name: `subject ${tenant} ${subject}`, max: limits.maxConnectionsPerSubject, limit: 'connections-per-subject' },
  ]

  function giveBack(address: string, identity: Identity | undefined): void {
    if (identity === undefined) {
      change(socketsOf(address), -1)
      return
    }
    open--
    for (const { name } of countsOf(address, identity)) change(name, -1)
  }

  return {
    arrive(address) {
      const name = socketsOf(address)
      if ((counts.get(name) ?? 0) >= limits.maxConnectionsPerAddress * socketsPerConnection) return undefined
      change(name, 1)
      return new Taken(giveBack, address)
    },
    enter(address, now) {
      if (halfOpen >= limits.maxHalfOpen) return { status: 503, limit: 'half-open', retryAfterSeconds: 1 }
      const ofAddress = bucketOf(byAddress, addressGroup(address), limits.handshakesPerSecondPerAddress, now)
      if (!ofAddress.take(1, now)) {
        return { status: 429, limit: 'handshakes-per-address', retryAfterSeconds: 1 }
      }
      if (!process.take(1, now)) return { status: 503, limit: 'handshakes', retryAfterSeconds: 1 }
      halfOpen++
      return { leave: once(() => halfOpen--) }
    },
    judgeTenant(tenant, now) {
      const rate = limits.handshakesPerSecondPerTenant
      if (rate === undefined || bucketOf(byTenant, tenant, rate, now).take(1, now)) return undefined
      return { status: 429, limit: 'handshakes-per-tenant', retryAfterSeconds: 1 }
    },
    admit(address, identity) {
      if (open >= limits.maxConnections) return { status: 503, limit: 'connections', retryAfterSeconds: 5 }
      const taken = countsOf(address, identity)
      const full = taken.find(({ name, max }) => (counts.get(name) ?? 0) >= max)
      if (full !== undefined) return { status: 429, limit: full.limit, retryAfterSeconds: 5 }
      open++
      for (const { name } of taken) change(name, 1)
      return new Taken(giveBack, address, identity)
    },
    get open() {
      return open
    },
  }
}

interface Count {
  readonly name: string
  readonly max: number
  /** What a refusal says. */
  readonly limit: string
}

/** What a socket has taken, given back once. Fields instead of closures: each open connection has two of these. */
export class Taken {
  #giveBack: ((address: string, identity: Identity | undefined) => void) | undefined
  readonly #address: string
  readonly #identity: Identity | undefined

  constructor(
    giveBack: (address: string, identity: Identity | undefined) => void,
    address: string,
    identity?: Identity,
  ) {
    this.#giveBack = giveBack
    this.#address = address
    this.#identity = identity
  }

  release(): void {
    const giveBack = this.#giveBack
    this.#giveBack = undefined
    giveBack?.(this.#address, this.#identity)
  }
}

const socketsOf = (address: string): string => `sockets ${addressGroup(address)}`

/** IPv6 peers count by their /64, the smallest block a customer is given; IPv4 by address, also when mapped. */
export function addressGroup(address: string): string {
  const plain = address.startsWith('::ffff:') ? address.slice(7) : address
  if (!isIPv6(plain)) return plain
  const [head = '', tail] = plain.split('%')[0]!.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length
  return [...left, ...Array<string>(zeros).fill('0'), ...right].slice(0, 4).join(':')
}

function once(run: () => void): () => void {
  let isDone = false
  return () => {
    if (isDone) return
    isDone = true
    run()
  }
}
