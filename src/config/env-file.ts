// The file that ARQONBUS_CONFIG_FILE names: NAME=VALUE lines in the grammar of the environment. Values are taken as
// they stand: no quotes, no escapes, no trimming. Blank lines and lines that begin with `#` are skipped.
import type { Problem } from './resolution.ts'

const lineForm = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s

/** `label` names the file in problems. A name given twice is a problem; the first value stands, and its line counts. */
export function parseEnvFile(
  content: string,
  label: string,
): {
  readonly values: ReadonlyMap<string, string>
  /** By name, from 1. */
  readonly lines: ReadonlyMap<string, number>
  readonly problems: readonly Problem[]
} {
  const values = new Map<string, string>()
  const lines = new Map<string, number>()
  const problems: Problem[] = []
  const refuse = (line: number, code: string, found: string, fix: string): void => {
    problems.push({
      variable: 'ARQONBUS_CONFIG_FILE',
      code,
      found: `${label} line ${line}: ${found}`,
      fix,
      programs: ['bus', 'shield'],
    })
  }
  for (const [index, line] of content
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .entries()) {
    if (line === '' || line.startsWith('#')) continue
    const match = lineForm.exec(line)
    if (match === null) {
      refuse(
        index + 1,
        'NOT_AN_ASSIGNMENT',
        'not NAME=VALUE (content hidden)',
        'write NAME=VALUE, without space around the name',
      )
      continue
    }
    const [, name = '', value = ''] = match
    if (values.has(name)) refuse(index + 1, 'GIVEN_TWICE', `${name} is given twice`, 'keep one of them')
    else {
      values.set(name, value)
      lines.set(name, index + 1)
    }
  }
  return { values, lines, problems }
}
