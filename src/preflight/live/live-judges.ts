// The judges of the live checks: facts alone, so that what was recorded can be judged again.
import { isJsonObject, type JsonObject, type JsonValue } from '../../base/json.ts'
import { version } from '../../base/version.ts'
import type { Finding } from '../../rules/rule.ts'
import { type CheckResult, failed, judgeAll, passed } from '../check.ts'
import { badTokenNames, malformedNames } from './case-names.ts'
import { linkFault, type LinkFacts } from './link-judges.ts'

/** An answer of the bus over HTTP; `body` where it is a JSON object. */
interface HealthFacts {
  readonly health: JsonObject
  readonly version: JsonObject
  readonly ready: JsonObject
}

export function judgeHealth(facts: HealthFacts): CheckResult {
  const fault =
    answerFault('/health', facts.health) ??
    wordFault('/health', facts.health, 'status', 'healthy', 'NOT_HEALTHY') ??
    answerFault('/version', facts.version) ??
    wordFault('/version', facts.version, 'version', version, 'NOT_THIS_VERSION') ??
    answerFault('/ready', facts.ready) ??
    wordFault('/ready', facts.ready, 'status', 'healthy', 'NOT_HEALTHY') ??
    componentFault(facts.ready)
  return judgeAll(
    fault === undefined ? [] : [fault],
    `version ${version}; up: ${describeNames(componentsOf(facts.ready))}`,
  )
}

const healthFault = (code: string, found: string): Finding => ({
  code,
  variable: 'http',
  found,
  fix: 'see /ready of the bus: it says which component is not up',
})

function answerFault(path: string, answer: JsonObject): Finding | undefined {
  if (answer['status'] !== 200) return healthFault('NOT_200', `${path} answered ${describeAnswer(answer)}`)
  return isJsonObject(answer['body']) ? undefined : healthFault('NOT_JSON', `${path} did not answer with a JSON object`)
}

function wordFault(path: string, answer: JsonObject, key: string, wanted: string, code: string): Finding | undefined {
  const word = bodyOf(answer)[key]
  return word === wanted ? undefined : healthFault(code, `${path} has ${key} ${JSON.stringify(word)}, not ${wanted}`)
}

/** Without components the answer says only that somebody answers. */
function componentFault(answer: JsonObject): Finding | undefined {
  const components = componentsOf(answer)
  if (components.length === 0) return healthFault('NO_COMPONENTS', '/ready names no component')
  const notUp = components.filter((component) => component['state'] !== 'up')
  return notUp.length === 0 ? undefined : healthFault('COMPONENT_NOT_UP', `not up: ${describeNames(notUp)}`)
}

const bodyOf = ({ body }: JsonObject): JsonObject => (isJsonObject(body) ? body : {})

function componentsOf(answer: JsonObject): JsonObject[] {
  const { components } = bodyOf(answer)
  return Array.isArray(components) ? components.filter(isJsonObject) : []
}

function describeNames(components: readonly JsonObject[]): string {
  return components.map(({ name }) => (typeof name === 'string' ? name : '?')).join(', ')
}

/** Of an unhealthy answer: its status and which components are not up. */
function describeAnswer(answer: JsonObject): string {
  const down = componentsOf(answer).filter((component) => component['state'] !== 'up')
  return [JSON.stringify(answer['status']), JSON.stringify(bodyOf(answer)['status'] ?? ''), describeNames(down)].join(
    ' ',
  )
}

export function judgeTelemetry({
  greeting,
  event,
}: {
  readonly greeting: string
  readonly event?: string
}): CheckResult {
  const fix = 'look at the telemetry listener of the bus, and at its log'
  if (greeting !== 'telemetry_connected')
    return failed('NO_GREETING', 'telemetry', `the first event is ${JSON.stringify(greeting)}`, fix)
  if (event === undefined)
    return failed('NO_EVENT', 'telemetry', 'it ended without an event of our own connection', fix)
  return passed(`saw ${JSON.stringify(event)} of our own connection`)
}

