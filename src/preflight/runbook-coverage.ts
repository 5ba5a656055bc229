// The runbook against the catalogue, both ways: every line of it that states something has a check or a reason why it has
// none yet, and every line that a check names states something.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Check } from './check.ts'

export const runbookPath = 'docs/ArqonBus/runbooks/production_preflight_runbook.md'

/** SHA-256 of the text that this catalogue was written for, in hex. */
export const runbookDigest = 'e6b34ebb43608a1ae3fd33fe560987dab8f1cb52c8f3ddc993477aa3e3760e80'

/** The runbook that is shipped with this program. Throws as `readFileSync` does. */
export function readRunbook(): string {
  return readFileSync(fileURLToPath(new URL(`../../${runbookPath}`, import.meta.url)), 'utf8')
}

export const digestOfText = (text: string): string => createHash('sha256').update(text).digest('hex')

/** Lines that no check of the catalogue covers, and why. An entry whose line has a check is a fault: it has to go. */
export const notYet: Readonly<Record<string, string>> = {
  L41: 'comes with the gates: a clean install',
  L44: 'comes with the gates: the suites',
  L45: 'comes with the gates: the suites of the projector',
  L46: 'comes with the gates: the types',
  L47: 'comes with the gates: the suites of Shield',
  L50: 'the verdict itself, which is no check: whatever fails is NO-GO',
  L65: 'comes with the gates: imports in a clean tree',
  L70: 'the incident bundle, which no check makes: it is written after the verdict (docs/incidents.md)',
  L72: 'judged in the bundle after the verdict: incident.commit',
  L73: 'judged in the bundle after the verdict: incident.command',
  L74: 'judged in the bundle after the verdict: incident.env',
  L75: 'judged in the bundle after the verdict: incident.class; every result has a class',
  L77: 'judged in the bundle after the verdict: incident.route; the report has a route',
}

export type LineKind =
  | 'title'
  | 'date'
  | 'purpose'
  | 'precondition'
  | 'setting'
  | 'command'
  | 'sanity'
  | 'fail-condition'
  | 'incident'
  | 'projector'

/** A line that states something; text that runs on over several lines belongs to its first. */
export interface NormativeLine {
  /** `L19`. */
  readonly line: string
  readonly kind: LineKind
  readonly text: string
}

/** What stands below a heading. A checklist has a heading for each program. */
const kinds: Readonly<Record<string, LineKind>> = {
  Purpose: 'purpose',
  'Mandatory Preconditions': 'precondition',
  'Configuration Checklist': 'setting',
  ArqonBus: 'setting',
  Shield: 'setting',
  'Preflight Commands': 'command',
  'Runtime Sanity Checks': 'sanity',
  'Fail Conditions (Immediate Stop)': 'fail-condition',
  'Incident Notes': 'incident',
  'Projector Data Safety': 'projector',
}

/** `faults`: headings nobody knows, and lines of a checklist that have no box. */
export function normativeLines(text: string): { readonly lines: readonly NormativeLine[]; readonly faults: string[] } {
  const lines: NormativeLine[] = []
  const faults: string[] = []
  let kind: LineKind | undefined = 'date'
  let isCode = false
  let runsOn = false
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = `L${index + 1}`
    const words = raw.trim()
    const heading = isCode ? null : /^(#+) +(.+)$/.exec(words)
    const item = isCode ? null : /^(?:[-*+]|\d+[.)]) +(\[[ xX]\] +)?(.*)$/.exec(words)
    if (words.startsWith('```')) {
      isCode = !isCode
      runsOn = false
    } else if (words === '') runsOn = false
    else if (heading?.[1] === '#') lines.push({ line, kind: 'title', text: heading[2]! })
    else if (heading !== null) {
      kind = kinds[heading[2]!]
      if (kind === undefined) faults.push(`${line}: no heading of the runbook is called ${heading[2]}`)
    } else if (runsOn && item === null) {
      const last = lines.pop()!
      lines.push({ ...last, text: `${last.text} ${words}` })
    } else {
      const isBoxless = item !== null && item[1] === undefined && (kind === 'setting' || kind === 'sanity')
      if (isBoxless) faults.push(`${line}: an item of a checklist without a box`)
      lines.push({ line, kind: kind ?? 'purpose', text: item?.[2] ?? words })
      // A command is a line; a sentence may run on.
      runsOn = !isCode
    }
  }
  return { lines, faults }
}

export interface CoveredLine extends NormativeLine {
  /** Ids of the checks that name it, sorted. */
  readonly checks: readonly string[]
  /** Why there is none. */
  readonly notYet?: string
}

export interface RunbookCoverage {
  readonly lines: readonly CoveredLine[]
  /** Lines that state something, without a check and without a reason. */
  readonly orphans: readonly string[]
  /** `id at L99`: checks that name a line that states nothing. */
  readonly strangers: readonly string[]
  /** Entries of `notYet` whose line has a check by now, or states nothing. */
  readonly stale: readonly string[]
  /** What the text itself gets wrong. */
  readonly faults: readonly string[]
}

export function coverRunbook(
  text: string,
  catalogue: readonly Pick<Check, 'id' | 'runbook'>[],
  excused: Readonly<Record<string, string>> = notYet,
): RunbookCoverage {
  const { lines: stated, faults } = normativeLines(text)
  const lines = stated.map((line): CoveredLine => {
    const checks = catalogue.filter(({ runbook }) => runbook.includes(line.line)).map(({ id }) => id)
    const why = excused[line.line]
    return { ...line, checks: checks.sort(), ...(why !== undefined && { notYet: why }) }
  })
  const isStated = new Set(lines.map(({ line }) => line))
  return {
    lines,
    orphans: lines.filter((line) => line.checks.length === 0 && line.notYet === undefined).map(({ line }) => line),
    strangers: catalogue
      .flatMap(({ id, runbook }) => runbook.filter((line) => !isStated.has(line)).map((line) => `${id} at ${line}`))
      .sort(),
    stale: Object.keys(excused)
      .filter((line) => !isStated.has(line) || lines.some((one) => one.line === line && one.checks.length > 0))
      .sort(),
    faults,
  }
}
