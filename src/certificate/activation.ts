// Which builds were activated in which start environment, in the data folder. A certificate has to be activated soon
// after it was issued; what was activated once starts again whenever it has to.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { randomHex } from '../base/ids.ts'
import { isJsonObject } from '../base/json.ts'

export interface Activation {
  /** Digest of the certificate. */
  readonly certificate: string
  /** Digest of the program's files, and of the start environment. */
  readonly artefact: string
  readonly fingerprint: string
  /** RFC 3339. */
  readonly at: string
}

const schema = 'arqonbus/activations/1'
/** Older ones are let go: a site goes back by a few builds, not by more. */
const kept = 32

const pathOf = (dataDir: string): string => join(dataDir, 'activation.json')

/** None where the file is absent or cannot be understood. Never throws. */
export function readActivations(dataDir: string): readonly Activation[] {
  try {
    const value: unknown = JSON.parse(readFileSync(pathOf(dataDir), 'utf8'))
    if (!isJsonObject(value) || value['schema'] !== schema || !Array.isArray(value['activations'])) return []
    return (value['activations'] as readonly unknown[]).filter(isActivation)
  } catch {
    return []
  }
}

type Pair = Pick<Activation, 'artefact' | 'fingerprint'>
const isSame = (a: Pair, b: Pair): boolean => a.artefact === b.artefact && a.fingerprint === b.fingerprint

export const isActivated = (dataDir: string, pair: Pair): boolean =>
  readActivations(dataDir).some((activation) => isSame(activation, pair))

/** Once for a build and environment; at once or not at all. Throws as `node:fs` does. */
export function recordActivation(dataDir: string, activation: Activation): void {
  const before = readActivations(dataDir)
  if (before.some((one) => isSame(one, activation))) return
  const activations = [...before, activation].slice(-kept)
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const next = `${pathOf(dataDir)}.${randomHex(8)}.new`
  writeFileSync(next, `${JSON.stringify({ schema, activations }, null, 2)}\n`, { mode: 0o600, flag: 'wx' })
  renameSync(next, pathOf(dataDir))
}

function isActivation(value: unknown): value is Activation {
  return (
    isJsonObject(value) &&
    ['certificate', 'artefact', 'fingerprint', 'at'].every((name) => typeof value[name] === 'string')
  )
}