const doorFix = 'stop Shield: it lets in who should not be; then look at JWT_SECRET and JWT_SKIP_VALIDATION'

/** Only 401 is the refusal: a 429 or 503 would say nothing about the token. */
function doorFault(name: string, status: JsonValue | undefined): Finding | undefined {
  if (status === 401) return undefined
  if (status === 101) return { code: 'LET_IN', variable: name, found: 'the upgrade was accepted (101)', fix: doorFix }
  return typeof status === 'number'
    ? { code: 'NOT_401', variable: name, found: `answered ${status}`, fix: doorFix }
    : { code: 'REFUSED_WITHOUT_STATUS', variable: name, found: 'the connection ended without an answer', fix: doorFix }
}

interface RefusalFacts {
  readonly status?: number
  /** The body's `error`, and the names of all its fields; none where it is no JSON object. */
  readonly error?: string
  readonly fields: readonly string[]
}

export function judgeMissingToken({ status, error, fields }: RefusalFacts): CheckResult {
  const fault = doorFault('no-token', status)
  if (fault !== undefined) return judgeAll([fault])
  // The refusal says what it is, in the fields clients know (original-contract 10.2), and nothing more.
  const known = ['error', 'details', 'code']
  return error === 'Unauthorized' && fields.every((field) => known.includes(field))
    ? passed('401 before any 101')
    : failed('BAD_BODY', 'no-token', 'the 401 has another body than {error, details}', 'look at the log of the shield')
}

interface BadTokenFacts {
  /** `name`, and `status` where there was one. */
  readonly cases: readonly JsonObject[]
  /** The status for the good token. */
  readonly control?: number
}

export function judgeBadTokens({ cases, control }: BadTokenFacts): CheckResult {
  const findings = cases.flatMap(({ name, status }) => doorFault(textOf(name), status) ?? [])
  if (findings.length > 0) return judgeAll(findings)
  const untried = missingOf(badTokenNames, cases)
  if (untried.length > 0) return notTried(untried)
  // The bad tokens are the good one with one thing wrong: where that one is refused too, their refusal proves nothing.
  if (control !== 101) {
    const observed = 'the good token was refused like the bad ones, so their refusal proves nothing'
    return { status: 'error', code: 'NO_CONTROL', observed, class: 'config' }
  }
  return passed(`${cases.length} bad tokens answered with 401, the good one with 101`)
}

const textOf = (value: JsonValue | undefined): string => (typeof value === 'string' ? value : '?')

function missingOf(names: readonly string[], cases: readonly JsonObject[]): string[] {
  return names.filter((wanted) => !cases.some(({ name }) => name === wanted))
}

const notTried = (names: readonly string[]): CheckResult => ({
  status: 'error',
  code: 'NOT_TRIED',
  observed: `not tried: ${names.join(', ')}`,
  class: 'unknown',
})

export function judgeValidToken({ status }: { readonly status?: number }): CheckResult {
  if (status === 101) return passed('101, then the welcome')
  const found = status === undefined ? 'the connection ended without an answer' : `answered ${status}`
  const fix = 'compare JWT_SECRET here with that of the running Shield, and the clocks'
  return failed('NOT_LET_IN', 'valid-token', found, fix)
}

interface RoutingFacts extends LinkFacts {
  /** At a member of the channel at Shield; where the observers stand there themselves, absent. */
  readonly back?: readonly JsonObject[]
  /** In the history of the channel; absent where none is kept. */
  readonly kept?: readonly JsonObject[]
  readonly sent: readonly JsonObject[]
  readonly seen: readonly JsonObject[]
  readonly otherSent: readonly JsonObject[]
  readonly otherSeen: readonly JsonObject[]
  /** Where each observer was: `bus` or `shield`. */
  readonly at: string
  readonly otherAt: string
}

