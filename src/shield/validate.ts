// A client's frame becomes the one frame that travels on: binary stays as it is, byte for byte; JSON becomes protobuf.
// Then the schema, and then the wire's own rules, of which routing facts are the result.
import { isUtf8 } from 'node:buffer'
import { BusError } from '../base/errors.ts'
import { isMessageId } from '../base/ids.ts'
import type { JsonValue } from '../base/json.ts'
import type { Envelope } from '../envelope/envelope.ts'
import { decodeJson } from '../wire/json-codec.ts'
import type { WireLimits } from '../wire/limits.ts'
import { FastScan } from '../wire/fast-scan.ts'
import { argumentsOf, type FrameScan, scanFrame } from '../wire/message-frame.ts'
import { decodeProtobuf, encodeProtobuf } from '../wire/protobuf-codec.ts'
import type { ShieldMetrics } from './metrics.ts'
import type { Schema } from './schema.ts'

export interface ValidFrame {
  readonly bytes: Uint8Array
  readonly id: string
  /** The tenant it names, when it names one. */
  readonly tenantId: string | undefined
  /** Given for commands, which the gateway may have a part in. */
  readonly command: Envelope | undefined
  /** For the policy: the Struct of the payload, or of a command's arguments if any, as a view of `bytes`. */
  readonly payload: Uint8Array | undefined
  /** The payload of a JSON message: its acknowledgement repeats it. */
  readonly echo: JsonValue | undefined
  readonly scan: FrameFacts
}

/** What the gateway asks about a frame. */
export type FrameFacts = Omit<FrameScan, 'raw' | 'ack' | 'tenantId'>

export interface Validator {
  /** Throws VALIDATION_ERROR, INFRA_PROTOCOL_ERROR or SCHEMA_VIOLATION; `details.message_id` where it could be read. */
  validate(data: Uint8Array, isBinary: boolean): ValidFrame
}

export interface ValidatorOptions {
  /** Absent only where the schema is not strict and none could be loaded. */
  readonly schema: Schema | undefined
  /** False: violations are counted and let through to the wire's own rules. */
  readonly isStrict: boolean
  readonly allowJson: boolean
  readonly limits: WireLimits
  readonly nextId: () => string
  readonly now: () => number
  readonly metrics: ShieldMetrics
}

const utf8 = new TextDecoder()
/** How violations of the frame's own schema are counted beside those of payloads. */
const envelopeSchema = 'envelope'

export function createValidator(options: ValidatorOptions): Validator {
  const { schema, limits, metrics } = options
  const fast = new FastScan(limits)

  function checkSchema(bytes: Uint8Array): void {
    const result = schema?.check(bytes)
    if (result?.violation === undefined) return
    const { rule, path } = result.violation
    metrics.count('shield_schema_violations_total', rule)
    metrics.count('shield_schema_violation_total', envelopeSchema)
    if (!options.isStrict) return
    const id = result.id !== undefined && isMessageId(result.id) ? result.id : undefined
    throw new BusError('SCHEMA_VIOLATION', `The frame does not match its schema at ${path || 'its start'}: ${rule}`, {
      reason: rule,
      field: path,
      ...(id !== undefined && { message_id: id }),
    })
  }

  function validateJson(data: Uint8Array): ValidFrame {
    if (!options.allowJson) throw new BusError('INFRA_PROTOCOL_ERROR', undefined, { required_protocol: 'protobuf' })
    if (!isUtf8(data)) throw new BusError('VALIDATION_ERROR', 'text that is not UTF-8', { reason: 'BAD_JSON' })
    const envelope = decodeJson(utf8.decode(data), limits, { nextId: options.nextId, nowMs: options.now() })
    const bytes = encodeProtobuf(envelope)
    checkSchema(bytes)
    const scan = scanFrame(bytes, limits)
    const { tenantId, type } = scan
    return {
      bytes,
      scan,
      id: envelope.id,
      tenantId,
      payload: type === 'command' ? argumentsOf(scan) : scan.payload,
      command: type === 'command' ? envelope : undefined,
      echo: type === 'message' ? envelope.payload : undefined,
    }
  }

  /** Of a frame of the commonest shape; undefined where it has another one, or something is wrong with it. */
  function validateFast(data: Uint8Array): ValidFrame | undefined {
    try {
      if (!fast.scan(data, 0, data.length)) return undefined
    } catch {
      return undefined // the general way finds the same, and says what it is
    }
    const id = fast.text(fast.idStart, fast.idEnd)
    const payload = data.subarray(fast.payloadStart, fast.payloadEnd)
    const scan: FrameFacts = {
      type: 'message',
      id,
      room: fast.text(fast.roomStart, fast.roomEnd),
      channel: fast.text(fast.channelStart, fast.channelEnd),
      toClient: undefined,
      traceparent: undefined,
      payload,
    }
    return { bytes: data, id, tenantId: undefined, payload, command: undefined, echo: undefined, scan }
  }

  return {
    validate(data, isBinary) {
      if (!isBinary) return validateJson(data)
      checkSchema(data)
      const common = validateFast(data)
      if (common !== undefined) return common
      const scan = scanFrame(data, limits)
      const { id, type, tenantId } = scan
      if (type !== 'command') {
        return { bytes: data, id, tenantId, payload: scan.payload, command: undefined, echo: undefined, scan }
      }
      const command = decodeProtobuf(data, limits)
      return { bytes: data, id, tenantId, payload: argumentsOf(scan), command, echo: undefined, scan }
    },
  }
}
