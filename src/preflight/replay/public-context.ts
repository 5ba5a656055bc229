// The configuration as a record knows it. Whoever asks for what was not recorded - a secret, a file - is told so, and
// whatever it then says does not count.
import { keys, type KeySpec, type Values } from '../../config/keys.ts'
import type { Given, Problem, Resolution, Source } from '../../config/resolution.ts'
import { resolveKeys } from '../../config/resolve.ts'
import type { Profile } from '../../config/shapes.ts'
import type { FileFacts, RuleContext } from '../../rules/rule.ts'
import type { RunRecord } from './record.ts'

/** Variables to judge with instead of the recorded ones; undefined takes one away. */
export type Changes = Readonly<Record<string, string | undefined>>

export interface PublicContext {
  readonly ctx: RuleContext
  /** Names of what was asked for and not recorded, since the last call. */
  takeMissing(): readonly string[]
}

type Recorded = Pick<RunRecord, 'asked' | 'variables' | 'sources' | 'problems' | 'warnings' | 'localAddresses'>

export function publicContext(record: Recorded, changes: Changes = {}): PublicContext {
  let missing = new Set<string>()
  const lacks = (name: string): never => {
    missing.add(name)
    throw new Error(`${name} was not recorded`)
  }
  const isHidden = (name: string): boolean => {
    const variable = record.variables[name]
    return !Object.hasOwn(changes, name) && variable !== undefined && 'hidden' in variable
  }
  const fresh = resolveKeys(publicEnvironment(record, changes), { readFile: () => lacks('ARQONBUS_CONFIG_FILE') })
  const isChanged = ({ variable }: Problem): boolean => Object.hasOwn(changes, variable)
  const resolution: Resolution = {
    profile: fresh.profile,
    values: guardedValues(fresh.values, isHidden, lacks),
    limits: fresh.limits,
    sources: sourcesOf(record, fresh, changes),
    problems: [...record.problems.filter((problem) => !isChanged(problem)), ...fresh.problems.filter(isChanged)],
    warnings: [...record.warnings.filter((problem) => !isChanged(problem)), ...fresh.warnings.filter(isChanged)],
    given: givenOf(record, changes, lacks),
  }
  const asked = (record.asked ?? undefined) as Profile | undefined // written from one
  const files: FileFacts = {
    mode: (path) => lacks(`file ${path}`),
    isReadable: (path) => lacks(`file ${path}`),
    read: (path) => lacks(`file ${path}`),
  }
  return {
    ctx: {
      resolution,
      programs: ['bus', 'shield'],
      profile: asked ?? resolution.profile,
      ...(asked !== undefined && { asked }),
      files,
      localAddresses: record.localAddresses,
    },
    takeMissing() {
      const names = [...missing].sort()
      missing = new Set()
      return names
    },
  }
}

export function publicEnvironment(
  { variables }: Pick<Recorded, 'variables'>,
  changes: Changes,
): Record<string, string> {
  const recorded = Object.entries(variables).flatMap(([name, variable]) =>
    'value' in variable ? [[name, variable.value] as const] : [],
  )
  const given = Object.entries({ ...Object.fromEntries(recorded), ...changes })
  // What the file held is among the variables already.
  return Object.fromEntries(
    given.filter((entry): entry is [string, string] => entry[1] !== undefined && entry[0] !== 'ARQONBUS_CONFIG_FILE'),
  )
}

function guardedValues(values: Values, isHidden: (name: string) => boolean, lacks: (name: string) => never): Values {
  const guarded = {}
  for (const [key, { names }] of Object.entries(keys) as [keyof Values, KeySpec<unknown>][]) {
    const hidden = names.find(isHidden)
    Object.defineProperty(guarded, key, {
      enumerable: true,
      get: () => (hidden === undefined ? values[key] : lacks(hidden)),
    })
  }
  return guarded as Values // the same keys, each behind its guard
}

function sourcesOf(record: Recorded, fresh: Resolution, changes: Changes): ReadonlyMap<string, Source> {
  const changed = (label: string): boolean => {
    const names: readonly string[] = label in keys ? keys[label as keyof typeof keys].names : [label]
    return names.some((name) => Object.hasOwn(changes, name))
  }
  const entries = [...fresh.sources].map(([label, source]) => {
    return [label, changed(label) ? source : (record.sources[label] ?? source)] as const
  })
  return new Map(entries)
}

function givenOf(record: Recorded, changes: Changes, lacks: (name: string) => never): ReadonlyMap<string, Given> {
  const given = new Map<string, Given>()
  for (const [name, variable] of Object.entries(record.variables)) {
    const source = variable.source as Given['source'] // of what was given
    if ('value' in variable) given.set(name, { text: variable.value, source })
    else {
      const hidden = Object.defineProperty({ source }, 'text', { enumerable: true, get: () => lacks(name) })
      given.set(name, hidden as Given) // with a text that says that it is not there
    }
  }
  for (const [name, text] of Object.entries(changes)) {
    if (text === undefined) given.delete(name)
    else given.set(name, { text, source: { kind: 'env', name } })
  }
  return given
}
