// compare/ of a bundle: what is another than in the last green run of this profile. Names of variables, never values.
import { createCatalogue } from '../catalogue.ts'
import type { Check } from '../check.ts'
import { type Cause, type CheckChange, diffRuns, type InputChange, type RunDiff } from '../replay/diff.ts'
import { lastGreen, provedPhases } from '../replay/history.ts'
import { causeWords } from '../replay/since-green.ts'
import type { Report } from '../report.ts'
import { type GitPlace, runGit } from './collect.ts'
import { type Collection, whyOf } from './collection.ts'

interface Changed {
  readonly before?: InputChange['before']
  readonly after?: InputChange['after']
}

export interface Comparison {
  readonly schema: 'arqonbus/preflight-compare/1.0'
  readonly green: RunDiff['before'] & { readonly phases: readonly string[] }
  readonly variables: {
    /** With another fingerprint. */
    readonly changed: readonly string[]
    readonly added: readonly string[]
    readonly gone: readonly string[]
  }
  /** Of the build and what judged: commit, lock, node, version, policy, catalogue; what is equal is left out. */
  readonly versions: Readonly<Record<string, Changed>>
  readonly checks: readonly CheckChange[]
  /** What probes saw, versions of services among it. */
  readonly facts: readonly InputChange[]
  /** Likeliest first. */
  readonly causes: readonly Cause[]
  readonly notes: readonly string[]
}

/** `earlier`: oldest first, without this run. Undefined where none was green. Pure. */
export function compareWithGreen(
  earlier: readonly Report[],
  report: Report,
  catalogue: readonly Check[],
): Comparison | undefined {
  const green = lastGreen(earlier, report.canonical.profile)
  if (green === undefined) return undefined
  const { before, checks, inputs, causes, notes } = diffRuns(green, report, catalogue)
  const variables = inputs.filter(({ kind }) => kind === 'variable')
  const namesOf = (belongs: (change: InputChange) => boolean): string[] =>
    variables.filter(belongs).map(({ name }) => name)
  const versions = inputs.filter(({ kind, check }) => kind !== 'variable' && check === undefined)
  return {
    schema: 'arqonbus/preflight-compare/1.0',
    green: { ...before, phases: provedPhases(green) },
    variables: {
      changed: namesOf(({ before: was, after: is }) => was !== undefined && is !== undefined),
      added: namesOf(({ before: was }) => was === undefined),
      gone: namesOf(({ after: is }) => is === undefined),
    },
    versions: Object.fromEntries(
      versions.map(({ kind, before: was, after: is }) => [kind, { before: was, after: is }]),
    ),
    checks,
    facts: inputs.filter(({ check }) => check !== undefined),
    causes,
    notes,
  }
}

/** Why there is nothing to compare with is a fact, and no missing file. */
export function collectComparison(
  into: Collection,
  report: Report,
  { earlier, catalogue = createCatalogue() }: { earlier: readonly Report[] | string; catalogue?: readonly Check[] },
): Comparison | undefined {
  const place = 'compare/diff-vs-last-green.json'
  if (typeof earlier === 'string') {
    into.json(place, { green: null, why: earlier })
    return undefined
  }
  try {
    const comparison = compareWithGreen(earlier, report, catalogue)
    into.json(place, comparison ?? { green: null, why: `no run of ${report.canonical.profile} was green here yet` })
    return comparison
  } catch (error) {
    into.lacks(place, whyOf(error))
    return undefined
  }
}

const maxCommits = 200

const isCommit = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{40}$/.test(value)

/** What was committed since. Only where both are known. */
export async function collectCommits(
  into: Collection,
  { versions: { commit } }: Pick<Comparison, 'versions'>,
  place: GitPlace,
): Promise<void> {
  if (!isCommit(commit?.before) || !isCommit(commit.after)) return
  const [from, to] = [commit.before, commit.after]
  const path = 'compare/commits.txt'
  const log = ['log', '--no-decorate', '--format=%H %cs %s', `--max-count=${maxCommits}`, `${from}..${to}`]
  try {
    into.text(path, (await runGit(log, place)) || `all of ${to} is in ${from}: it went back\n`)
  } catch (error) {
    into.lacks(path, whyOf(error))
  }
}

/** For SUMMARY.md. */
export function comparisonLines({ green, variables, versions, checks, causes }: Comparison): string[] {
  const lines = [
    ...[...variables.changed, ...variables.added, ...variables.gone].map((name) => `variable ${name}`),
    ...Object.entries(versions).map(([name, { before, after }]) => `${name}: ${shown(before)} -> ${shown(after)}`),
    ...checks.map(({ id, before, after }) => `${id}: ${before} -> ${after}`),
  ]
  const [cause] = causes
  return [
    `Green last at ${green.at} (${green.phases.join(', ')}). Since then ${lines.length === 0 ? 'nothing' : 'this'} changed:`,
    ...(lines.length === 0 ? [] : ['', ...lines.slice(0, maxLines).map((line) => `- ${line}`)]),
    ...(lines.length > maxLines ? [`- and ${lines.length - maxLines} more: compare/diff-vs-last-green.json`] : []),
    ...(cause === undefined ? [] : ['', `Most likely first: ${causeWords(cause)}.`]),
  ]
}

const maxLines = 20
const shown = (value: Changed['before']): string => (typeof value === 'string' ? value.slice(0, 19) : 'unknown')
