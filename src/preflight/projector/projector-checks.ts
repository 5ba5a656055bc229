// Projector data safety.
import type { Check } from '../check.ts'

export const projectorChecks: readonly Check[] = []
