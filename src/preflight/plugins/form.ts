// The head of a plug-in's check, and what its judge returns: held to their form before anything relies on them, since
// nobody here compiled them. Unknown fields are refused, as a typing error in one would be obeyed silently.
import { BusError } from '../../base/errors.ts'
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import { checkForm } from '../../waivers/waiver-file.ts'
import { type Check, type CheckResult, type Effect, phases } from '../check.ts'
import { harmless } from '../report.ts'

export type PluginHead = Omit<Check, 'judge' | 'probe' | 'consult' | 'resource' | 'isRollUp' | 'origin'> & {
  readonly variables: readonly string[]
}

/** An input fault: the run is refused, and the message names the file. */
export function invalid(file: string, problems: readonly string[]): BusError {
  const message = `the plug-in ${file}: ${problems.map(harmless).join('; ')}`
  return new BusError('CONFIG_INVALID', message, { reason: 'PLUGIN_INVALID' })
}

const idForm = /^x\.[a-z0-9][a-z0-9-]*(?:\.[a-z0-9][a-z0-9-]*)+$/
const variableForm = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/
const codeForm = /^[A-Z][A-Z0-9_]{0,63}$/
const severities: readonly unknown[] = ['critical', 'high', 'advisory']
const classes: readonly unknown[] = ['config', 'dependency', 'regression', 'unknown']
const effectKinds: readonly unknown[] = ['env', 'file', 'net', 'write', 'spawn']
const factForms = /^(?:string|number|boolean|strings|objects|object)\??$/
const defaultDeadlineMs = 5_000
const mostDeadlineMs = 600_000
const mostText = 500
const mostWorlds = 50

type Test = (value: unknown) => boolean
/** What is printed: nothing in it steers a terminal. */
const isText: Test = (value) =>
  typeof value === 'string' &&
  value.trim() !== '' &&
  value.length <= mostText &&
  !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(value)
const isListOf =
  (test: Test): Test =>
  (value) =>
    Array.isArray(value) && value.every(test)
const isMapOf =
  (test: Test): Test =>
  (value) =>
    isJsonObject(value) && Object.values(value).every(test)
const matches =
  (form: RegExp): Test =>
  (value) =>
    typeof value === 'string' && form.test(value)

const isEffect: Test = (value) => isJsonObject(value) && effectKinds.includes(value['kind']) && isText(value['what'])
const isWorld: Test = (value) => isJsonObject(value) && isText(value['name'])
const isFailing: Test = (value) =>
  isWorld(value) && isJsonObject(value) && isJsonObject(value['expect']) && matches(codeForm)(value['expect']['code'])
const isWorlds: Test = (value) =>
  isJsonObject(value) &&
  isListOf(isWorld)(value['passes']) &&
  isListOf(isFailing)(value['fails']) &&
  isListOf(isWorld)(value['ignores']) &&
  Object.values(value).every((list) => Array.isArray(list) && list.length <= mostWorlds)

/** Field, whether it has to be there, its test, and what it has to be. */
const fields: readonly (readonly [name: string, isRequired: boolean, test: Test, expects: string])[] = [
  ['id', true, matches(idForm), 'x.<org>.<name> in lower-case letters, digits and dashes'],
  ['title', true, isText, 'a text'],
  ['proves', true, isText, 'a text'],
  ['evidence', true, isText, 'a text'],
  ['fix', true, isText, 'a text'],
  ['phase', true, (value) => (phases as readonly unknown[]).includes(value), `one of ${phases.join(', ')}`],
  ['severity', true, (value) => severities.includes(value), 'critical, high or advisory (a plug-in is no blocker)'],
  ['class', true, (value) => classes.includes(value), `one of ${classes.join(', ')}`],
  ['requires', false, isListOf(matches(checkForm)), 'a list of ids'],
  ['deadlineMs', false, isDeadline, `a whole number from 100 to ${mostDeadlineMs}`],
  ['effects', true, isListOf(isEffect), 'a list of {kind, what}'],
  ['isDeep', false, (value) => typeof value === 'boolean', 'true or false'],
  ['retryOn', false, isListOf(matches(codeForm)), 'a list of codes'],
  ['hints', false, isMapOf(isText), 'texts by code'],
  ['variables', false, isListOf(matches(variableForm)), 'a list of names of variables'],
  ['shape', true, isMapOf(matches(factForms)), 'forms by name of fact'],
  ['worlds', true, isWorlds, `passes, fails and ignores: worlds with a name, at most ${mostWorlds} of each`],
]

