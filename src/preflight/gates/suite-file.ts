// preflight.gates.json: the suites of a project as data. Name to command, sources, and the skips that are agreed on.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isJsonObject, type JsonObject, type JsonValue } from '../../base/json.ts'
import { type Host, sha256 } from '../runtime/host.ts'
import { ProbeStop } from '../stops.ts'

export const suiteFileName = 'preflight.gates.json'

export interface Suite {
  /** `{node}` is this Node, `{report}` where the report has to be written; `files` are added at its end. */
  readonly command: readonly string[]
  /** Each has to be there. */
  readonly files: readonly string[]
  /** Files or folders that are looked through for `.only`; each has to be there. */
  readonly sources: readonly string[]
  /** Suites that hold all of its tests: where these ran before, their reports are read and nothing is run again. */
  readonly partOf: readonly string[]
  /** Full names of tests that may be skipped; each with its reason in the file. */
  readonly skips: readonly string[]
}

export interface SuiteFile {
  /** Of the file's bytes. */
  readonly digest: string
  readonly suites: ReadonlyMap<string, Suite>
}

const schema = 'arqonbus/preflight-gates/1'

/** Undefined where there is none: beside the manifest, or where a build puts it. Stops for one that cannot be read. */
export function readSuiteFile({ root }: Pick<Host, 'root'>): SuiteFile | undefined {
  const path = [join(root, suiteFileName), join(root, 'dist', suiteFileName)].find((one) => existsSync(one))
  if (path === undefined) return undefined
  const bytes = readFileSync(path)
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch {
    throw wrong('no JSON')
  }
  if (!isJsonObject(value) || value['schema'] !== schema) throw wrong(`no object with the schema ${schema}`)
  const { suites } = value
  if (!isJsonObject(suites)) throw wrong('no suites')
  const read = Object.entries(suites).map(([name, suite]) => [name, readSuite(name, suite)] as const)
  return { digest: sha256(bytes), suites: new Map(read) }
}

const known = ['command', 'report', 'files', 'sources', 'partOf', 'skips']

function readSuite(name: string, value: JsonValue): Suite {
  if (!isJsonObject(value)) throw wrong(`${name} is no object`)
  const stranger = Object.keys(value).find((key) => !known.includes(key))
  if (stranger !== undefined) throw wrong(`${name} has ${stranger}, which nobody knows`)
  if (value['report'] !== 'vitest-json') throw wrong(`${name} has a report that is not vitest-json`)
  const command = textsOf(value, 'command', name)
  if (!command.some((word) => word.includes('{report}'))) throw wrong(`the command of ${name} names no {report}`)
  const sources = textsOf(value, 'sources', name)
  if (sources.length === 0) throw wrong(`${name} names no sources`)
  const [files, partOf] = [textsOf(value, 'files', name), textsOf(value, 'partOf', name)]
  return { command, sources, files, partOf, skips: skipsOf(value, name) }
}

function textsOf(value: JsonObject, key: string, name: string): string[] {
  const list = value[key] ?? []
  if (!Array.isArray(list) || !list.every((item) => typeof item === 'string' && item !== '')) {
    throw wrong(`${key} of ${name} is no list of texts`)
  }
  return list as string[]
}

/** A skip without a reason is nobody's decision. */
function skipsOf(value: JsonObject, name: string): string[] {
  const list = value['skips'] ?? []
  if (!Array.isArray(list)) throw wrong(`skips of ${name} is no list`)
  return list.map((entry) => {
    const { test, reason } = isJsonObject(entry) ? entry : {}
    if (typeof test !== 'string' || test === '' || typeof reason !== 'string' || reason.trim() === '') {
      throw wrong(`a skip of ${name} has no test or no reason`)
    }
    return test
  })
}

const wrong = (observed: string): ProbeStop => new ProbeStop('SUITES_UNREADABLE', `${suiteFileName}: ${observed}`)
