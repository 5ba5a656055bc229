// The list of checks that were there when this build was made. A check that is lost on the way - a file that is missing,
// a part that does not load - is missed, instead of being absent without a word.
import { readFileSync } from 'node:fs'
import type { Check } from './check.ts'
import { catalogueDigest } from './plan.ts'

export interface CatalogueManifest {
  /** Sorted. */
  readonly ids: readonly string[]
  /** Of ids, phases, severities, classes and requirements. */
  readonly digest: string
}

export function manifestOf(catalogue: readonly Check[]): CatalogueManifest {
  return { ids: catalogue.map(({ id }) => id).sort(), digest: catalogueDigest(catalogue) }
}

/** The file as it is kept: one id a line. */
export const manifestText = (catalogue: readonly Check[]): string =>
  `${JSON.stringify(manifestOf(catalogue), null, 2)}\n`

/** The one of this build. Throws as `readFileSync` and `JSON.parse` do, and for a file of another form. */
export function readManifest(): CatalogueManifest {
  const value: unknown = JSON.parse(readFileSync(new URL('./catalogue-manifest.json', import.meta.url), 'utf8'))
  if (!isManifest(value)) throw new Error('not a manifest of checks')
  return value
}

function isManifest(value: unknown): value is CatalogueManifest {
  if (typeof value !== 'object' || value === null || !('ids' in value) || !('digest' in value)) return false
  return Array.isArray(value.ids) && value.ids.every((id) => typeof id === 'string') && typeof value.digest === 'string'
}