function isDeadline(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 100 && (value as number) <= mostDeadlineMs
}

/** `more` are fields that this kind of plug-in has besides. Throws CONFIG_INVALID (PLUGIN_INVALID). */
export function readHead(value: unknown, file: string, more: readonly string[] = []): PluginHead {
  if (!isJsonObject(value)) throw invalid(file, ['it describes no check'])
  const known = new Set([...fields.map(([name]) => name), ...more])
  const problems = fields.flatMap(([name, isRequired, test, expects]) => {
    if (value[name] === undefined) return isRequired ? [`${name} is missing: ${expects}`] : []
    return test(value[name]) ? [] : [`${name} is not ${expects}`]
  })
  problems.push(...Object.keys(value).flatMap((name) => (known.has(name) ? [] : [`${name} is no field of a check`])))
  if (problems.length > 0) throw invalid(file, problems)
  const head = value as unknown as Partial<PluginHead> // as just checked, field by field
  return {
    ...(Object.fromEntries(
      fields.flatMap(([name]) => (name in value ? [[name, value[name]]] : [])),
    ) as unknown as PluginHead),
    runbook: [], // lines of the runbook are proved by what this build is made of
    requires: head.requires ?? [],
    deadlineMs: head.deadlineMs ?? defaultDeadlineMs,
    variables: head.variables ?? [],
    appliesWhen: { name: 'always', test: () => ({ holds: true, because: 'always' }) },
  }
}

/** With what every plug-in does, for the plan: the variables it is given, and the program it is. */
export function effectsOf({ effects, variables }: PluginHead, program?: string): Effect[] {
  return [
    ...(program === undefined ? [] : [{ kind: 'spawn' as const, what: program }]),
    ...(variables.length === 0 ? [] : [{ kind: 'env' as const, what: `is given ${variables.join(', ')}` }]),
    ...effects,
  ]
}

/**
 * The result of a foreign judge; undefined when it is none. Codes and fixes go into the canonical report: what is not
 * of their form is not let in.
 */
export function readResult(value: unknown): CheckResult | undefined {
  if (!isJsonObject(value)) return undefined
  const { status, observed, facts, class: fault, findings, code } = value
  const text = typeof observed === 'string' ? { observed } : {}
  if (observed !== undefined && typeof observed !== 'string') return undefined
  if (facts !== undefined && !isJsonObject(facts)) return undefined
  const kept = facts === undefined ? {} : { facts: facts as JsonObject }
  const judged =
    fault === undefined ? {} : { class: fault as NonNullable<Extract<CheckResult, { status: 'fail' }>['class']> }
  if (fault !== undefined && !classes.includes(fault)) return undefined
  if (status === 'pass') return { status, ...text, ...kept }
  if (status === 'error') {
    if (!matches(codeForm)(code)) return undefined
    return { status, code: code as string, observed: text.observed ?? '', ...judged }
  }
  if (status !== 'fail' || !areFindings(findings)) return undefined
  const [first, ...others] = findings.map(({ code: named, variable, found, fix }) => ({
    code: named,
    variable,
    found,
    fix,
  }))
  return first === undefined ? undefined : { status, findings: [first, ...others], ...judged, ...kept }
}

interface FindingLine {
  readonly code: string
  readonly variable: string
  readonly found: string
  readonly fix: string
}

const areFindings = (value: unknown): value is readonly FindingLine[] => isListOf(isFinding)(value)

function isFinding(value: unknown): boolean {
  return (
    isJsonObject(value) &&
    matches(codeForm)(value['code']) &&
    isText(value['variable']) &&
    typeof value['found'] === 'string' &&
    isText(value['fix'])
  )
}
