// The preflight itself: runbook, catalogue, source of the environment.
import type { Check } from '../check.ts'

export const metaChecks: readonly Check[] = []
