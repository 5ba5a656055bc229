// The Postgres chain.
import type { Check } from '../check.ts'

export const postgresChecks: readonly Check[] = []
