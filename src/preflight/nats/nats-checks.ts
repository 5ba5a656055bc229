// The NATS chain.
import type { Check } from '../check.ts'

export const natsChecks: readonly Check[] = []
