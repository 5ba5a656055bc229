// What Shield loads.
import type { Check } from '../check.ts'

export const shieldChecks: readonly Check[] = []
