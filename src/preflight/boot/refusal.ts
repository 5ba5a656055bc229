// What is started to be refused, and what is seen of it.
import type { JsonObject } from '../../base/json.ts'
import type { CandidateProgram, Changes, Watched } from './candidate.ts'

export interface RefusalCase {
  /** `bus, set to 1`. */
  readonly name: string
  readonly program: CandidateProgram
  readonly changes: Changes
  readonly isStaging?: true
  readonly exit: number
  /** One of them has to stand on standard error: `rule CODE`, `CODE`, `CODE REASON`, or `event backend`. */
  readonly named: readonly string[]
}

export const refusalShape = { starts: 'objects' } as const
export interface RefusalFacts {
  readonly starts: readonly JsonObject[]
}

/** Rules with codes, errors with reasons, and stores that could not be opened: names only, no text of the program. */
export function reasonsIn(stderr: string): string[] {
  const rules = stderr.matchAll(/^ {4}rule {2}([a-z][\w.-]*) ([A-Z_]+),/gm)
  const errors = stderr.matchAll(/^arqonbus: ([A-Z][A-Z_]{3,})(?: \(([A-Z_]+)\))?: /gm)
  const stores = stderr.split('\n').filter((line) => line.includes('"event":"store.open_failed"'))
  const backends = stores.flatMap((line) => /"backend":"([a-z]+)"/.exec(line)?.[1] ?? [])
  return [
    ...new Set([
      ...[...rules].map(([, id, code]) => `${id} ${code}`),
      ...[...errors].map(([, code, reason]) => (reason === undefined ? code! : `${code} ${reason}`)),
      ...backends.map((backend) => `store.open_failed ${backend}`),
    ]),
  ].sort()
}

export function factsOfStart({ name }: { readonly name: string }, watched: Watched): JsonObject {
  const { exit, signal, isLate, ms, listened, stderr } = watched
  return { name, exit, signal, isLate, ms, listened: [...listened], reasons: reasonsIn(stderr) }
}
