// Does a message fit the schema that the operator's rules name for it? Judged is the payload of a message, or the args of
// a command. What does not fit is answered SCHEMA_VIOLATION with the path of the field.
import { BusError } from '../base/errors.ts'
import { isJsonObject, type JsonValue } from '../base/json.ts'
import type { LiveRegistry } from '../schemas/live-registry.ts'
import type { WireLimits } from '../wire/limits.ts'
import { Reader } from '../wire/reader.ts'
import { Allowance, readStruct, unwrapPayload } from '../wire/struct.ts'
import { subjectsOf } from './frame-facts.ts'
import type { ShieldMetrics } from './metrics.ts'
import type { ValidFrame } from './validate.ts'

export interface PayloadSchemas {
  /** Throws SCHEMA_VIOLATION; does nothing where no rule asks for a schema, or where it is not strict. */
  check(frame: ValidFrame, tenant: string): void
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

  return {
    check(frame, tenant) {
      const current = registry.current
      if (current === undefined || (current.map.rules.length === 0 && current.map.unmatched === 'allow')) return
      const { command } = frame
      const value = command === undefined ? payloadOf(frame, limits) : command.args
      const found = current.find({
        subjects: subjectsOf(tenant, frame.scan),
        command: command?.command,
        eventType: command === undefined ? eventTypeOf(value) : undefined,
      })
      if (found === undefined || found === 'refuse') {
        if (command !== undefined) return
        metrics.count('shield_unmatched_payloads_total')
        if (found === 'refuse') refuse(unmatchedReason, 'No schema is known for this message', { field: 'payload' })
        return
      }
      const violation = found.shape.check(value)
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
  }
}

/** The frame was found good: its Structs are within the limits. */
function payloadOf({ scan: { payload } }: ValidFrame, limits: WireLimits): JsonValue {
  return unwrapPayload(readStruct(new Reader(payload), payload.length, 1, new Allowance(limits)))
}

function eventTypeOf(payload: JsonValue): string | undefined {
  const value = isJsonObject(payload) ? payload['event_type'] : undefined
  return typeof value === 'string' ? value : undefined
}
