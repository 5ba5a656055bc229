// The resolved configuration as rows to show: secrets hidden, sources named.
import { type KeySpec, keys, limitKeys, type Program } from './keys.ts'
import { describeSource, type Resolution } from './resolution.ts'
import { Secret } from './secret.ts'
import { redactUrl } from './urls.ts'

export interface ConfigRow {
  /** The variable. */
  readonly key: string
  /** Empty where there is none; `[secret]` for a secret; an address without user information, path and query. */
  readonly value: string
  /** `env NAME`, `file NAME`, `profile up` or `default`. */
  readonly source: string
  readonly programs: readonly Program[]
}

export function printConfig({ values, limits, sources }: Resolution): readonly ConfigRow[] {
  const row = (spec: KeySpec<unknown>, label: string, value: unknown): ConfigRow => ({
    key: spec.names[0],
    value: showValue(value, spec.secret),
    source: describeSource(sources.get(label) ?? { kind: 'default' }),
    programs: spec.programs,
  })
  const byName: Readonly<Record<string, unknown>> = values
  return [
    ...Object.entries(keys).map(([name, spec]) => row(spec, name, byName[name])),
    ...limitKeys.map((limit) => row(limit, limit.names[0], limits[limit.programs[0] ?? 'bus'][limit.field])),
  ]
}

/** A value of any key as text. */
export function showValue(value: unknown, secret: KeySpec<unknown>['secret']): string {
  if (value === undefined) return ''
  if (value instanceof Secret) return secret === 'url' ? redactUrl(value.reveal()) : '[secret]'
  if (Array.isArray(value)) return value.join(',')
  return typeof value === 'string' ? value : JSON.stringify(value)
}
