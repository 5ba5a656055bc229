// What a message is. Field names are those of the wire (original-contract 2.1), so that JSON is parsed once and printed once.
import type { JsonObject, JsonValue } from '../base/json.ts'

/** Types a client may send. */
export const inboundTypes = ['message', 'command', 'response', 'error', 'telemetry', 'operator.join'] as const
/** Types only the server sends. */
export const outboundTypes = ['message_response', 'command_response', 'gap', 'goaway', 'state'] as const

export type InboundType = (typeof inboundTypes)[number]
export type EnvelopeType = InboundType | (typeof outboundTypes)[number]

export type ReplyStatus = 'success' | 'error' | 'pending'

export interface Envelope {
  /** One of the forms of base/ids `isMessageId`. */
  id: string
  /** ISO 8601 time; what we emit is UTC with milliseconds and `Z`. */
  timestamp: string
  type: EnvelopeType
  version: string
  /** An object in all that we make; JSON clients may send any JSON value. */
  payload: JsonValue
  args: JsonObject
  metadata: JsonObject
  room?: string
  channel?: string
  /** Set by the server from the session; a client's own value is dropped. */
  sender?: string
  from_client?: string
  to_client?: string
  command?: string
  request_id?: string
  status?: string
  error?: string
  error_code?: string
}

/** The optional text fields, in wire order. */
export const optionalTextFields = [
  'room',
  'channel',
  'sender',
  'from_client',
  'to_client',
  'command',
  'request_id',
  'status',
  'error',
  'error_code',
] as const satisfies readonly (keyof Envelope)[]

/** What the client asks to wait for before a publish is acknowledged: `metadata.ack` (design 5). */
export const ackRequests = ['none', 'accepted', 'stored'] as const
export type AckRequest = (typeof ackRequests)[number]

/** What becomes of a member that reads slower than its channel is published to (docs/wire.md); the first is the default. */
export const overflowPolicies = ['disconnect', 'drop_oldest', 'latest'] as const
export type OverflowPolicy = (typeof overflowPolicies)[number]
/** The policies under which a member can be behind. */
export type LossyPolicy = Exclude<OverflowPolicy, 'disconnect'>

/** What an acknowledged publish survives (reliability 5.1), weakest first. */
export const ackLevels = ['memory', 'process', 'disk', 'replica'] as const
export type AckLevel = (typeof ackLevels)[number]

/**
 * Where a message stands in its channel's one order. `sequence` counts from 1 without holes;
 * `epoch` (from 1) names the life of the stream: a position of another epoch means nothing.
 */
export interface Position {
  readonly epoch: number
  readonly sequence: number
}

/** The one stream of messages of a (tenant, room, channel). */
export interface StreamKey {
  readonly tenant: string
  readonly room: string
  readonly channel: string
}

/** The wire format of one session: text frames of JSON, or binary frames of protobuf. */
export type WireFormat = 'json' | 'protobuf'
