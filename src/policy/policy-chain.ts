// The configured policies, asked in order until one refuses. Each is read again when its file changes: the old one
// serves until the new one is compiled and has passed its self-check, and goes on serving when that fails.
import { readFile, stat } from 'node:fs/promises'
import type { Clock } from '../base/clock.ts'
import { BusError, isBusError } from '../base/errors.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { ComponentReport } from '../telemetry/health.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { type LoadedPolicy, loadPolicy, revisionOf } from './loaded-policy.ts'
import { policyName, readPins } from './pins.ts'
import { allowed, type AddedHeaders, type Policy, type PolicyInput, type Verdict } from './policy.ts'
import { createPolicyMeter, type PolicyMeter } from './policy-metrics.ts'
import { maxModuleBytes } from './prepare-module.ts'
import { createWorkerPool, type WorkerPool } from './worker-pool.ts'

export interface PolicyOptions {
  /** In the order in which they are asked. */
  readonly files: readonly string[]
  /** `<name>:<SHA-256>` each; where there is one, what is not pinned is not loaded. */
  readonly pins?: readonly string[]
  readonly fuel: number
  readonly maxMemoryPages: number
  readonly maxInstances: number
  readonly deadlineMs: number
  readonly threads: number
  readonly maxWaiting: number
  /** How often the files are looked at; 0: never. */
  readonly reloadMs: number
  /** False: a policy that keeps failing is asked all the same. */
  readonly hasCircuits?: boolean
}

export interface PolicyPorts {
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics | undefined
}

export interface PolicyChain extends Policy {
  readonly meter: PolicyMeter
  readonly policies: readonly LoadedPolicy[]
  /** `degraded` while a circuit is open or a changed file is refused; frames are judged all the same. */
  readonly health: () => ComponentReport
  /** Looks at the files now. Never rejects: what cannot be loaded is said in health. */
  readonly reload: () => Promise<void>
  readonly close: () => Promise<void>
}

interface Slot {
  readonly path: string
  readonly name: string
  current: LoadedPolicy
  /** Of the file as it was last looked at. */
  stamp: string
  /** Why the file as it is now does not serve. */
  refusal: string | undefined
}

/** Rejects with START_REFUSED when any of them cannot be read or may not run. */
export async function openPolicies(options: PolicyOptions, ports: PolicyPorts): Promise<PolicyChain> {
  const { clock, logger, metrics } = ports
  const meter = createPolicyMeter(metrics, logger, clock)
  let pool: WorkerPool | undefined
  const openPool = (): WorkerPool =>
    (pool ??= createWorkerPool({
      nowMs: () => clock.monotonic(),
      ...options,
      log: (id, tenant, line) => meter.logged(meter.policyOf(id), tenant, line),
    }))

  const circuits = options.hasCircuits === false ? { hasCircuit: false } : {}
  const pins = readPins(options.pins ?? [])
  const load = async (name: string, bytes: Uint8Array): Promise<LoadedPolicy> => {
    pins.check(name, bytes)
    return loadPolicy({ name, bytes, limits: options, pool: openPool, clock, notes: meter, ...circuits })
  }

  const slots: Slot[] = []
  try {
    for (const [path, name] of nameAll(options.files)) {
      const stamp = await stampOf(path)
      const current = await load(name, await readPolicy(name, path))
      slots.push({ path, name, current, stamp, refusal: undefined })
      const { revision, unmetered } = current
      logger.info('policy.loaded', { policy: name, revision, ...(unmetered !== undefined && { unmetered }) })
    }
  } catch (error) {
    await pool?.close()
    throw error
  }
  metrics?.gaugesFrom('shield_policy_circuits_open', 'Tenants whose frames are refused unasked', 'policy', () =>
    Object.fromEntries(slots.map(({ name, current }) => [name, current.openCircuits])),
  )

  async function refresh(slot: Slot): Promise<void> {
    const stamp = await stampOf(slot.path).catch(() => 'gone')
    if (stamp === slot.stamp) return
    slot.stamp = stamp
    try {
      const bytes = await readPolicy(slot.name, slot.path)
      slot.refusal = undefined
      if (revisionOf(bytes) === slot.current.revision) return
      const old = slot.current
      slot.current = await load(slot.name, bytes)
      old.retire()
      logger.info('policy.reloaded', { policy: slot.name, from: old.revision, to: slot.current.revision })
    } catch (error) {
      slot.refusal = isBusError(error) ? String(error.details['reason']) : 'INTERNAL_ERROR'
      logger.error('policy.reload_refused', {
        policy: slot.name,
        serves: slot.current.revision,
        ...describeError(error),
      })
    }
  }

  let reloading: Promise<void> | undefined
  const reload = (): Promise<void> => {
    reloading ??= (async () => {
      for (const slot of slots) await refresh(slot)
    })().finally(() => {
      reloading = undefined
    })
    return reloading
  }
  const timer = options.reloadMs === 0 ? undefined : setInterval(() => void reload(), options.reloadMs)
  timer?.unref()

  /** From the policy at `index` on. */
  function decideFrom(index: number, input: PolicyInput, before: AddedHeaders | undefined): Verdict | Promise<Verdict> {
    let added = before
    for (let at = index; at < slots.length; at++) {
      const verdict = slots[at]!.current.decide(input)
      if (verdict instanceof Promise) return verdict.then((late) => goOn(late, at + 1, input, added))
      if (!verdict.allows) return verdict
      added = merged(added, verdict.headers)
    }
    return added === undefined ? allowed : { allows: true, headers: added }
  }

  function goOn(
    verdict: Verdict,
    next: number,
    input: PolicyInput,
    added: AddedHeaders | undefined,
  ): Verdict | Promise<Verdict> {
    return verdict.allows ? decideFrom(next, input, merged(added, verdict.headers)) : verdict
  }

  return {
    name: slots.map(({ name }) => name).join(','),
    meter,
    get policies() {
      return slots.map(({ current }) => current)
    },
    decide(input) {
      const startMs = clock.monotonic()
      const verdict = decideFrom(0, input, undefined)
      if (!(verdict instanceof Promise)) {
        meter.took((clock.monotonic() - startMs) / 1_000)
        return verdict
      }
      return verdict.finally(() => meter.took((clock.monotonic() - startMs) / 1_000))
    },
    health: () => healthOf(slots),
    reload,
    async close() {
      clearInterval(timer)
      await reloading
      await pool?.close()
    },
  }
}

