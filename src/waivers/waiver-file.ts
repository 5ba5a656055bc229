// Reads `preflight.waivers.yaml`. Strict and total: what is not exactly a waiver is an error, and all errors are told at
// once, each with its path and line. Whether a waiver holds is another question (judge-waivers.ts).
import type { Profile } from '../config/shapes.ts'
import { isKeyText, isSignatureText } from './sign.ts'
import { Fields, formOf, integerOf, itemsOf, type Place, Problems, readYaml, textOf } from './strict-yaml.ts'
import { type Approval, instantOf, type Waiver, type WaiverFile, waiverSchema } from './waiver.ts'

export const checkForm = /^[a-z][a-z0-9-]*(?:\.[a-z0-9][a-z0-9-]*)+$/
const idForm = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/
const bindForm = /^sha256:[0-9a-f]{64}$/
const profiles: readonly string[] = ['dev', 'staging', 'prod'] satisfies Profile[]

export const nameForm = /^[A-Za-z0-9](?:[A-Za-z0-9._+@-]{0,126}[A-Za-z0-9])?$/
const textLength = 2_000

/** Throws CONFIG_INVALID (WAIVER_INVALID) with every problem. `fileName` is for the message. */
export function parseWaivers(bytes: Uint8Array, fileName: string): WaiverFile {
  const problems = new Problems()
  const file = readFile(readYaml(bytes, problems), problems)
  problems.throwIfAny('WAIVER_INVALID', fileName)
  return file
}

/** Unusable where a problem was noted. */
function readFile(root: Place | undefined, problems: Problems): WaiverFile {
  if (root === undefined) return { schema: waiverSchema, waivers: [] }
  const fields = new Fields(root, problems)
  const schema = fields.required('schema')
  if (schema !== undefined && schema.value !== waiverSchema) problems.add(schema, `not ${waiverSchema}`)
  const places = itemsOf(fields.required('waivers'), problems)
  fields.end()
  const waivers = places.map((place) => readWaiver(place, problems))
  refuseTwice(waivers, places, problems)
  requirePredecessors(waivers, places, problems)
  return { schema: waiverSchema, waivers }
}

function refuseTwice(waivers: readonly Waiver[], places: readonly Place[], problems: Problems): void {
  const seen = new Set<string>()
  for (const [index, { id }] of waivers.entries()) {
    if (seen.has(id)) problems.add(places[index]!, `the id ${id} is there twice`)
    if (id !== '') seen.add(id)
  }
}

/** What was renewed stays in the file: nobody can judge a renewal without what it renews. */
function requirePredecessors(waivers: readonly Waiver[], places: readonly Place[], problems: Problems): void {
  for (const [index, { renewal, check, reason, id }] of waivers.entries()) {
    if (renewal.of === null) continue
    const before = waivers.find((other) => other.id === renewal.of)
    const place = places[index]!
    if (before === undefined || before.id === id) problems.add(place, `renews ${renewal.of}, which is not in the file`)
    else if (before.check !== check) problems.add(place, `renews ${renewal.of}, which is of another check`)
    else if (before.renewal.number !== renewal.number - 1) problems.add(place, `is not the next of ${renewal.of}`)
    else if (before.reason === reason) problems.add(place, `has the reason of ${renewal.of}; a renewal needs a new one`)
  }
}

function readWaiver(place: Place, problems: Problems): Waiver {
  const fields = new Fields(place, problems)
  const form = (name: string, pattern: RegExp, expects: string): string =>
    formOf(written(fields.required(name), problems), problems, pattern, expects) ?? ''
  const prose = (name: string): string => proseOf(fields.required(name), problems) ?? ''
  const id = form('id', idForm, 'an id as EX-2026-014')
  const check = form('check', checkForm, 'the exact id of one check (no pattern, no list)')
  const scope = readScope(fields.required('scope'), problems)
  const reason = prose('reason')
  const risk = prose('risk')
  const compensating = readIds(fields.required('compensating'), problems, check)
  const ticket = prose('ticket')
  const owner = form('owner', nameForm, "a person's name or address (letters, digits, . _ + @ -)")
  const requested = readInstant(fields.required('requested'), problems)
  const expiresPlace = fields.required('expires')
  const expires = readInstant(expiresPlace, problems)
  if (requested !== '' && expires !== '' && instantOf(expires) <= instantOf(requested)) {
    problems.add(expiresPlace!, 'not after requested')
  }
  const renewal = readRenewal(fields.required('renewal'), problems)
  const bind = form('bind', bindForm, 'sha256: and 64 hex digits')
  const approvals = readApprovals(fields.required('approvals'), problems)
  fields.end()
  return {
    id,
    check,
    scope,
    reason,
    risk,
    compensating,
    ticket,
    owner,
    requested,
    expires,
    renewal,
    bind,
    approvals,
  }
}

