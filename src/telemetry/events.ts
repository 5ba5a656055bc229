// Every event the system reports about itself, as data. Names are past tense with underscores, as the original's
// telemetry clients know them (original-contract 6); docs and metrics read this table.
import type { JsonValue } from '../base/json.ts'

export const eventTypes = [
  'client_connected',
  'client_disconnected',
  'client_refused',
  'channel_joined',
  'channel_left',
  'message_published',
  'message_refused',
  'command_completed',
  'command_failed',
  'slow_consumer',
  'store_state_changed',
  'link_state_changed',
  'security_violation',
  'system_started',
  'system_draining',
] as const
export type EventType = (typeof eventTypes)[number]

export interface TelemetryEvent {
  readonly type: EventType
  /** Whose event it is: telemetry clients see those of their own tenant; absent means the operator's only. */
  readonly tenant?: string
  readonly clientId?: string
  readonly severity?: 'info' | 'warning' | 'error'
  /** Small facts, no payloads: room, channel, code, reason, counts. */
  readonly metadata?: Readonly<Record<string, JsonValue>>
}

/** The way to report. Never throws into the caller, never waits; what cannot be kept is counted as dropped. */
export interface Telemetry {
  emit(event: TelemetryEvent): void
  /** False when nobody would see events of this type now: a hot path then need not build one. */
  wants?(type: EventType): boolean
}

export const noTelemetry: Telemetry = { emit() {} }
