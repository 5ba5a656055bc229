// W3C trace context, version 00: `traceparent` as text and as its parts. Portable.
import { randomHex } from './ids.ts'

export interface TraceContext {
  /** 32 hex, not all 0. */
  readonly traceId: string
  /** 16 hex: the span of whoever sent it. */
  readonly spanId: string
  /** Has its maker asked that this trace be recorded? */
  readonly isSampled: boolean
}

const form = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/** Undefined for what is none: it is then ignored, as the standard asks, and never repeated. */
export function parseTraceparent(text: unknown): TraceContext | undefined {
  if (typeof text !== 'string' || text.length > 256) return undefined
  const [, version, traceId, spanId, flags, rest] = form.exec(text) ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined
  // Later versions may add to the end; this one may not.
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

/** As `parseTraceparent` would say; nearly none are, and of those the flags are enough. */
export function isSampled(traceparent: string | undefined): boolean {
  if (traceparent === undefined || (Number.parseInt(traceparent.charAt(54), 16) & 1) !== 1) return false
  return parseTraceparent(traceparent)?.isSampled === true
}

export function printTraceparent({ traceId, spanId, isSampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-0${isSampled ? 1 : 0}`
}

/** A trace that begins here. Nobody has asked for it to be recorded. */
export function newTrace(): TraceContext {
  return { traceId: randomHex(16), spanId: randomHex(8), isSampled: false }
}

/** The next span of the trace. */
export function childOf({ traceId, isSampled }: TraceContext): TraceContext {
  return { traceId, spanId: randomHex(8), isSampled }
}

/**
 * A number in [0, 1) from the random end of the trace id: the same for all who see the trace, so that each takes the same
 * share of traces.
 */
export function shareOf(traceId: string): number {
  return Number.parseInt(traceId.slice(-13), 16) / 2 ** 52
}
