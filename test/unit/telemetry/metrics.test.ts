import { describe, expect, it } from 'vitest'
import { createMetrics } from '../../../src/telemetry/metrics.ts'

/** The sample lines of one metric. */
async function samples(metrics: { text(): Promise<string> }, name: string): Promise<string[]> {
  return (await metrics.text()).split('\n').filter((line) => line.startsWith(name))
}

describe('metrics', () => {
  it('are written in the text format with help and type', async () => {
    const metrics = createMetrics()
    metrics.counter('arqonbus_messages_total', 'Messages accepted').inc()
    const text = await metrics.text()
    expect(metrics.contentType).toContain('text/plain; version=0.0.4')
    expect(text).toContain('# HELP arqonbus_messages_total Messages accepted\n')
    expect(text).toContain('# TYPE arqonbus_messages_total counter\n')
    expect(text).toContain('\narqonbus_messages_total 1\n')
  })

  it('count by label, and by more than one', async () => {
    const metrics = createMetrics()
    const counter = metrics.counter('arqonbus_x_total', 'x', ['role'])
    counter.inc({ role: 'admin' })
    counter.inc({ role: 'admin' }, 4)
    counter.inc({ role: 'user' })
    expect(await samples(metrics, 'arqonbus_x_total')).toEqual([
      'arqonbus_x_total{role="admin"} 5',
      'arqonbus_x_total{role="user"} 1',
    ])
  })

  it('read plain numbers at each scrape', async () => {
    const metrics = createMetrics('shield')
    let frames = 3
    metrics.counterFrom('shield_frames_total', 'x', () => frames)
    metrics.countersFrom('shield_kinds_total', 'x', 'kind', () => ({ a: frames, b: 1 }))
    metrics.gauge('shield_open', 'x', () => frames * 2)
    metrics.gaugesFrom('shield_up', 'x', 'part', () => ({ link: 1 }))
    expect(await samples(metrics, 'shield_frames_total')).toEqual(['shield_frames_total 3'])
    frames = 7
    expect(await samples(metrics, 'shield_frames_total')).toEqual(['shield_frames_total 7'])
    expect(await samples(metrics, 'shield_kinds_total')).toEqual([
      'shield_kinds_total{kind="a"} 7',
      'shield_kinds_total{kind="b"} 1',
    ])
    expect(await samples(metrics, 'shield_open')).toEqual(['shield_open 14'])
    expect(await samples(metrics, 'shield_up')).toEqual(['shield_up{part="link"} 1'])
  })

  it('sort observations into buckets', async () => {
    const metrics = createMetrics()
    const histogram = metrics.histogram('arqonbus_h_seconds', 'x', [0.1, 1], ['role'])
    histogram.observe(0.05, { role: 'user' })
    histogram.observe(0.5, { role: 'user' })
    histogram.observe(5, { role: 'user' })
    expect(await samples(metrics, 'arqonbus_h_seconds')).toEqual([
      'arqonbus_h_seconds_bucket{le="0.1",role="user"} 1',
      'arqonbus_h_seconds_bucket{le="1",role="user"} 2',
      'arqonbus_h_seconds_bucket{le="+Inf",role="user"} 3',
      'arqonbus_h_seconds_sum{role="user"} 5.55',
      'arqonbus_h_seconds_count{role="user"} 3',
    ])
  })

  it('keep a registry at 1,000 series: what would be more is counted as other, and none is lost', async () => {
    const metrics = createMetrics()
    const rooms = metrics.counter('arqonbus_rooms_total', 'x', ['room'])
    const others = metrics.counter('arqonbus_late_total', 'x', ['room'])
    for (let i = 0; i < 5_000; i++) rooms.inc({ room: `r${i}` })
    others.inc({ room: 'late' })
    rooms.inc({ room: 'r7' })
    const lines = await samples(metrics, 'arqonbus_rooms_total')
    expect(lines).toHaveLength(1_001)
    expect(lines).toContain('arqonbus_rooms_total{room="other"} 4000')
    expect(lines).toContain('arqonbus_rooms_total{room="r7"} 2')
    expect(await samples(metrics, 'arqonbus_late_total')).toEqual(['arqonbus_late_total{room="other"} 1'])
  })

  it('show the rest when one reader throws, and say so', async () => {
    const metrics = createMetrics()
    metrics.gauge('arqonbus_bad', 'x', () => {
      throw new Error('no')
    })
    metrics.counterFrom('arqonbus_good_total', 'x', () => 1)
    expect(await samples(metrics, 'arqonbus_good_total')).toEqual(['arqonbus_good_total 1'])
    expect(await samples(metrics, 'arqonbus_metrics_collect_errors_total')).toEqual([
      'arqonbus_metrics_collect_errors_total 1',
    ])
  })

  it('refuse names of others, and a name twice', () => {
    const metrics = createMetrics()
    expect(() => metrics.counter('http_requests_total', 'x')).toThrow('http_requests_total')
    metrics.counter('arqonbus_a_total', 'x')
    expect(() => metrics.counter('arqonbus_a_total', 'x')).toThrow('arqonbus_a_total')
  })

  it('of two registries know nothing of each other', async () => {
    createMetrics().counter('arqonbus_a_total', 'x').inc()
    expect(await samples(createMetrics(), 'arqonbus_a_total')).toEqual([])
  })
})
