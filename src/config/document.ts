// docs/config.md, made from the table of keys. A unit test holds the file to it.
import { type KeySpec, keys, limitKeys, type LimitKey, type Program } from './keys.ts'
import { foreignNames, unsupportedNames } from './other-names.ts'
import { showValue } from './print.ts'
import type { Profile } from './shapes.ts'

const profiles: readonly Profile[] = ['dev', 'staging', 'prod']

export function configDocument(): string {
  const shared = Object.values(keys) as KeySpec<unknown>[]
  return `# Configuration

Made from \`src/config/keys.ts\` by \`node scripts/gen-config-docs.ts\`; do not edit.

Every program reads environment variables. \`ARQONBUS_CONFIG_FILE\` may name a file of \`NAME=VALUE\` lines in the same
grammar (no quotes, no trimming, \`#\` begins a comment line); the environment wins over the file. \`arqonbus config --print\`
shows every value with its source.

- Booleans are \`true\`, \`false\`, \`1\` or \`0\`, in any letter case; nothing else.
- Nothing is trimmed: white space at an end is an error, the newline behind a secret too.
- A number has digits only. An empty value is an error, except for a list.
- An unknown name that begins with \`ARQONBUS_\`, \`ARQON_\` or \`SHIELD_\` is an error, with the nearest known name.
- All problems are reported at once; the program ends with exit code 78.

## Both programs

${keyTable(shared.filter(({ programs }) => programs.length === 2))}

## The bus

${keyTable(shared.filter(({ programs }) => only(programs, 'bus')))}

## Shield

${keyTable(shared.filter(({ programs }) => only(programs, 'shield')))}

## Limits of the bus

All are enforced. A production start is refused above the cap; outside production only the technical maximum holds.

${limitTable('bus')}

## Limits of Shield

${limitTable('shield')}

## Only presence counts

\`JWT_SKIP_VALIDATION\`: Shield never starts while it is there, whatever its value; the bus does not in production.

## Known, but not supported by this version

They have no effect and are reported as warnings. In prod, one that would have switched something on is an error.

${[...unsupportedNames].map(([name, { instead }]) => `- \`${name}\`${instead === undefined ? '' : `: ${instead}`}`).join('\n')}

## Read by other programs

Clients, tests and tools read these; the servers take no notice.

${[...foreignNames].map((name) => `- \`${name}\``).join('\n')}
`
}

const only = (programs: readonly Program[], program: Program): boolean =>
  programs.length === 1 && programs[0] === program

const secrecy = { none: '', hidden: ' (never shown)', url: ' (user and password never shown)' } as const

function keyTable(specs: readonly KeySpec<unknown>[]): string {
  const rows = specs.map((spec) => [
    spec.names.map((name) => `\`${name}\``).join(' or '),
    spec.reader.expects + secrecy[spec.secret ?? 'none'],
    defaultOf(spec),
    spec.meaning,
  ])
  return table(['variable', 'value', 'default', 'meaning'], rows)
}

/** One value, or one for each profile where they differ. */
function defaultOf(spec: KeySpec<unknown>): string {
  const shown = profiles.map((profile) => showValue(spec.fallback(profile), spec.secret))
  const [first = ''] = shown
  if (shown.every((value) => value === first)) return first === '' ? '–' : `\`${first}\``
  return profiles.map((profile, index) => `${profile} \`${shown[index]}\``).join(', ')
}

function limitTable(program: Program): string {
  const rows = limitKeys
    .filter(({ programs }) => programs.includes(program))
    .map((limit: LimitKey) => [
      limit.names.map((name) => `\`${name}\``).join(' or '),
      defaultOf(limit),
      String(limit.spec.min),
      limit.cap === undefined ? '–' : String(limit.cap),
      limit.meaning,
    ])
  return table(['variable', 'default', 'least', 'cap', 'meaning'], rows)
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n')
}
