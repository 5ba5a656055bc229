// What a certificate is: that one build, in one start environment, was judged GO, signed by whoever may say so. Servers
// compare it with themselves (judge-start.ts). The key that counts is pinned outside the file; the one in it only tells
// whose certificate this is.
import type { KeyObject } from 'node:crypto'
import { digestOf } from '../base/canonical-json.ts'
import { isJsonObject, type JsonObject } from '../base/json.ts'
import type { Profile } from '../config/shapes.ts'
import { isKeyText, isSignedJson, isSignatureText, keyTextOf, signJson } from '../waivers/sign.ts'
import type { Build } from './build.ts'
import type { EnvironmentFingerprint, VariableMac } from './environment.ts'

export const certificateSchema = 'arqonbus/certificate/1'

/** How long after it was issued it may be activated for the first time, and how old a report may be, ms. */
export const lifeMs = 60 * 60_000

/** A waiver that the verdict rests on. */
export interface UsedWaiver {
  readonly id: string
  readonly check: string
  /** RFC 3339. */
  readonly expires: string
  /** Of the whole waiver, approvals too. */
  readonly digest: string
}

export interface CertificateBody {
  readonly schema: typeof certificateSchema
  readonly verdict: 'GO'
  readonly profile: Profile
  /** Digest of the canonical part of the report. */
  readonly report: string
  readonly commit: string
  readonly build: Build
  /** `source`: kind of place that the environment was read from. */
  readonly environment: EnvironmentFingerprint & { readonly source: string }
  /** Digest of the policy it was judged by. */
  readonly policy: string
  readonly waivers: readonly UsedWaiver[]
  /** RFC 3339, UTC. */
  readonly issued: string
  /** Until when it may be activated for the first time; what was activated goes on. */
  readonly activateBy: string
  /** `ed25519:` and base64 of 32 bytes. */
  readonly key: string
}

export interface Certificate extends CertificateBody {
  /** Base64, Ed25519 over the canonical JSON of all the rest. */
  readonly sig: string
}

/** Throws a TypeError for a key that is not Ed25519. */
export function signCertificate(body: Omit<CertificateBody, 'schema' | 'key'>, key: KeyObject): Certificate {
  const whole: CertificateBody = { schema: certificateSchema, ...body, key: keyTextOf(key) }
  return { ...whole, sig: signJson(whole, key) }
}

/** Under that key, whatever the certificate says of its own. Never throws. */
export function isSignedBy({ sig, ...body }: Certificate, keyText: string): boolean {
  return isSignedJson(body, sig, keyText)
}

/** Which certificate this is. */
export const certificateDigest = (certificate: Certificate): string => digestOf(certificate)

export const maxCertificateBytes = 256 * 1024

export type ParsedCertificate = { readonly certificate: Certificate } | { readonly problem: string }

/** Total and strict: fields that nobody knows are a problem too, for their author thinks they count. Never throws. */
export function parseCertificate(bytes: Uint8Array): ParsedCertificate {
  if (bytes.length > maxCertificateBytes) return { problem: `larger than ${maxCertificateBytes} bytes` }
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return { problem: 'no JSON' }
  }
  const problem = formProblem(value, certificateForm, '')
  return problem === undefined ? { certificate: value as Certificate } : { problem } // the form was checked just now
}

type Form = ((value: unknown) => boolean) | { readonly [name: string]: Form } | readonly [Form]

const isText = (value: unknown): boolean => typeof value === 'string' && value !== '' && value.length <= 500
const isDigest = (value: unknown): boolean => typeof value === 'string' && /^sha256:[0-9a-f]{64}$/.test(value)
const isMac = (value: unknown): boolean => typeof value === 'string' && /^[0-9a-f]{32}$/.test(value)
const isInstant = (value: unknown): boolean =>
  typeof value === 'string' &&
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,3})?Z$/.test(value) &&
  !Number.isNaN(Date.parse(value))
const isExpiry = (value: unknown): boolean => typeof value === 'string' && !Number.isNaN(Date.parse(value))

const certificateForm: Form = {
  schema: (value) => value === certificateSchema,
  verdict: isText,
  profile: isText,
  report: isDigest,
  commit: (value) => typeof value === 'string' && /^[0-9a-f]{40,64}$/.test(value),
  build: { artefact: isDigest, lock: isDigest, node: isText, catalogue: isDigest, runbook: isDigest },
  environment: {
    source: isText,
    key: isMac,
    fingerprint: isDigest,
    variables: [{ name: isText, mac: isMac }],
  },
  policy: isDigest,
  waivers: [{ id: isText, check: isText, expires: isExpiry, digest: isDigest }],
  issued: isInstant,
  activateBy: isInstant,
  key: isKeyText,
  sig: isSignatureText,
}

/** The first thing that does not fit, with its path. */
function formProblem(value: unknown, form: Form, path: string): string | undefined {
  if (typeof form === 'function') return form(value) ? undefined : `${path} is missing or of another form`
  if (isList(form)) {
    if (!Array.isArray(value)) return `${path} is no list`
    return firstOf(value.map((item, index) => () => formProblem(item, form[0], `${path}[${index}]`)))
  }
  if (!isJsonObject(value)) return `${path === '' ? 'it' : path} is no object`
  const unknown = Object.keys(value).find((name) => !Object.hasOwn(form, name))
  if (unknown !== undefined) return `${nested(path, unknown.slice(0, 40))} is unknown`
  return firstOf(
    Object.entries(form).map(
      ([name, inner]) =>
        () =>
          formProblem(memberOf(value, name), inner, nested(path, name)),
    ),
  )
}

const isList = (form: Form): form is readonly [Form] => Array.isArray(form)
const nested = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`)
const memberOf = (value: JsonObject, name: string): unknown => (Object.hasOwn(value, name) ? value[name] : undefined)

function firstOf(checks: readonly (() => string | undefined)[]): string | undefined {
  for (const check of checks) {
    const found = check()
    if (found !== undefined) return found
  }
  return undefined
}

/** `variables` have to be what `fingerprint` is of: only one of them is compared. */
export const isWholeFingerprint = ({
  fingerprint,
  variables,
}: {
  readonly fingerprint: string
  readonly variables: readonly VariableMac[]
}): boolean => digestOf(variables) === fingerprint
