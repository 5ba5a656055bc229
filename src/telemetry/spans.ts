// Spans for an OpenTelemetry collector: OTLP over HTTP as JSON, in batches from a bounded queue. A collector that is slow
// or away costs spans, which are counted, and nothing else.
import type { Clock } from '../base/clock.ts'
import { describeError, type Logger } from '../base/logger.ts'
import { version } from '../base/version.ts'

export interface Span {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string
  readonly startMs: number
  readonly endMs: number
  /** Names and codes; no payloads. */
  readonly attributes: Readonly<Record<string, string>>
  /** An error code where it failed. */
  readonly error?: string
}

export type SpanOutcome = 'sent' | 'dropped' | 'failed'

export interface SpanExporter {
  add(span: Span): void
  /** Sends what is queued, within the time-out of one request. */
  close(): Promise<void>
}

const maxQueued = 2_048
const batchSize = 512
const intervalMs = 1_000
const timeoutMs = 5_000
const serverKind = 2
const statusError = 2

export function createSpanExporter(ports: {
  /** Base address; `/v1/traces` is added. May hold credentials: never logged. */
  readonly endpoint: string
  readonly service: string
  readonly clock: Clock
  readonly logger: Logger
  readonly count: (outcome: SpanOutcome, by: number) => void
}): SpanExporter {
  const { endpoint, service, clock, logger, count } = ports
  const { url, headers } = targetOf(endpoint)
  const queue: Span[] = []
  let sending: Promise<void> | undefined
  let isFailing = false

  async function post(batch: readonly Span[]): Promise<void> {
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers,
        body: JSON.stringify(toOtlp(batch, service)),
        signal: AbortSignal.timeout(timeoutMs),
        redirect: 'error',
      })
      await response.body?.cancel()
      if (!response.ok) throw new Error(`the collector answers ${response.status}`)
      count('sent', batch.length)
      isFailing = false
    } catch (error) {
      count('failed', batch.length)
      // Once for each time it goes away. The message of a failed fetch names no address.
      if (!isFailing) logger.warn('spans.failed', describeError(error))
      isFailing = true
    }
  }

  async function sendAll(): Promise<void> {
    while (queue.length > 0) await post(queue.splice(0, batchSize))
  }

  function send(): Promise<void> {
    sending ??= sendAll().finally(() => {
      sending = undefined
    })
    return sending
  }

  const timer = setInterval(() => void send(), intervalMs)
  timer.unref()

  return {
    add(span) {
      if (queue.length >= maxQueued) count('dropped', 1)
      else queue.push(span)
    },
    async close() {
      clearInterval(timer)
      const endMs = clock.monotonic() + timeoutMs
      while ((queue.length > 0 || sending !== undefined) && !isFailing && clock.monotonic() < endMs) await send()
    },
  }
}

/** `fetch` refuses addresses with credentials: they become a header. */
function targetOf(endpoint: string): { url: string; headers: Record<string, string> } {
  const url = new URL(`${endpoint.replace(/\/+$/, '')}/v1/traces`)
  const { username, password } = url
  url.username = ''
  url.password = ''
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (username !== '') {
    const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
    headers['authorization'] = `Basic ${Buffer.from(pair).toString('base64')}`
  }
  return { url: url.href, headers }
}

const attribute = ([key, value]: [string, string]): object => ({ key, value: { stringValue: value } })
const nanoseconds = (ms: number): string => `${Math.round(ms * 1_000)}000`

function toOtlp(spans: readonly Span[], service: string): object {
  const resource = { 'service.name': service, 'service.version': version }
  return {
    resourceSpans: [
      {
        resource: { attributes: Object.entries(resource).map(attribute) },
        scopeSpans: [
          {
            scope: { name: 'arqonbus', version },
            spans: spans.map(({ traceId, spanId, parentSpanId, name, startMs, endMs, attributes, error }) => ({
              traceId,
              spanId,
              parentSpanId,
              name,
              kind: serverKind,
              startTimeUnixNano: nanoseconds(startMs),
              endTimeUnixNano: nanoseconds(endMs),
              attributes: Object.entries(attributes).map(attribute),
              ...(error !== undefined && { status: { code: statusError, message: error } }),
            })),
          },
        ],
      },
    ],
  }
}
