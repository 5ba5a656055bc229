// A start without a certificate that somebody answers for: signed with a key that the policy lists, for one start of one
// program, for four hours at most, and loud. It lifts the demand for a certificate and no other rule.
import type { KeyObject } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isJsonObject } from '../base/json.ts'
import type { PreflightPolicy } from '../waivers/preflight-policy.ts'
import { isSignedJson, keyTextOf, signJson } from '../waivers/sign.ts'

export const breakGlassSchema = 'arqonbus/break-glass/1'
export const breakGlassMaxMs = 4 * 3_600_000

/** What can be started. */
export type StartedProgram = 'bus' | 'shield' | 'projector'
export const startedPrograms: readonly StartedProgram[] = ['bus', 'shield', 'projector']

export interface BreakGlass {
  readonly schema: typeof breakGlassSchema
  readonly program: StartedProgram
  readonly reason: string
  /** A name that the policy lists as an approver. */
  readonly by: string
  /** Where it holds: the policy's `site`; null where that has none. */
  readonly site: string | null
  /** RFC 3339. `until` is four hours after `at` at the latest. */
  readonly at: string
  readonly until: string
  /** 32 hex digits; a nonce starts once. */
  readonly nonce: string
  readonly sig: string
}

/** Throws a TypeError for a key that is not Ed25519. */
export function signBreakGlass(body: Omit<BreakGlass, 'schema' | 'sig'>, key: KeyObject): BreakGlass {
  keyTextOf(key)
  const whole = { schema: breakGlassSchema, ...body } as const
  return { ...whole, sig: signJson(whole, key) }
}

const fields: Readonly<Record<keyof BreakGlass, (value: unknown) => boolean>> = {
  schema: (value) => value === breakGlassSchema,
  program: (value) => startedPrograms.some((name) => name === value),
  reason: (value) =>
    typeof value === 'string' && value.trim().length >= 10 && value.length <= 500 && isPrintable(value),
  by: (value) => typeof value === 'string' && /^[A-Za-z0-9][A-Za-z0-9._+@-]{0,127}$/.test(value),
  site: (value) => value === null || typeof value === 'string',
  at: isInstant,
  until: isInstant,
  nonce: (value) => typeof value === 'string' && /^[0-9a-f]{32}$/.test(value),
  sig: (value) => typeof value === 'string',
}

const isPrintable = (text: string): boolean => !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(text)

function isInstant(value: unknown): boolean {
  return typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,3})?Z$/.test(value)
}

/** The break-glass, or why it does not hold, in words. Pure; whether it was used already is another question. */
export function judgeBreakGlass(
  bytes: Uint8Array,
  {
    program,
    policy,
    now,
  }: { readonly program: StartedProgram; readonly policy: PreflightPolicy; readonly now: number },
): { readonly breakGlass: BreakGlass } | { readonly refused: string } {
  const value = parsed(bytes)
  if (value === undefined) return { refused: `no ${breakGlassSchema}` }
  const { sig, ...body } = value
  const key = Object.hasOwn(policy.approvers, value.by) ? policy.approvers[value.by] : undefined
  if (key === undefined) return { refused: `the policy knows no approver ${value.by}` }
  if (!isSignedJson(body, sig, key)) return { refused: `the signature of ${value.by} does not stand` }
  if (value.program !== program) return { refused: `for ${value.program}, this is ${program}` }
  if (value.site !== (policy.site ?? null)) return { refused: 'for another site' }
  const [at, until] = [Date.parse(value.at), Date.parse(value.until)]
  if (!(until - at <= breakGlassMaxMs && until > at)) return { refused: 'holds longer than 4 hours, or not at all' }
  if (at > now + 60_000) return { refused: `dated ${value.at}, which is still to come` }
  return now < until ? { breakGlass: value } : { refused: `ended at ${value.until}` }
}

function parsed(bytes: Uint8Array): BreakGlass | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    if (!isJsonObject(value) || Object.keys(value).some((name) => !Object.hasOwn(fields, name))) return undefined
    const isWhole = Object.entries(fields).every(([name, holds]) => holds(value[name]))
    return isWhole ? (value as unknown as BreakGlass) : undefined // each field was checked just now
  } catch {
    return undefined
  }
}

/** False where it was used before. Throws as `node:fs` does where that cannot be written down. */
export function useBreakGlass(dataDir: string, { nonce, program, by, at, until, reason }: BreakGlass): boolean {
  const folder = join(dataDir, 'break-glass')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  try {
    // `wx`: of two starts at once, one makes the file.
    const text = `${JSON.stringify({ program, by, at, until, reason })}\n`
    writeFileSync(join(folder, `${nonce}.json`), text, { flag: 'wx', mode: 0o600 })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}
