// The Valkey chain.
import type { Check } from '../check.ts'

export const valkeyChecks: readonly Check[] = []
