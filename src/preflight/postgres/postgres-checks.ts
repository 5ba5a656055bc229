// The Postgres chain.
import type { Check } from '../check.ts'
import { dataChecks } from './data-checks.ts'
import { loadChecks } from './load-checks.ts'
import { reachChecks } from './reach-checks.ts'

export const postgresChecks: readonly Check[] = [...reachChecks, ...dataChecks, ...loadChecks]
