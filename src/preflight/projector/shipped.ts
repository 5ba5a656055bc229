// The two files of the projector that the runbook names (L82, L84), and what has to be in them.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { FactsOf } from '../check.ts'

/** As this version ships it; a test holds it to the file. A migration that was released never changes. */
export const migrationDigest = '4033b847a37b5122610e35566d7cfd0f26dad903e2e0313cec4b403c6892a50f'

// From src/preflight/projector and from dist/preflight/projector alike.
export const migrationFile = new URL(
  '../../../scripts/migrations/20260220_continuum_projector_postgres.sql',
  import.meta.url,
)
export const playbookFile = new URL(
  '../../../docs/ArqonBus/runbooks/continuum_projector_postgres_migration_backup_restore.md',
  import.meta.url,
)

export const migrationShape = {
  isThere: 'boolean',
  digest: 'string',
  /** The beginnings of statements that would fail a second time. */
  unrepeatable: 'strings',
} as const

export async function probeMigrationFile(from: URL = migrationFile): Promise<FactsOf<typeof migrationShape>> {
  const sql = await readFile(from, 'utf8').catch(() => undefined)
  if (sql === undefined) return { isThere: false, digest: '', unrepeatable: [] }
  const statements = sql
    .replaceAll(/--.*$/gm, '')
    .split(';')
    .map((text) => text.trim())
  const makes = statements.filter((text) => /^(?:CREATE|ALTER|DROP|INSERT)\b/i.test(text))
  const unrepeatable = makes.filter((text) => !/IF (?:NOT )?EXISTS|OR REPLACE|ON CONFLICT DO NOTHING/i.test(text))
  return {
    isThere: true,
    digest: createHash('sha256').update(sql).digest('hex'),
    unrepeatable: unrepeatable.map((text) => text.slice(0, 80)),
  }
}

export const playbookShape = {
  isThere: 'boolean',
  /** What it runs of `arqonbus projector`, each once. */
  commands: 'strings',
  /** Tables that it names, each once. */
  tables: 'strings',
} as const

export async function probePlaybook(from: URL = playbookFile): Promise<FactsOf<typeof playbookShape>> {
  const text = await readFile(from, 'utf8').catch(() => undefined)
  if (text === undefined) return { isThere: false, commands: [], tables: [] }
  const consoles = [...text.matchAll(/^```console\n([\s\S]*?)^```$/gm)].map((match) => match[1]!).join('\n')
  const each = (found: Iterable<RegExpMatchArray>): string[] =>
    [...new Set([...found].map((match) => match[1]!))].sort()
  return {
    isThere: true,
    commands: each(consoles.matchAll(/^\$ arqonbus projector ([a-z]+)/gm)),
    tables: each(text.matchAll(/\b(arqonbus_continuum_[a-z_]*[a-z])\b/g)),
  }
}
