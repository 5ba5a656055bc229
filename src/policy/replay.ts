// Recorded frames put to a policy without a gateway: what would it say, and where does it differ from another one?
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Identity } from '../auth/identity.ts'
import { BusError, isBusError } from '../base/errors.ts'
import type { WireLimits } from '../wire/limits.ts'
import { argumentsOf, scanFrame } from '../wire/message-frame.ts'
import type { AddedHeaders, PolicyInput } from './policy.ts'
import { openPolicies, type PolicyOptions, type PolicyPorts } from './policy-chain.ts'

export interface RecordedFrame {
  readonly file: string
  readonly bytes: Uint8Array
}

export interface ReplayedFrame {
  readonly file: string
  /** `invalid`: no frame that a gateway would put to a policy. */
  readonly verdict: 'allow' | 'deny' | 'error' | 'invalid'
  readonly reason?: string
  readonly headers?: AddedHeaders
  /** 0 where the module could not be metered. */
  readonly fuel: number
}

export interface Difference {
  readonly file: string
  readonly baseline: ReplayedFrame
  readonly candidate: ReplayedFrame
}

/** Every file of a folder in the order of their names, each one binary frame. */
export async function readFrames(folder: string): Promise<RecordedFrame[]> {
  const entries = await readdir(folder, { withFileTypes: true })
  const names = entries.filter((entry) => entry.isFile()).map(({ name }) => name)
  return Promise.all(names.sort().map(async (file) => ({ file, bytes: await readFile(join(folder, file)) })))
}

export interface ReplayOptions {
  readonly file: string
  readonly frames: readonly RecordedFrame[]
  readonly identity: Identity
  readonly headers: Readonly<Record<string, string>>
  readonly wire: WireLimits
  readonly settings: Omit<PolicyOptions, 'files' | 'reloadMs' | 'hasCircuits'>
}

/** In the order of the frames, as one tenant's. Rejects with START_REFUSED when the module may not run. */
export async function replay(options: ReplayOptions, ports: PolicyPorts): Promise<ReplayedFrame[]> {
  const { file, frames, identity, headers } = options
  const chain = await openPolicies({ ...options.settings, files: [file], reloadMs: 0, hasCircuits: false }, ports)
  const [policy] = chain.policies
  if (policy === undefined) throw new BusError('INTERNAL_ERROR')
  const fuelSoFar = (): number => chain.meter.fuel[policy.name] ?? 0
  try {
    const results: ReplayedFrame[] = []
    for (const { file: name, bytes } of frames) {
      const read = payloadOf(bytes, options.wire)
      if (typeof read === 'string') {
        results.push({ file: name, verdict: 'invalid', reason: read, fuel: 0 })
        continue
      }
      const before = fuelSoFar()
      const input: PolicyInput = { identity, clientId: '', trace: '', frame: bytes, ...read, headers }
      const verdict = await policy.decide(input)
      const fuel = fuelSoFar() - before
      if (verdict.allows) {
        results.push({ file: name, verdict: 'allow', fuel, ...(verdict.headers && { headers: verdict.headers }) })
        continue
      }
      const reason = verdict.reason ?? verdict.code
      results.push({ file: name, verdict: verdict.code === 'POLICY_DENIED' ? 'deny' : 'error', reason, fuel })
    }
    return results
  } finally {
    await chain.close()
  }
}

/** The part of a frame that policies know as its payload, or why it is no frame. */
function payloadOf(bytes: Uint8Array, limits: WireLimits): { payload: Uint8Array | undefined } | string {
  try {
    const scan = scanFrame(bytes, limits)
    return { payload: scan.type === 'command' ? argumentsOf(scan) : scan.payload }
  } catch (error) {
    if (isBusError(error)) return String(error.details['reason'] ?? error.code)
    throw error
  }
}

/** Fuel is no difference: it changes with every build. */
export function differencesOf(baseline: readonly ReplayedFrame[], candidate: readonly ReplayedFrame[]): Difference[] {
  const shown = ({ verdict, reason, headers }: ReplayedFrame): string => JSON.stringify([verdict, reason, headers])
  return candidate.flatMap((one, index) => {
    const other = baseline[index]
    return other === undefined || shown(other) === shown(one)
      ? []
      : [{ file: one.file, baseline: other, candidate: one }]
  })
}
