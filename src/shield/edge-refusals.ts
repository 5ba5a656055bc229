// What becomes of a frame that goes no further: its client is told why, telemetry hears of it, and who sends too many that
// schema or policy refuse is closed.
import type { Clock } from '../base/clock.ts'
import { BusError, isBusError } from '../base/errors.ts'
import { describeError, type Logger } from '../base/logger.ts'
import type { Session } from '../session/session.ts'
import type { Telemetry } from '../telemetry/events.ts'
import type { Answers } from './answers.ts'
import type { ShieldMetrics } from './metrics.ts'

export interface EdgeRefusalsPorts {
  readonly answers: Answers
  readonly telemetry: Telemetry
  readonly metrics: ShieldMetrics
  readonly clock: Clock
  readonly logger: Logger
}

/** More refusals by schema or policy within a minute close the connection (reliability 2.2, 5). */
const maxRefusals = 10
const refusalWindowMs = 60_000

/** Of one session. */
export class EdgeRefusals {
  readonly #session: Session
  readonly #traceId: string
  readonly #ports: EdgeRefusalsPorts
  readonly #refusedAt: number[] = []

  constructor(session: Session, traceId: string, ports: EdgeRefusalsPorts) {
    this.#session = session
    this.#traceId = traceId
    this.#ports = ports
  }

  /** Tells the client why its frame goes no further; `details.message_id` names the frame. */
  refuse(error: BusError, requestId?: string): void {
    const { message_id: readId, ...details } = error.details
    const id = requestId ?? (typeof readId === 'string' ? readId : undefined)
    this.#ports.metrics.count('shield_frames_total', error.code)
    this.#session.send(this.#ports.answers.refusal(new BusError(error.code, error.message, details), id))
    this.#ports.telemetry.emit({
      type: error.code === 'TENANT_MISMATCH' ? 'security_violation' : 'message_refused',
      tenant: this.#session.identity.tenant,
      clientId: this.#session.id,
      severity: 'warning',
      metadata: {
        code: error.code,
        trace: this.#traceId,
        ...(typeof details['reason'] === 'string' && { reason: details['reason'] }),
      },
    })
    if (isSchemaOrPolicy(error)) this.#countRefusal()
  }

  /** What is to be told where something else than a refusal was thrown. */
  toBusError(error: unknown): BusError {
    if (isBusError(error)) return error
    const named = { clientId: this.#session.id, trace: this.#traceId }
    this.#ports.logger.error('shield.internal_error', { ...named, ...describeError(error) })
    return new BusError('INTERNAL_ERROR', undefined, {}, error)
  }

  #countRefusal(): void {
    const now = this.#ports.clock.monotonic()
    while (this.#refusedAt[0] !== undefined && this.#refusedAt[0] < now - refusalWindowMs) this.#refusedAt.shift()
    this.#refusedAt.push(now)
    if (this.#refusedAt.length >= maxRefusals) this.#session.close('REFUSED_TOO_OFTEN')
  }
}

function isSchemaOrPolicy({ code }: BusError): boolean {
  return ['SCHEMA_VIOLATION', 'VALIDATION_ERROR', 'INFRA_PROTOCOL_ERROR', 'POLICY_DENIED', 'POLICY_ERROR'].includes(
    code,
  )
}
