// One change to the schemas, judged before it is written: is the set good, is the whole still good with it, and what does
// it break for those who use the version before?
import { BusError } from '../base/errors.ts'
import { type BreakingChange, breakingChanges } from './breaking.ts'
import { readDescriptorSet } from './descriptor-set.ts'
import {
  emptyMap,
  isSchemaId,
  loadRegistry,
  parseMap,
  type SchemaFiles,
  type SchemaMap,
  type SchemaRule,
} from './registry.ts'

export interface PushRequest {
  readonly id: string
  readonly set: Uint8Array
  /** The one known under the id when absent, else the set's only message. */
  readonly message: string | undefined
  /** When the message is to fit the schema; absent: rules stay as they are. */
  readonly rule: Omit<SchemaRule, 'schema'> | undefined
}

export interface PushPlan {
  readonly map: Uint8Array
  readonly message: string
  readonly version: number
  /** Same set, message and rules as before: nothing needs to be written. */
  readonly isUnchanged: boolean
  readonly breaking: readonly BreakingChange[]
}

/** Throws VALIDATION_ERROR for a bad request, START_REFUSED for a bad set or a whole that does not fit together. */
export function planPush(files: SchemaFiles, request: PushRequest): PushPlan {
  const { id, set } = request
  if (!isSchemaId(id)) {
    throw new BusError('VALIDATION_ERROR', 'A schema id is words of A-Z a-z 0-9 - _ joined by dots', {
      reason: 'BAD_SCHEMA_ID',
    })
  }
  const map = files.map === undefined ? emptyMap : parseMap(files.map)
  const known = map.schemas[id]
  const descriptors = readDescriptorSet(set)
  const message = request.message ?? known?.message ?? onlyOne(descriptors.messages)
  const before = files.sets.get(id)
  const isSameSet = before !== undefined && Buffer.from(before).equals(set)
  const isSame = isSameSet && known?.message === message
  const version = known === undefined ? 1 : known.version + (isSame ? 0 : 1)
  const next: SchemaMap = {
    ...map,
    schemas: { ...map.schemas, [id]: { message, version } },
    rules: request.rule === undefined ? map.rules : withRule(map.rules, { ...request.rule, schema: id }),
  }
  const bytes = printMap(next)
  loadRegistry({ map: bytes, sets: new Map([...files.sets, [id, set]]) })
  return {
    map: bytes,
    message,
    version,
    isUnchanged: isSame && files.map !== undefined && Buffer.from(printMap(map)).equals(bytes),
    breaking: known === undefined || before === undefined ? [] : comparedTo(before, known.message, set, message),
  }
}

/** Equal maps, equal bytes. */
export function printMap({ unmatched, schemas, rules }: SchemaMap): Uint8Array {
  const ordered = rules.map(({ subject, event_type, command, schema, required }) => ({
    subject,
    event_type,
    command,
    schema,
    required,
  }))
  return new TextEncoder().encode(`${JSON.stringify({ unmatched, schemas, rules: ordered }, undefined, 2)}\n`)
}

/** A version that is there and cannot be read has no users that this could break. */
function comparedTo(
  before: Uint8Array,
  oldName: string,
  after: Uint8Array,
  newName: string,
): readonly BreakingChange[] {
  const old = readOrUndefined(before)?.message(oldName)
  const next = readDescriptorSet(after).message(newName)
  return old === undefined || next === undefined ? [] : breakingChanges(old, next)
}

function readOrUndefined(bytes: Uint8Array): ReturnType<typeof readDescriptorSet> | undefined {
  try {
    return readDescriptorSet(bytes)
  } catch {
    return undefined
  }
}

function onlyOne(messages: readonly string[]): string {
  const own = messages.filter((name) => !name.startsWith('google.protobuf.'))
  const [message] = own
  if (message !== undefined && own.length === 1) return message
  throw new BusError('VALIDATION_ERROR', `The set has ${own.length} messages; name one`, {
    reason: 'MESSAGE_AMBIGUOUS',
  })
}

/** A rule for the same messages takes the place of the one there is; another one goes behind all. */
function withRule(rules: readonly SchemaRule[], rule: SchemaRule): readonly SchemaRule[] {
  const isSame = ({ subject, event_type, command }: SchemaRule): boolean =>
    subject === rule.subject && event_type === rule.event_type && command === rule.command
  return rules.some(isSame) ? rules.map((one) => (isSame(one) ? rule : one)) : [...rules, rule]
}
