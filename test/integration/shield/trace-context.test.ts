// One trace from the client's upgrade over the link into the stored record, and as a span at a collector.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { parseTraceparent } from '../../../src/base/trace-context.ts'
import type { JsonObject } from '../../../src/base/json.ts'
import type { LinkMessage } from '../../../src/link/link.ts'
import { createSpanExporter, type SpanExporter } from '../../../src/telemetry/spans.ts'
import { type EdgeLab, startEdgeLab } from '../../support/edge-lab.ts'
import { createRecordLogger } from '../../support/record-logger.ts'

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const parent = '00f067aa0ba902b7'
const sampled = `00-${traceId}-${parent}-01`
const unsampled = `00-${traceId}-${parent}-00`

interface OtlpSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string
  readonly name: string
  readonly status?: { readonly message: string }
  readonly attributes: readonly { key: string; value: { stringValue: string } }[]
}

let collector: Server
let endpoint: string
let bodies: { resourceSpans: { scopeSpans: { spans: OtlpSpan[] }[] }[] }[]
let status = 200
let spans: SpanExporter
let counts: Record<string, number>
let logs: ReturnType<typeof createRecordLogger>
let lab: EdgeLab
let frames: LinkMessage[]

beforeEach(async () => {
  bodies = []
  counts = { sent: 0, dropped: 0, failed: 0 }
  status = 200
  collector = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      expect(request.url).toBe('/v1/traces')
      if (status === 200) bodies.push(JSON.parse(Buffer.concat(chunks).toString()) as (typeof bodies)[number])
      response.writeHead(status).end('{}')
    })
  })
  collector.listen(0, '127.0.0.1')
  await once(collector, 'listening')
  endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`
  logs = createRecordLogger()
  spans = createSpanExporter({
    endpoint,
    service: 'test',
    clock: systemClock,
    logger: logs,
    count: (outcome, by) => {
      counts[outcome]! += by
    },
  })
  lab = await startEdgeLab({ shield: { spans } })
  frames = []
  const link = await lab.connect('observer')
  link.subscribe('in.t.*.raw', (message) => frames.push(message))
  await link.flush()
})
afterEach(async () => {
  await lab.close()
  await spans.close()
  collector.close()
})

const received = (): OtlpSpan[] =>
  bodies.flatMap(({ resourceSpans }) =>
    resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((one) => one.spans)),
  )

test('a sampled trace of the upgrade goes with each frame, into the record, and to the collector', async () => {
  const one = await lab.client('acme.a', { format: 'protobuf', headers: { traceparent: sampled } })
  const reader = await lab.client('acme.b')
  await reader.join('ops', 'a')
  await one.publish('ops', 'a', { n: 1 })
  const [delivered] = await reader.received(1)
  const kept = delivered!.metadata['traceparent']
  expect(kept).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`))
  const forwarded = frames.find(({ headers }) => headers['x-arqon-trace'] === traceId)!
  expect(forwarded.headers['traceparent']).toBe(kept)
  // Recovered from the log: it was stored with the message.
  const again = await lab.client('acme.c')
  const position = { ...(delivered!.metadata['position'] as JsonObject), sequence: 0 }
  await again.join('ops', 'a', { recover: position as never })
  const [recovered] = await again.received(1)
  expect(recovered!.metadata['traceparent']).toBe(kept)
  await spans.close()
  const [span] = received()
  expect(span).toMatchObject({ traceId, name: 'arqon message', spanId: parseTraceparent(kept)!.spanId })
  expect(span!.parentSpanId).not.toBe(span!.spanId)
  expect(span!.attributes).toContainEqual({ key: 'arqon.room', value: { stringValue: 'ops' } })
  expect(counts).toEqual({ sent: 1, dropped: 0, failed: 0 })
})

test("a frame's own trace stands before that of its connection; its metadata stays as it was", async () => {
  const one = await lab.client('acme.a')
  const reader = await lab.client('acme.b')
  await reader.join('ops', 'a')
  await one.publish('ops', 'a', { n: 1 }, { traceparent: sampled })
  const [delivered] = await reader.received(1)
  expect(delivered!.metadata['traceparent']).toBe(sampled)
  expect(frames.some(({ headers }) => headers['x-arqon-trace'] === traceId)).toBe(true)
})

test('without a trace, or with one nobody records, messages stay as small as they were', async () => {
  const own = await lab.client('acme.a')
  const quiet = await lab.client('acme.c', { headers: { traceparent: unsampled } })
  const bad = await lab.client('acme.d', { headers: { traceparent: '00-not-a-trace' } })
  const reader = await lab.client('acme.b')
  await reader.join('ops', 'a')
  for (const one of [own, quiet, bad]) await one.publish('ops', 'a', { n: 1 })
  for (const { metadata } of await reader.received(3)) expect(metadata['traceparent']).toBeUndefined()
  const traces = frames.map(({ headers }) => headers['traceparent'])
  for (const trace of traces) expect(trace).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
  expect(traces.filter((trace) => trace?.includes(traceId))).toHaveLength(1)
  await spans.close()
  expect(received()).toEqual([])
})

test('a refusal of the bus is in the span', async () => {
  const one = await lab.client('acme.a', { headers: { traceparent: sampled } })
  const id = one.send({ room: 'ops', channel: 'a', payload: { n: 1 } })
  await one.answerTo(id)
  one.send({ id, room: 'ops', channel: 'a', payload: { n: 2 } })
  await one.until((frame) => frame.error_code === 'ID_CONFLICT', 'the conflict')
  await spans.close()
  expect(received().map((span) => span.status?.message)).toEqual([undefined, 'ID_CONFLICT'])
})

test('a collector that refuses costs spans, which are counted, and one line of log', async () => {
  status = 503
  const one = await lab.client('acme.a', { headers: { traceparent: sampled } })
  for (let n = 0; n < 3; n++) await one.publish('ops', 'a', { n })
  await spans.close()
  expect(counts['failed']).toBe(3)
  expect(counts['sent']).toBe(0)
  const failures = logs.lines.filter(({ event }) => event === 'spans.failed')
  expect(failures).toHaveLength(1)
  expect(JSON.stringify(failures)).not.toContain('127.0.0.1')
})
