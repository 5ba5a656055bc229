// gate.not-hollow: a suite that is green because it has lost its tests.
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import type { CheckPorts } from '../check.ts'
import { type Host, readJson } from '../runtime/host.ts'
import { ProbeStop } from '../stops.ts'
import { suiteNames } from './gate-ids.ts'
import { isHollow } from './hollow-judges.ts'
import { sessionOf, validAttestation } from './gate-session.ts'

export const hollowShape = {
  by: 'string',
  attestation: 'object?',
  /** `{suite, tests, base}`; no base in the first run. */
  suites: 'objects',
} as const

export interface HollowFacts {
  readonly by: string
  readonly attestation?: JsonObject
  readonly suites: readonly JsonObject[]
}

const schema = 'arqonbus/preflight-gate-counts/1'
const fileOf = ({ ctx }: CheckPorts): string => join(ctx.resolution.values.dataDir, 'preflight-gates.json')

/**
 * All suites are green when this looks. The base only rises: a suite that loses a few tests each time would otherwise
 * be gone in the end. Whoever takes tests away on purpose takes the entry out of the file.
 */
export async function probeHollow(host: Host, ports: CheckPorts, signal: AbortSignal): Promise<HollowFacts> {
  const attestation = await validAttestation(host, ports, signal)
  if (attestation !== undefined) return { by: 'attestation', attestation, suites: [] }
  const { tests } = sessionOf(ports, host)
  const path = fileOf(ports)
  const bases = readBases(path)
  const suites = suiteNames.map((suite) => {
    const base = bases[suite]
    return { suite, tests: tests.get(suite) ?? 0, ...(typeof base === 'number' && { base }) }
  })
  if (!suites.some(isHollow)) {
    writeBases(path, Object.fromEntries(suites.map((one) => [one.suite, Math.max(one.tests, one.base ?? 0)])))
  }
  return { by: 'run', suites }
}

/** Stops for a file that is there and cannot be read: it would be the end of every comparison. */
function readBases(path: string): JsonObject {
  if (!existsSync(path)) return {}
  const value = readJson(path)
  const suites = value?.['suites']
  if (value?.['schema'] === schema && isJsonObject(suites)) return suites
  throw new ProbeStop('COUNTS_UNREADABLE', path)
}

function writeBases(path: string, suites: JsonObject): void {
  try {
    mkdirSync(dirname(path), { recursive: true })
    const text = `${JSON.stringify({ schema, suites }, null, 2)}\n`
    writeFileSync(`${path}.new`, text, { mode: 0o600 })
    renameSync(`${path}.new`, path)
  } catch (error) {
    throw new ProbeStop('COUNTS_UNWRITABLE', error instanceof Error ? error.message : 'unknown error')
  }
}
