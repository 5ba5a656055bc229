// What happens to a frame after the bus has answered it, beside the answer: a copy for shadow consumers, a span for the
// collector. Most frames have neither, and then this costs one look.
import type { Identity } from '../auth/identity.ts'
import type { Clock } from '../base/clock.ts'
import { childOf, parseTraceparent, printTraceparent, type TraceContext } from '../base/trace-context.ts'
import { edgeHeaders } from '../envelope/edge-protocol.ts'
import type { SpanExporter } from '../telemetry/spans.ts'
import type { Mirror } from './mirror.ts'
import type { ValidFrame } from './validate.ts'

export interface Aftermath {
  /** `traceparent` of the link's message. */
  readonly traceparent: string
  readonly traceId: string
  /** Given where something is to be done once the frame is settled; `error` is the code where it was refused. */
  readonly settled: ((error: string | undefined) => void) | undefined
}

export interface AftermathPorts {
  readonly mirror: Mirror | undefined
  readonly spans: SpanExporter | undefined
  readonly clock: Clock
}

/** `own` is the connection's trace; a frame may bring another one in its metadata. */
export function aftermathOf(
  frame: ValidFrame,
  own: { readonly context: TraceContext; readonly traceparent: string },
  { identity, clientId }: { readonly identity: Identity; readonly clientId: string },
  { mirror, spans, clock }: AftermathPorts,
): Aftermath {
  const brought = parseTraceparent(frame.scan.traceparent)
  const parent = brought ?? own.context
  const { traceId } = parent
  const isTraced = spans !== undefined && parent.isSampled
  const context = isTraced ? childOf(parent) : parent
  const traceparent = brought === undefined && !isTraced ? own.traceparent : printTraceparent(context)
  const copy = mirror?.takes(identity.tenant, frame.scan, traceId) === true ? frame.bytes.slice() : undefined
  if (copy === undefined && !isTraced) return { traceparent, traceId, settled: undefined }
  const startMs = clock.now()
  return {
    traceparent,
    traceId,
    settled(error) {
      if (copy !== undefined && error === undefined) {
        mirror?.offer(identity, copy, { [edgeHeaders.trace]: traceId, traceparent })
      }
      if (!isTraced) return
      const { type, room, channel, id } = frame.scan
      spans.add({
        name: `arqon ${type}`,
        traceId,
        spanId: context.spanId,
        parentSpanId: parent.spanId,
        startMs,
        endMs: clock.now(),
        attributes: {
          'arqon.tenant': identity.tenant,
          'arqon.client': clientId,
          'arqon.message_id': id,
          ...(room !== undefined && { 'arqon.room': room }),
          ...(channel !== undefined && { 'arqon.channel': channel }),
        },
        ...(error !== undefined && { error }),
      })
    },
  }
}