function merged(before: AddedHeaders | undefined, after: AddedHeaders | undefined): AddedHeaders | undefined {
  return before === undefined ? after : after === undefined ? before : { ...before, ...after }
}

/** Paths with the names under which metrics, logs and health speak of them. */
function nameAll(paths: readonly string[]): [path: string, name: string][] {
  const named = paths.map((path): [string, string] => [path, policyName(path)])
  const twice = named.find(([, name], index) => named.findIndex(([, other]) => other === name) !== index)
  if (twice === undefined) return named
  throw new BusError('START_REFUSED', `Two policies are called ${twice[1]}; rename one of the files`, {
    reason: 'POLICY_TWICE',
    policy: twice[1],
  })
}

/** Rejects with START_REFUSED / POLICY_UNREADABLE or POLICY_TOO_LARGE. */
export async function readPolicy(name: string, path: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path)
    if (size > maxModuleBytes) {
      throw new BusError('START_REFUSED', `Policy ${name} is refused: ${size} bytes, at most ${maxModuleBytes}`, {
        reason: 'POLICY_TOO_LARGE',
        policy: name,
      })
    }
    return await readFile(path)
  } catch (cause) {
    if (isBusError(cause)) throw cause
    const details = { reason: 'POLICY_UNREADABLE', policy: name }
    throw new BusError('START_REFUSED', `The file of policy ${name} cannot be read`, details, cause)
  }
}

async function stampOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeMs } = await stat(path)
    return `${ino} ${size} ${mtimeMs}`
  } catch {
    return 'gone'
  }
}

function healthOf(slots: readonly Slot[]): ComponentReport {
  const troubles = slots.flatMap(({ name, current, refusal }) => [
    ...(refusal === undefined ? [] : [`${name}: its changed file is refused (${refusal}), ${current.revision} serves`]),
    ...(current.openCircuits === 0 ? [] : [`${name}: keeps failing, circuit open for ${current.openCircuits} tenants`]),
  ])
  if (troubles.length > 0) return { name: 'policy', state: 'degraded', detail: troubles.join('; ') }
  return {
    name: 'policy',
    state: 'up',
    detail: slots.map(({ name, current }) => `${name}@${current.revision}`).join(' '),
  }
}
