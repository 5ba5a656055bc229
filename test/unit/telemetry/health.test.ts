import { describe, expect, it } from 'vitest'
import { createHealth } from '../../../src/telemetry/health.ts'
import { createManualClock } from '../../support/manual-clock.ts'

const at = Date.UTC(2026, 10, 23)

describe('health', () => {
  it('is not ready before the canary was seen', () => {
    const health = createHealth({ clock: createManualClock(at) })
    health.report({ name: 'store', state: 'up' })
    expect(health.live()).toBe(true)
    expect(health.ready()).toMatchObject({
      ready: false,
      status: 'unhealthy',
      components: [{ name: 'delivery', state: 'down', detail: 'not yet seen' }, { name: 'store' }],
    })
    health.report({ name: 'delivery', state: 'up' })
    expect(health.ready()).toMatchObject({ ready: true, status: 'healthy' })
  })

  it('is not ready when the canary grew old, and is again when it comes back', () => {
    const clock = createManualClock(at)
    const health = createHealth({ clock, canary: { name: 'delivery', maxAgeMs: 5_000 } })
    health.report({ name: 'delivery', state: 'up' })
    clock.advance(5_000)
    expect(health.ready().ready).toBe(true)
    clock.advance(1_000)
    expect(health.ready()).toMatchObject({ ready: false, components: [{ state: 'down', detail: 'last seen 6 s ago' }] })
    health.report({ name: 'delivery', state: 'up' })
    expect(health.ready().ready).toBe(true)
  })

  it('does not let other components grow old', () => {
    const clock = createManualClock(at)
    const health = createHealth({ clock, canary: 'none' })
    health.report({ name: 'store', state: 'up' })
    clock.advance(1_000_000)
    expect(health.ready()).toMatchObject({ ready: true, status: 'healthy' })
  })

  it('serves while degraded and not while anything is down', () => {
    const health = createHealth({ clock: createManualClock(at), canary: 'none' })
    health.report({ name: 'link', state: 'up' })
    health.report({ name: 'store', state: 'degraded', detail: 'kept in memory' })
    expect(health.ready()).toMatchObject({ ready: true, status: 'degraded' })
    health.report({ name: 'link', state: 'down' })
    expect(health.ready()).toMatchObject({ ready: false, status: 'unhealthy' })
  })

  it('says since when a state lasts, not when it was last reported', () => {
    const clock = createManualClock(at)
    const health = createHealth({ clock, canary: 'none' })
    health.report({ name: 'store', state: 'up' })
    clock.advance(1_000)
    health.report({ name: 'store', state: 'up', detail: 'level disk' })
    expect(health.ready().components).toEqual([
      { name: 'store', state: 'up', detail: 'level disk', since: '2026-11-23T00:00:00.000Z' },
    ])
    health.report({ name: 'store', state: 'down' })
    expect(health.ready().components[0]).toMatchObject({ since: '2026-11-23T00:00:01.000Z' })
  })
})
