// Worlds in which the rules of the servers hold, and in which each of them does not.
import type { Worlds } from './check.ts'

export const ruleWorlds: Readonly<Record<string, Worlds>> = {}
