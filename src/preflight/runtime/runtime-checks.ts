// Node, the installed tree, and the machine.
import type { Check } from '../check.ts'

export const runtimeChecks: readonly Check[] = []
