// When a suite has lost too many of its tests.
import type { JsonObject } from '../../base/json.ts'
import { numberIn } from '../json-fields.ts'

/** Of the most that a green run had. */
const leastShare = 0.95

export const isHollow = (one: JsonObject): boolean =>
  numberIn(one, 'tests') === 0 || numberIn(one, 'tests') < leastShare * numberIn(one, 'base')
