// The faults that are put in, one a start, and what has to be said of each. Published secrets only: they are in every
// list of guesses already.
import type { CandidateProgram } from './candidate.ts'
import type { RefusalCase } from './refusal.ts'

const refused = 78
const unreachable = 69

const servers: readonly CandidateProgram[] = ['bus', 'shield']

export const missingSecret: readonly RefusalCase[] = [
  {
    name: 'shield without a secret',
    program: 'shield',
    changes: { JWT_SECRET: undefined },
    exit: refused,
    named: ['shield.jwt-secret-present NOT_SET'],
  },
]

export const defaultSecret: readonly RefusalCase[] = servers.flatMap((program): RefusalCase[] => [
  {
    name: `${program} with a published secret`,
    program,
    changes: { JWT_SECRET: 'super-secret-jwt-token-with-at-least-32-characters-long', ARQONBUS_ENABLE_AUTH: 'true' },
    exit: refused,
    named: ['shield.jwt-secret-not-default PUBLISHED'],
  },
  {
    name: `${program} with a weak secret`,
    program,
    changes: { JWT_SECRET: 'ab'.repeat(24), ARQONBUS_ENABLE_AUTH: 'true' },
    exit: refused,
    named: ['shield.jwt-secret-strong TOO_PREDICTABLE'],
  },
])

/** Each value once; the bus has the same rule, and is asked with the value that looks most harmless. */
const skips: readonly (readonly [CandidateProgram, string])[] = [
  ['shield', '1'],
  ['shield', 'false'],
  ['shield', ''],
  ['bus', 'false'],
]
export const skipValidation: readonly RefusalCase[] = skips.map(([program, value]) => ({
  name: `${program} told to skip validation by ${value === '' ? 'nothing' : value}`,
  program,
  changes: { JWT_SKIP_VALIDATION: value },
  exit: refused,
  named: ['shield.jwt-skip-absent PRESENT'],
}))

export const missingValkey: readonly RefusalCase[] = [
  {
    name: 'bus without Valkey address',
    program: 'bus',
    changes: { ARQONBUS_VALKEY_URL: undefined },
    exit: refused,
    named: ['bus.valkey-url-configured NOT_SET'],
  },
]

export const missingPostgres: readonly RefusalCase[] = [
  {
    name: 'bus without Postgres address',
    program: 'bus',
    changes: { ARQONBUS_POSTGRES_URL: undefined },
    exit: refused,
    named: ['bus.postgres-url-configured NOT_SET'],
  },
]

export type Absence = 'refused' | 'silent'
export interface AbsentStore extends RefusalCase {
  readonly store: 'valkey' | 'postgres'
  readonly absence: Absence
}

/** History is kept in the store that is away, so that it is the first that the start asks for. */
export const absentStores: readonly AbsentStore[] = (['valkey', 'postgres'] as const).flatMap((store) =>
  (['silent', 'refused'] as const).map(
    (absence): AbsentStore => ({
      name: `bus with ${store} ${absence}`,
      program: 'bus',
      store,
      absence,
      changes: {
        ARQONBUS_STORAGE_MODE: 'strict',
        ARQONBUS_STORAGE_BACKEND: store,
        ARQONBUS_ENABLE_PERSISTENCE: 'true',
        // The bus meets the others of its NATS before its stores; without one it comes to them at once.
        NATS_URL: undefined,
      },
      isStaging: true,
      exit: unreachable,
      named: [`store.open_failed ${store}`],
    }),
  ),
)

export const unmigrated: readonly RefusalCase[] = [
  {
    name: 'projector without its tables',
    program: 'projector',
    changes: {},
    isStaging: true,
    exit: refused,
    named: ['STORE_OPEN_FAILED SCHEMA_MISSING'],
  },
]

export const badCertificate: readonly RefusalCase[] = [
  {
    name: 'shield with the key of another certificate',
    program: 'shield',
    changes: {},
    exit: refused,
    named: ['START_REFUSED TLS_UNUSABLE'],
  },
  {
    name: 'shield with a key that is not there',
    program: 'shield',
    changes: {},
    exit: refused,
    named: ['meta.files-readable FILE_UNREADABLE'],
  },
]