const proseOf = (place: Place | undefined, problems: Problems): string | undefined =>
  textOf(written(place, problems), problems, textLength)

/** What a draft left open is no answer, so that nobody can approve it by oversight. */
function written(place: Place | undefined, problems: Problems): Place | undefined {
  const isOpen = typeof place?.value === 'string' && /^TODO\b/i.test(place.value)
  return isOpen ? problems.add(place!, 'still to be written') : place
}

function readScope(place: Place | undefined, problems: Problems): Waiver['scope'] {
  if (place === undefined) return { profile: 'prod' }
  const fields = new Fields(place, problems)
  const profile = fields.required('profile')
  if (profile !== undefined && !profiles.includes(profile.value as string)) {
    problems.add(profile, `not one of ${profiles.join(', ')}`)
  }
  const site = formOf(fields.optional('site'), problems, nameForm, 'the name of a site')
  fields.end()
  return { profile: profile?.value as Profile, ...(site !== undefined && { site }) }
}

function readIds(place: Place | undefined, problems: Problems, check: string): string[] {
  const seen = new Set<string>()
  for (const item of itemsOf(place, problems)) {
    const id = formOf(item, problems, checkForm, 'the exact id of one check')
    if (id === undefined) continue
    if (seen.has(id)) problems.add(item, `${id} is there twice`)
    if (id === check) problems.add(item, 'the check that is to be excused cannot make up for itself')
    seen.add(id)
  }
  return [...seen]
}

function readRenewal(place: Place | undefined, problems: Problems): Waiver['renewal'] {
  if (place === undefined) return { number: 0, of: null }
  const fields = new Fields(place, problems)
  const number = integerOf(fields.required('number'), problems, 0, 99) ?? 0
  const ofPlace = fields.required('of')
  const isNone = ofPlace === undefined || ofPlace.value === null
  const of = isNone ? null : (formOf(ofPlace, problems, idForm, 'the id of a waiver, or null') ?? null)
  if (ofPlace !== undefined && (number === 0) !== isNone) {
    problems.add(place, 'number is 0 and of is null, or both say what is renewed')
  }
  fields.end()
  return { number, of }
}

function readApprovals(place: Place | undefined, problems: Problems): Approval[] {
  const seen = new Set<string>()
  return itemsOf(place, problems).map((item) => {
    const fields = new Fields(item, problems)
    const by = formOf(fields.required('by'), problems, nameForm, 'the name of an approver') ?? ''
    const at = readInstant(fields.required('at'), problems)
    const keyPlace = fields.required('key')
    const sigPlace = fields.required('sig')
    fields.end()
    const key = placedText(keyPlace, isKeyText, 'ed25519: and base64 of 32 bytes', problems)
    const sig = placedText(sigPlace, isSignatureText, 'base64 of 64 bytes', problems)
    if (by !== '' && seen.has(by)) problems.add(item, `${by} is there twice`)
    seen.add(by)
    return { by, at, key, sig }
  })
}

/** Empty where a problem was noted. */
function placedText(
  place: Place | undefined,
  test: (value: unknown) => value is string,
  expects: string,
  problems: Problems,
): string {
  if (place === undefined) return ''
  if (test(place.value)) return place.value
  problems.add(place, `not ${expects}`)
  return ''
}

const instantForm = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,3})?(?:Z|[+-](\d\d):(\d\d))$/

/** Is it an instant that exists, with its zone? `2026-02-30T…`, a bare date and a leap second are none. */
export function isInstant(text: string): boolean {
  const match = instantForm.exec(text)
  if (match === null) return false
  const [year, month, day, hour, minute, second, zoneHour = 0, zoneMinute = 0] = match
    .slice(1)
    .map((part) => Number(part ?? 0))
  const date = new Date(Date.UTC(year!, month! - 1, day))
  const isDate = date.getUTCFullYear() === year && date.getUTCMonth() === month! - 1 && date.getUTCDate() === day
  return isDate && year! >= 2000 && hour! < 24 && minute! < 60 && second! < 60 && zoneHour < 24 && zoneMinute < 60
}

/** Empty where a problem was noted. */
function readInstant(place: Place | undefined, problems: Problems): string {
  if (place === undefined) return ''
  const { value } = place
  if (typeof value === 'string' && isInstant(value)) return value
  problems.add(place, 'not an instant with its zone, as 2026-12-05T00:00:00Z')
  return ''
}
