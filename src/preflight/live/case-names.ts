// What the live probes try, by name: a judge asks for every one of them.

/**
 * Secrets that stand in tutorials, libraries and the original's own repository. A gateway that takes a token signed
 * with one of them is open to everybody. All are on the list of rules/published-secrets too (a test holds that).
 */
export const signingDefaults = [
  'changeme',
  'secret',
  'test-secret',
  'arqon-shield-test-secret',
  'replace-with-strong-secret',
  'your-256-bit-secret',
  'a-string-secret-at-least-256-bits-long',
  'super-secret-jwt-token-with-at-least-32-characters-long',
  'supersecret',
  'mysecretkey',
  'jwt_secret',
  'dev-secret',
  'password',
  'shhhhh',
] as const

export const defaultName = (index: number): string => `published-default-${index + 1}`

export const badTokenNames: readonly string[] = [
  'empty',
  'wrong-scheme',
  'garbage',
  'alg-none',
  'wrong-signature',
  'expired',
  'not-yet-valid',
  'missing-tenant',
  'algorithm-confusion',
  'token-in-query',
  ...signingDefaults.map((_, index) => defaultName(index)),
]

/** Frames that are no envelope of the pinned schema. */
export const malformedNames = ['unknown-field', 'duplicate-field', 'truncated'] as const
export type MalformedName = (typeof malformedNames)[number]
