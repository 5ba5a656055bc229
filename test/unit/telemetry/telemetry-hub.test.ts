import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type EventType, eventTypes } from '../../../src/telemetry/events.ts'
import { registerHubMetrics } from '../../../src/telemetry/hub-metrics.ts'
import { createMetrics } from '../../../src/telemetry/metrics.ts'
import { createTelemetryHub, type EventRecord, type TelemetryHub } from '../../../src/telemetry/telemetry-hub.ts'
import { createManualClock } from '../../support/manual-clock.ts'

const createHub = (bufferSize = 1_000): TelemetryHub => createTelemetryHub({ clock: createManualClock(0), bufferSize })
const room = (index: number): string => `r${index}`
const roomsOf = (records: readonly EventRecord[]): unknown[] => records.map(({ view }) => view.metadata['room'])

function listen(hub: TelemetryHub, audience: Parameters<TelemetryHub['subscribe']>[0]) {
  const records: EventRecord[] = []
  let missed = 0
  const subscription = hub.subscribe(audience, (batch, left) => {
    records.push(...batch)
    missed += left
  })
  return { records, subscription, missed: () => missed, types: () => records.map(({ type }) => type) }
}

describe('the telemetry hub', () => {
  beforeEach(() => vi.useFakeTimers())
  afterEach(() => vi.useRealTimers())

  it('shows an event as the original does', () => {
    const hub = createHub()
    hub.emit({ type: 'client_connected', tenant: 'acme', clientId: 'arq_client_1', metadata: { subject: 'alice' } })
    const [event] = hub.recent({ tenant: 'acme' }, 10)
    expect(event).toEqual({
      event_type: 'client_connected',
      timestamp: '1970-01-01T00:00:00.000Z',
      client_id: 'arq_client_1',
      tenant_id: 'acme',
      metadata: { subject: 'alice' },
      severity: 'info',
      event_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      server_version: expect.any(String),
      server_name: 'arqonbus',
      schema_version: '1.0',
    })
  })

  it('shows a tenant its own events only, an operator all, and events of no tenant to operators only', () => {
    const hub = createHub()
    const acme = listen(hub, { tenant: 'acme' })
    const operator = listen(hub, 'operator')
    hub.emit({ type: 'client_connected', tenant: 'acme' })
    hub.emit({ type: 'client_refused', tenant: 'other' })
    hub.emit({ type: 'system_started' })
    vi.advanceTimersByTime(100)
    expect(acme.types()).toEqual(['client_connected'])
    expect(operator.types()).toEqual(['client_connected', 'client_refused', 'system_started'])
    expect(hub.recent({ tenant: 'acme' }, 10)).toHaveLength(1)
    expect(hub.recent('operator', 10)).toHaveLength(3)
  })

  it('delivers the chosen types only, and forgets queued ones that are no longer chosen', () => {
    const hub = createHub()
    const { subscription, types } = listen(hub, 'operator')
    hub.emit({ type: 'channel_joined' })
    subscription.setTypes(new Set<EventType>(['channel_left']))
    hub.emit({ type: 'channel_joined' })
    hub.emit({ type: 'channel_left' })
    vi.advanceTimersByTime(100)
    expect(types()).toEqual(['channel_left'])
    subscription.close()
    hub.emit({ type: 'channel_left' })
    vi.advanceTimersByTime(100)
    expect(types()).toHaveLength(1)
    expect(hub.counts().subscribers).toBe(0)
  })

  it('never delivers within emit, and is not stopped by a listener that throws', () => {
    const hub = createHub()
    hub.subscribe('operator', () => {
      throw new Error('a bad listener')
    })
    const good = listen(hub, 'operator')
    hub.emit({ type: 'system_started' })
    expect(good.records).toEqual([])
    vi.advanceTimersByTime(100)
    expect(good.types()).toEqual(['system_started'])
    expect(hub.counts()).toMatchObject({ delivered: 1, dropped: 1 })
  })

  it('keeps the last events and counts those that left', () => {
    const hub = createHub(10)
    for (let i = 0; i < 25; i++) hub.emit({ type: 'channel_joined', tenant: 'acme', metadata: { room: room(i) } })
    const seen = hub.recent({ tenant: 'acme' }, 100).map(({ metadata }) => metadata['room'])
    expect(seen).toEqual(Array.from({ length: 10 }, (_, i) => room(15 + i)))
    expect(hub.recent({ tenant: 'acme' }, 2).map(({ metadata }) => metadata['room'])).toEqual([room(23), room(24)])
    expect(hub.counts()).toMatchObject({ evicted: 15, buffered: 10, bufferSize: 10 })
  })

  it('queues 1,000 for a subscriber, drops the oldest beyond, and tells it how many', () => {
    const hub = createHub()
    const listener = listen(hub, 'operator')
    for (let i = 0; i < 1_500; i++) hub.emit({ type: 'channel_joined', metadata: { room: room(i) } })
    vi.advanceTimersByTime(100)
    expect(listener.records).toHaveLength(1_000)
    expect(roomsOf(listener.records).slice(0, 2)).toEqual([room(500), room(501)])
    expect(listener.missed()).toBe(500)
    expect(hub.counts().dropped).toBe(500)
  })

  it('delivers at most 1,000 events at once to all subscribers together, in turns, losing none', () => {
    const hub = createHub()
    const listeners = Array.from({ length: 10 }, () => listen(hub, 'operator'))
    for (let i = 0; i < 400; i++) hub.emit({ type: 'channel_joined', metadata: { room: room(i) } })
    vi.advanceTimersByTime(20)
    expect(listeners.map(({ records }) => records.length)).toEqual(Array.from({ length: 10 }, () => 100))
    vi.advanceTimersByTime(100)
    for (const { records } of listeners)
      expect(roomsOf(records)).toEqual(Array.from({ length: 400 }, (_, i) => room(i)))
  })

  it('wants published messages only while somebody would see them, and does not keep them', () => {
    const hub = createHub()
    expect(hub.wants!('message_published')).toBe(false)
    expect(hub.wants!('client_connected')).toBe(true)
    const { subscription, types } = listen(hub, { tenant: 'acme' })
    expect(hub.wants!('message_published')).toBe(true)
    hub.emit({ type: 'message_published', tenant: 'acme' })
    vi.advanceTimersByTime(100)
    expect(types()).toEqual(['message_published'])
    expect(hub.recent('operator', 10)).toEqual([])
    subscription.setTypes(new Set<EventType>(['client_connected']))
    expect(hub.wants!('message_published')).toBe(false)
  })

  it('counts every type into metrics', async () => {
    const hub = createHub()
    const metrics = createMetrics()
    registerHubMetrics(metrics, hub)
    hub.emit({ type: 'security_violation' })
    hub.emit({ type: 'security_violation' })
    const text = await metrics.text()
    for (const type of eventTypes) {
      const count = type === 'security_violation' ? 2 : 0
      expect(text).toContain(`arqonbus_telemetry_events_total{type="${type}"} ${count}\n`)
    }
    expect(text).toContain('arqonbus_telemetry_active_clients 0\n')
  })

  it('writes the JSON of an event once for all', () => {
    const hub = createHub()
    const [a, b] = [listen(hub, 'operator'), listen(hub, 'operator')]
    hub.emit({ type: 'system_started' })
    vi.advanceTimersByTime(100)
    expect(a.records[0]!.json()).toBe(b.records[0]!.json())
    expect(JSON.parse(Buffer.from(a.records[0]!.json()).toString())).toEqual(a.records[0]!.view)
  })
})
