// Does a message fit the schema that the operator's rules name for it? Judged is the payload of a message, or the args of
// a command. What does not fit is answered SCHEMA_VIOLATION with the path of the field.
import type { Identity } from '../auth/identity.ts'
import { BusError } from '../base/errors.ts'
import { isJsonObject, type JsonValue } from '../base/json.ts'
import type { ShapeViolation } from '../schemas/json-shape.ts'
import type { LiveRegistry } from '../schemas/live-registry.ts'
import type { PayloadSchema } from '../schemas/registry.ts'
import type { SecretFields } from '../schemas/secret-fields.ts'
import type { WireLimits } from '../wire/limits.ts'
import { Reader } from '../wire/reader.ts'
import { Allowance, readStruct, unwrapPayload } from '../wire/struct.ts'
import { subjectsOf } from './frame-facts.ts'
import type { ShieldMetrics } from './metrics.ts'
import type { FrameFacts, ValidFrame } from './validate.ts'

type JudgedFrame = Pick<ValidFrame, 'scan' | 'tenantId' | 'command'>

export interface PayloadSchemas {
  /** Throws SCHEMA_VIOLATION; does nothing where no rule asks for a schema, or where it is not strict. */
  check(frame: JudgedFrame, identity: Identity): void
  /**
   * What the schema of the payload (or of the args) marks as secret; undefined where it marks nothing. `unknown` where
   * that cannot be told: there is no schema, or the payload is not what it describes.
   */
  secretsOf(frame: JudgedFrame, identity: Identity): SecretFields | 'unknown' | undefined
}

const unmatchedReason = 'NO_SCHEMA'

export function createPayloadSchemas(ports: {
  readonly registry: LiveRegistry
  readonly isStrict: boolean
  readonly limits: WireLimits
  readonly metrics: ShieldMetrics
}): PayloadSchemas {
  const { registry, isStrict, limits, metrics } = ports

  function refuse(reason: string, text: string, details: Readonly<Record<string, string | number>>): void {
    if (isStrict) throw new BusError('SCHEMA_VIOLATION', text, { reason, ...details })
  }

  function look(
    { scan, tenantId, command }: JudgedFrame,
    { tenant, role }: Identity,
  ): { found: PayloadSchema | 'refuse' | undefined; value: JsonValue } | undefined {
    const current = registry.current
    if (current === undefined || (current.map.rules.length === 0 && current.map.unmatched === 'allow')) return undefined
    const value = command === undefined ? payloadOf(scan, limits) : command.args
    const found = current.find({
      // An operator's frame works in the tenant it names.
      subjects: subjectsOf(role === 'operator' ? (tenantId ?? 'default') : tenant, scan),
      command: command?.command,
      eventType: command === undefined ? eventTypeOf(value) : undefined,
    })
    return { found, value }
  }

  return {
    check(frame, identity) {
      const looked = look(frame, identity)
      if (looked === undefined) return
      const { found, value } = looked
      const { command } = frame
      if (found === undefined || found === 'refuse') {
        if (command !== undefined) return
        metrics.count('shield_unmatched_payloads_total')
        if (found === 'refuse') refuse(unmatchedReason, 'No schema is known for this message', { field: 'payload' })
        return
      }
      const violation = violationOf(found, value)
      if (violation === undefined) return
      metrics.count('shield_schema_violation_total', found.id)
      const root = command === undefined ? 'payload' : 'args'
      const field = violation.path === '' ? root : `${root}.${violation.path}`
      refuse(violation.rule, `The message does not match its schema ${found.id} at ${field}: ${violation.rule}`, {
        field,
        schema: found.id,
        schema_version: found.version,
      })
    },
    secretsOf(frame, identity) {
      if (registry.current === undefined) return 'unknown'
      const looked = look(frame, identity)
      if (looked === undefined) return undefined
      const { found, value } = looked
      // A key that stands twice may have chosen the rule.
      if (found === 'refuse' || value === twice) return 'unknown'
      if (found?.secrets === undefined) return undefined
      return violationOf(found, value) === undefined ? found.secrets : 'unknown'
    },
  }
}

const violationOf = ({ shape }: PayloadSchema, value: JsonValue): ShapeViolation | undefined =>
  value === twice ? keyTwice : shape.check(value)

/** The frame was found good: its Structs are within the limits. */
function payloadOf({ payload }: FrameFacts, limits: WireLimits): JsonValue {
  const allowance = new Allowance(limits)
  const value = readStruct(new Reader(payload), payload.length, 1, allowance)
  return keysIn(value) === allowance.keys ? unwrapPayload(value) : twice
}

/** Stands for a Struct with one key twice: other readers may see the value that was not judged. */
const twice: JsonValue = Object.freeze({})
const keyTwice: ShapeViolation = { rule: 'DUPLICATE_FIELD', path: '' }

function keysIn(value: JsonValue): number {
  if (typeof value !== 'object' || value === null) return 0
  let count = 0
  if (Array.isArray(value)) for (const item of value) count += keysIn(item)
  else for (const key of Object.keys(value)) count += 1 + keysIn(value[key]!)
  return count
}

function eventTypeOf(payload: JsonValue): string | undefined {
  const value = isJsonObject(payload) ? payload['event_type'] : undefined
  return typeof value === 'string' ? value : undefined
}
