// What a run was made in, by name and fingerprint: commit, lock file, variables. Compared, never judged.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createHmac } from 'node:crypto'
import { isJsonObject } from '../../base/json.ts'
import { type Resolution, showName } from '../../config/resolution.ts'
import { sha256 } from '../incident/archive.ts'
import { installationRoot } from '../incident/collect.ts'
import type { InstallationKey } from '../../certificate/installation-key.ts'
import type { Redactor } from '../incident/redact.ts'
import type { RunInputs } from '../report.ts'

/** Never throws: what cannot be had is absent. */
export function runInputs(
  { given }: Pick<Resolution, 'given'>,
  redactor: Redactor,
  { key }: InstallationKey,
  root: string = installationRoot,
): RunInputs {
  const commit = orAbsent(() => commitOf(root))
  const lock = orAbsent(() => sha256(readFileSync(join(root, 'package-lock.json'))))
  const variables = [...given]
    .filter(([name]) => isOurs(name))
    .map(([name, { text }]) => [redactor.text(showName(name)), redactor.fingerprint(text)] as const)
  return {
    ...(commit !== undefined && { commit }),
    ...(lock !== undefined && { lock }),
    key: createHmac('sha256', key).update('the name of this key').digest('hex').slice(0, 8),
    variables: Object.fromEntries(variables.sort(([a], [b]) => (a < b ? -1 : 1))),
  }
}

/** The shell's own variables change all the time and mean nothing here. */
const isOurs = (name: string): boolean => /^(?:ARQON|SHIELD|JWT|NATS|NODE_|VALKEY|REDIS|POSTGRES|PG|OLLAMA)/.test(name)

/** Read, not asked of git: a run that passes starts no further program. */
function commitOf(root: string): string | undefined {
  const place = join(root, '.git')
  if (!existsSync(place)) {
    const info: unknown = JSON.parse(readFileSync(join(root, 'build-info.json'), 'utf8'))
    const commit = isJsonObject(info) ? info['commit'] : undefined
    return typeof commit === 'string' ? hash(commit) : undefined
  }
  const folder = statSync(place).isDirectory() ? place : resolve(root, after(readFileSync(place, 'utf8'), 'gitdir: '))
  const head = readFileSync(join(folder, 'HEAD'), 'utf8').trim()
  if (!head.startsWith('ref: ')) return hash(head)
  const ref = after(head, 'ref: ')
  const common = orAbsent(() => resolve(folder, readFileSync(join(folder, 'commondir'), 'utf8').trim())) ?? folder
  for (const where of [folder, common]) {
    const loose = orAbsent(() => readFileSync(join(where, ref), 'utf8').trim())
    if (loose !== undefined) return hash(loose)
  }
  const packed = readFileSync(join(common, 'packed-refs'), 'utf8').split('\n')
  return hash(packed.find((line) => line.endsWith(` ${ref}`))?.split(' ')[0] ?? '')
}

const after = (text: string, start: string): string => text.trim().slice(start.length)
const hash = (text: string): string | undefined => (/^[0-9a-f]{40}$/.test(text) ? text : undefined)

function orAbsent<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
