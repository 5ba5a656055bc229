// One policy as it came from one state of its file: compiled, tried once on a frame of our own, and from then on asked
// about frames. Metered modules answer at once, others from a thread of the pool.
import type { Identity } from '../auth/identity.ts'
import type { Clock } from '../base/clock.ts'
import { BusError } from '../base/errors.ts'
import { encodeProtobuf } from '../wire/protobuf-codec.ts'
import { scanFrame } from '../wire/message-frame.ts'
import { defaultWireLimits } from '../wire/limits.ts'
import { Circuit } from './circuit.ts'
import type { CallInput, Failure, LogLine, Outcome } from './instance.ts'
import { sha256Of } from './pins.ts'
import { allowed, type PolicyInput, type Verdict } from './policy.ts'
import { type ModuleLimits, prepareModule } from './prepare-module.ts'
import { RecentMap } from './recent-map.ts'
import { createTenantInstances, type ModuleSettings } from './tenants.ts'
import type { Job } from './worker-messages.ts'
import type { WorkerPool } from './worker-pool.ts'

export interface LoadedPolicy {
  readonly name: string
  /** The first 12 hex of the file's SHA-256. */
  readonly revision: string
  /** Why it runs in a thread of its own under a deadline; absent where it runs on fuel. */
  readonly unmetered: string | undefined
  /** Tenants whose frames are refused unasked. */
  readonly openCircuits: number
  decide(input: PolicyInput): Verdict | Promise<Verdict>
  /** Used no more by new frames; those under way are still judged. */
  retire(): void
}

export interface LoadOptions {
  readonly name: string
  readonly bytes: Uint8Array
  readonly limits: ModuleLimits & { readonly maxInstances: number }
  /** Asked for only when the module cannot be metered. */
  readonly pool: () => WorkerPool
  readonly clock: Clock
  readonly notes: PolicyNotes
  /** False: a policy that keeps failing is asked all the same, as replaying needs it. */
  readonly hasCircuit?: boolean
}

/** What is told of a policy while it works. */
export interface PolicyNotes {
  judged(policy: string, outcome: Outcome, fuelUsed: number): void
  logged(policy: string, tenant: string, line: LogLine): void
  circuitOpened(policy: string, tenant: string, failure: Failure): void
  /** So that lines of a thread find their policy. */
  runsAs(policy: string, id: number): void
}

const revisionDigits = 12
const checkTenant = 'arqon-self-check'
const checkAttempts = 3
const checkedIdentity: Identity = { tenant: checkTenant, subject: 'self-check', role: 'user' }

export const revisionOf = (bytes: Uint8Array): string => sha256Of(bytes).slice(0, revisionDigits)

/** Throws START_REFUSED for a module that may not run, or comes to no decision on an ordinary frame. */
export async function loadPolicy(options: LoadOptions): Promise<LoadedPolicy> {
  const { name, bytes, limits, clock, notes } = options
  const { wasm, fuelExport, unmetered } = prepareModule(name, bytes, limits)
  const module = await WebAssembly.compile(wasm)
  const settings: ModuleSettings = {
    module,
    fuel: limits.fuel,
    maxInstances: limits.maxInstances,
    ...(fuelExport !== undefined && { fuelExport }),
  }
  const judge = unmetered === undefined ? inThread(settings, options) : inPool(settings, options)
  const nowMs = (): number => clock.monotonic()
  const circuits = new RecentMap<Circuit>(limits.maxInstances)
  try {
    await selfCheck(name, judge)
  } catch (error) {
    judge.retire()
    throw error
  }

  function circuitOf(tenant: string): Circuit {
    const known = circuits.get(tenant)
    if (known !== undefined) return known
    const circuit = new Circuit(options.hasCircuit === false)
    circuits.set(tenant, circuit)
    return circuit
  }

  function settle(circuit: Circuit, tenant: string, outcome: Outcome): Verdict {
    notes.judged(name, outcome, judge.fuelUsed)
    if (outcome.kind !== 'failure') circuit.succeeded()
    else if (circuit.failed(clock.monotonic())) notes.circuitOpened(name, tenant, outcome.failure)
    return toVerdict(name, outcome)
  }

  return {
    name,
    revision: revisionOf(bytes),
    unmetered,
    get openCircuits() {
      let open = 0
      for (const circuit of circuits.values()) if (circuit.isOpen) open++
      return open
    },
    decide(input) {
      const { tenant } = input.identity
      const circuit = circuitOf(tenant)
      if (!circuit.admits(nowMs)) {
        notes.judged(name, circuitOpen, 0)
        return toVerdict(name, circuitOpen)
      }
      const outcome = judge.call(input)
      if (!(outcome instanceof Promise)) return settle(circuit, tenant, outcome)
      return outcome.then((late) => settle(circuit, tenant, late))
    },
    retire: () => judge.retire(),
  }
}

