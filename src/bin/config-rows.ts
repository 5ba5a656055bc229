// The resolved configuration as rows to show: secrets hidden, sources named.
import { type KeySpec, keys, limitKeys, type Program } from '../config/keys.ts'
import { describeSource, type Resolution } from '../config/resolution.ts'
import { Secret } from '../config/secret.ts'

export interface ConfigRow {
  /** The variable. */
  readonly key: string
  readonly value: string
  readonly source: string
  readonly programs: readonly Program[]
}

export function configRows({ values, limits, sources }: Resolution): readonly ConfigRow[] {
  const rows: ConfigRow[] = []
  const add = (label: string, spec: KeySpec<unknown>, value: unknown): void => {
    const source = describeSource(sources.get(label) ?? { kind: 'default' })
    rows.push({ key: spec.names[0], value: show(value, spec.secret), source, programs: spec.programs })
  }
  const byName: Readonly<Record<string, unknown>> = values
  for (const [name, spec] of Object.entries(keys)) add(name, spec, byName[name])
  for (const limit of limitKeys) {
    for (const program of limit.programs) add(limit.names[0], limit, limits[program][limit.field])
  }
  return rows
}

function show(value: unknown, secret: 'hidden' | 'url' | undefined): string {
  if (value === undefined) return ''
  if (value instanceof Secret) return secret === 'url' ? withoutCredentials(value.reveal()) : '[hidden]'
  if (Array.isArray(value)) return value.join(',')
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** Scheme, host and port of each address; nothing else of it is certain to be harmless. */
function withoutCredentials(urls: string): string {
  return urls
    .split(',')
    .map((url) => (URL.canParse(url) ? `${new URL(url).protocol}//${new URL(url).host}` : '[hidden]'))
    .join(',')
}