/** Every observer saw what was sent to it, in order, once and unchanged, and nothing else. */
export function judgeRouting(facts: RoutingFacts): CheckResult {
  const { sent, seen, back, kept, otherSent, otherSeen, at, otherAt } = facts
  const fault =
    linkFault(facts) ??
    arrivalFault(at, sent, seen) ??
    (back === undefined ? undefined : arrivalFault('shield-back', sent, back)) ??
    (kept === undefined ? undefined : arrivalFault('history', sent, kept)) ??
    arrivalFault(otherAt, otherSent, otherSeen)
  return judgeAll(
    fault === undefined ? [] : [fault],
    `each observer saw what was meant for it, unchanged and once; ${facts.heard}`,
  )
}

function arrivalFault(at: string, sent: readonly JsonObject[], seen: readonly JsonObject[]): Finding | undefined {
  const fix = `look at the log of the ${at} at this time`
  if (seen.length === 0 || seen.length !== sent.length) {
    return { code: 'WRONG_COUNT', variable: at, found: `${seen.length} messages instead of ${sent.length}`, fix }
  }
  return seen.every((payload, index) => isSame(payload, sent[index]!))
    ? undefined
    : { code: 'WRONG_PAYLOAD', variable: at, found: 'another message than the one sent', fix }
}

/** Flat objects, keys in any order (protobuf's Struct keeps none). */
function isSame(found: JsonObject, wanted: JsonObject): boolean {
  const keys = Object.keys(wanted)
  return Object.keys(found).length === keys.length && keys.every((key) => found[key] === wanted[key])
}

interface ProtobufFacts extends LinkFacts {
  /** How the JSON twin was answered: an error code, `CLOSED`, or `TAKEN`. */
  readonly atShield: string
  readonly atBus: string
  readonly sent: readonly JsonObject[]
  readonly seen: readonly JsonObject[]
}

export function judgeProtobufOnly(facts: ProtobufFacts): CheckResult {
  const { atShield, atBus, sent, seen } = facts
  const fault =
    jsonFault('shield', atShield) ?? jsonFault('bus', atBus) ?? linkFault(facts) ?? arrivalFault('bus', sent, seen)
  return judgeAll(fault === undefined ? [] : [fault], 'protobuf was taken, its JSON twin refused at both doors')
}

function jsonFault(at: string, answer: string): Finding | undefined {
  if (answer === 'INFRA_PROTOCOL_ERROR' || answer === 'CLOSED') return undefined
  const fix = 'set ARQONBUS_ALLOW_JSON_INFRA=false and ARQONBUS_INFRA_PROTOCOL=protobuf, and start again'
  const code = answer === 'TAKEN' ? 'JSON_TAKEN' : 'OTHER_REFUSAL'
  return { code, variable: at, found: `the JSON frame was answered with ${answer}`, fix }
}

interface SchemaFacts extends LinkFacts {
  /** `name`, and `answer`: an error code, `CLOSED`, or `TAKEN`. */
  readonly cases: readonly JsonObject[]
  readonly sent: readonly JsonObject[]
  readonly seen: readonly JsonObject[]
}

export function judgeSchema(facts: SchemaFacts): CheckResult {
  const { cases, sent, seen } = facts
  const fix = 'set ARQON_SCHEMA_STRICT=true, and start Shield again'
  const findings = cases
    .filter(({ answer }) => answer !== 'SCHEMA_VIOLATION')
    .map(({ name, answer }): Finding => {
      const code = answer === 'TAKEN' ? 'LET_THROUGH' : 'OTHER_REFUSAL'
      return { code, variable: textOf(name), found: `answered with ${textOf(answer)}`, fix }
    })
  if (findings.length > 0) return judgeAll(findings)
  const untried = missingOf(malformedNames, cases)
  if (untried.length > 0) return notTried(untried)
  const fault = linkFault(facts) ?? arrivalFault('bus', sent, seen)
  return judgeAll(fault === undefined ? [] : [fault], `${cases.length} malformed frames refused, none on the bus`)
}