const circuitOpen: Outcome = { kind: 'failure', failure: 'CIRCUIT_OPEN', isBroken: false }

interface Judge {
  call(input: PolicyInput): Outcome | Promise<Outcome>
  /** Of the last call. */
  readonly fuelUsed: number
  retire(): void
}

function inThread(settings: ModuleSettings, { name, notes }: LoadOptions): Judge {
  const instances = createTenantInstances(settings, (tenant, line) => notes.logged(name, tenant, line))
  return {
    get fuelUsed() {
      return instances.fuelUsed
    },
    call: (input) => instances.call(input.identity.tenant, toCall(input)),
    retire: () => undefined,
  }
}

function toCall({ frame, payload, headers, identity }: PolicyInput): CallInput {
  return { frame, payload, headers, claim: (name) => claimOf(identity, name) }
}

function inPool(settings: ModuleSettings, options: LoadOptions): Judge {
  const pool = options.pool()
  const id = pool.load(settings)
  options.notes.runsAs(options.name, id)
  let underWay = 0
  let isRetired = false
  const unloadWhenIdle = (): void => {
    if (isRetired && underWay === 0) pool.unload(id)
  }
  return {
    fuelUsed: 0,
    async call(input) {
      underWay++
      try {
        return await pool.judge(id, toJob(input))
      } finally {
        underWay--
        unloadWhenIdle()
      }
    },
    retire() {
      isRetired = true
      unloadWhenIdle()
    },
  }
}

/** A copy: sending a view would send the whole buffer that it is a part of. */
function toJob({ frame, payload, headers, identity }: PolicyInput): Job {
  const start = payload === undefined ? 0 : payload.byteOffset - frame.byteOffset
  const claims = Object.fromEntries(claimNames.map((name) => [name, claimOf(identity, name)]))
  return {
    tenant: identity.tenant,
    frame: new Uint8Array(frame),
    payload: payload && [start, start + payload.length],
    headers,
    claims: claims as Record<string, string>, // an absent one stays undefined on the way
  }
}

export const claimNames = ['sub', 'tenant_id', 'role', 'exp', 'permissions'] as const

/** What the token said, as text: `exp` in seconds, permissions comma separated. */
function claimOf({ subject, tenant, role, expiresAtMs, permissions }: Identity, name: string): string | undefined {
  switch (name) {
    case 'sub':
      return subject
    case 'tenant_id':
      return tenant
    case 'role':
      return role
    case 'exp':
      return expiresAtMs === undefined ? undefined : String(Math.floor(expiresAtMs / 1_000))
    case 'permissions':
      return permissions?.join(',')
    default:
      return undefined
  }
}

function toVerdict(policy: string, outcome: Outcome): Verdict {
  switch (outcome.kind) {
    case 'allow':
      return outcome.headers === undefined ? allowed : { allows: true, headers: outcome.headers }
    case 'deny':
      return { allows: false, code: 'POLICY_DENIED', reason: outcome.reason ?? 'DENIED', policy }
    case 'failure':
      return { allows: false, code: 'POLICY_ERROR', reason: outcome.failure, policy }
  }
}

const isTimeout = (outcome: Outcome): boolean => outcome.kind === 'failure' && outcome.failure === 'TIMEOUT'

/** Either decision is fine; the instance that made it is of a tenant that nobody else is. */
async function selfCheck(policy: string, judge: Judge): Promise<void> {
  const frame = encodeProtobuf({
    id: 'arq_1700000000000000000_1_abcdef',
    timestamp: '2026-01-01T00:00:00.000Z',
    type: 'message',
    version: '1.0',
    room: 'self-check',
    channel: 'policy',
    payload: { n: 1 },
    args: {},
    metadata: {},
  })
  const { payload } = scanFrame(frame, defaultWireLimits)
  const input = { identity: checkedIdentity, clientId: '', trace: '', frame, payload, headers: {} }
  let outcome = await judge.call(input)
  // Cold code on a busy machine can miss a deadline that it never will again.
  for (let again = 1; again < checkAttempts && isTimeout(outcome); again++) outcome = await judge.call(input)
  if (outcome.kind !== 'failure') return
  const message = `Policy ${policy} is refused: it comes to no decision on an ordinary message (${outcome.failure})`
  throw new BusError('START_REFUSED', message, { reason: 'POLICY_SELF_CHECK', policy, failure: outcome.failure })
}
