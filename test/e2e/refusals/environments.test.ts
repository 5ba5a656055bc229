// Every faulty environment of the table, given to the real commands: they refuse with exit code 78, name each variable
// and rule at once, show no secret, and never listen. Healthy ones are let through (the runbook's L19-L34, L61-L64).
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rules } from '../../../src/rules/rules.ts'
import { brokenEnvironments, type EnvironmentCase, strongSecret } from '../../support/environments.ts'
import { type Ended, start } from '../../support/launch/watched-command.ts'

type Program = 'bus' | 'shield'
interface Run {
  readonly name: string
  readonly program: Program
  readonly entry: EnvironmentCase
}

const exitRefused = 78
const atOnce = 3
const runs: readonly Run[] = brokenEnvironments.flatMap((entry) =>
  entry.refuses.map((program) => ({ name: `${program}, ${entry.line ?? '-'}: ${entry.name}`, program, entry })),
)
const results = new Map<Run, Ended>()
const folder = mkdtempSync(join(tmpdir(), 'arqonbus-refusals-'))

beforeAll(async () => {
  const waiting = [...runs]
  const lane = async (): Promise<void> => {
    for (let run = waiting.shift(); run !== undefined; run = waiting.shift()) {
      results.set(run, await start(run.program, run.entry.env, folder).ended)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
}, 110_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** `rule id CODE` of each finding that refuses this program, with its variable. */
function expectedFindings({ program, entry }: Run): string[] {
  return entry.findings
    .filter(({ id, severity, variable }) => {
      const rule = rules.find((one) => one.id === id)
      const isOfProgram = rule?.programs.includes(program) === true
      return severity !== 'advisory' && isOfProgram && !isOnlyOther(variable, program, id)
    })
    .map(({ id, code, variable }) => `${variable} ${id} ${code}`)
    .sort()
}

/** A problem of the other program's variable is none of this one's. */
function isOnlyOther(variable: string, program: Program, id: string): boolean {
  const isShields = variable.startsWith('SHIELD_') || ['ARQON_SCHEMA_STRICT', 'POLICY_WASM_PATH'].includes(variable)
  return id.startsWith('meta.') && isShields && program === 'bus'
}

/** The same, of what the command printed. */
function printedFindings(stderr: string): string[] {
  const form = /^ {2}(\S+): .*\n {4}fix {3}.+\n {4}rule {2}(\S+) ([A-Z_]+), /gm
  return [...stderr.matchAll(form)].map(([, variable, id, code]) => `${variable} ${id} ${code}`).sort()
}

describe('a command with a faulty environment', () => {
  it('is started for at least forty of them', () => {
    expect(new Set(runs.map(({ entry }) => entry)).size).toBeGreaterThanOrEqual(40)
  })

  it.each(runs.map((run) => [run.name, run] as const))('refuses: %s', (_name, run) => {
    const ended = results.get(run)!
    expect(ended.code).toBe(exitRefused)
    expect(ended.stdout).toBe('')
    expect(ended.hasListened).toBe(false)
    const findings = printedFindings(ended.stderr)
    expect(findings).toEqual(expectedFindings(run))
    expect(ended.stderr).toContain(
      `${run.program}: start refused, ${findings.length} problem${findings.length === 1 ? '' : 's'}`,
    )
    // None of them has another password or a secret that is a word of a message.
    const secrets = [strongSecret, run.entry.env['JWT_SECRET']?.trim() ?? '', 'hunter-two']
    for (const secret of secrets) if (secret !== '') expect(ended.stderr).not.toContain(secret)
  })
})
