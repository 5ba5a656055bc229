// The preflight's own words: a value that stands in them (`postgres` as a password) hides nothing, and taking it out
// everywhere would take the report apart.
import { allKeys } from '../../config/keys.ts'
import { createCatalogue } from '../catalogue.ts'
import { stops } from '../stops.ts'

let words: string | undefined

export function isOwnWord(value: string): boolean {
  words ??= [
    ...createCatalogue().flatMap(({ id, title, proves, evidence, fix }) => [id, title, proves, evidence, fix]),
    ...Object.entries(stops).flatMap(([code, { fix }]) => [code, fix]),
    ...allKeys.flatMap(({ names, meaning }) => [...names, meaning]),
  ]
    .join('\n')
    .toLowerCase()
  return words.includes(value.trim().toLowerCase())
}
