// Worlds of the start-up rules, by id: each way a rule can fail, and what is odd but none of its business.
import type { Worlds } from './check.ts'
import { busWorlds } from './rule-worlds/bus.ts'
import { metaWorlds } from './rule-worlds/meta.ts'
import { secretWorlds } from './rule-worlds/secrets.ts'
import { shieldWorlds } from './rule-worlds/shield.ts'

export const ruleWorlds: Readonly<Record<string, Worlds>> = {
  ...metaWorlds,
  ...busWorlds,
  ...secretWorlds,
  ...shieldWorlds,
}
