// What resolving the configuration gives: the values, where each came from, and everything that is wrong, at once.
import type { KeySpec, Program, Values } from './keys.ts'
import type { Profile } from './shapes.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Where a value came from. `name` is the variable as it was written; `where` its place, `path:line`, if one is known. */
export type Source =
  | { readonly kind: 'env' | 'file' | 'overlay'; readonly name: string; readonly where?: string }
  | { readonly kind: 'default' }

/** One thing that is wrong. Holds no secret: `found` describes a secret's text, it never quotes it. */
export interface Problem {
  readonly variable: string
  /** Upper-case, permanent. */
  readonly code: string
  readonly found: string
  /** What to do, as a command: `set …`, `remove …`. */
  readonly fix: string
  /** Whose start it stops. */
  readonly programs: readonly Program[]
}

/** A variable as it was given, before parsing. */
export interface Given {
  readonly text: string
  readonly source: Exclude<Source, { kind: 'default' }>
}

export interface Resolution {
  readonly profile: Profile
  /** A key with a problem holds its default here. */
  readonly values: Values
  readonly limits: { readonly bus: Readonly<Record<string, number>>; readonly shield: Readonly<Record<string, number>> }
  /** By key name, and by variable name for limits. */
  readonly sources: ReadonlyMap<string, Source>
  readonly problems: readonly Problem[]
  /** Like problems, but nothing is refused for them. */
  readonly warnings: readonly Problem[]
  /** Every variable of environment, file and overlay, whether or not it is ours. */
  readonly given: ReadonlyMap<string, Given>
}

export function describeSource(source: Source): string {
  if (source.kind === 'default') return 'default'
  return source.kind === 'overlay' ? 'profile up' : `${source.kind} ${source.name}`
}

/** `NAME: found; fix`, on one line. */
export function describeProblem({ variable, found, fix }: Problem): string {
  return `${variable}: ${found}; ${fix}`
}

/**
 * A value as it may be shown in a message: secrets by length only, others quoted, without control characters, cut.
 * What looks like an address with a user or like a key is a secret too, in whichever variable it was put.
 */
export function showFound(text: string, secret: KeySpec<unknown>['secret']): string {
  if (secret !== undefined || /@|-----BEGIN/.test(text)) return `set, ${Buffer.byteLength(text)} bytes, value hidden`
  const cut = text.length > 80 ? `${text.slice(0, 80)}…` : text
  return JSON.stringify(cut)
}

/** A variable's name as it may be shown: an environment can hold any bytes as a name. */
export function showName(name: string): string {
  return name.replace(/[^ -~]/g, '?').slice(0, 128)
}
