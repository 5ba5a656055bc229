// Every start-up rule there is, in the order in which findings are shown.
import { busRules } from './bus-rules.ts'
import { metaRules } from './meta-rules.ts'
import type { Rule } from './rule.ts'
import { secretRules } from './secret-rules.ts'
import { shieldRules } from './shield-rules.ts'

export const rules: readonly Rule[] = [...metaRules, ...busRules, ...secretRules, ...shieldRules]
