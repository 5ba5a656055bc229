import { describe, expect, it } from 'vitest'
import { FrameLane } from '../../../src/shield/frame-lane.ts'
import { createInflight } from '../../../src/shield/inflight.ts'

const frame = { requestId: 'a', sentMs: 0, echo: undefined, isCommand: false, intent: undefined }

function settle(lane: FrameLane<never>, ...frames: number[]): void {
  for (const n of frames) lane.settle(n)
}
function cancel(lane: FrameLane<never>, ...frames: number[]): void {
  for (const n of frames) lane.cancel(n)
}

describe('unanswered frames', () => {
  const lanes = (): FrameLane<never>[] => {
    const of = createInflight({ maxInflightPerTenant: 4, maxInflightPerProcess: 6 })
    return [new FrameLane(10, of('acme')), new FrameLane(10, of('acme')), new FrameLane(10, of('globex'))]
  }
  const begin = (lane: FrameLane<never>, count: number): number => {
    for (let n = 0; n < count; n++) {
      try {
        lane.begin(frame)
      } catch (error) {
        expect(error).toMatchObject({ code: 'INFLIGHT_EXCEEDED' })
        return n
      }
    }
    return count
  }

  it('are bounded for a tenant over its sessions, and for all', () => {
    const [a, b, other] = lanes() as [FrameLane<never>, FrameLane<never>, FrameLane<never>]
    expect(begin(a, 3)).toBe(3)
    expect(begin(b, 3)).toBe(1)
    expect(begin(other, 3)).toBe(2)
    expect(() => a.begin(frame)).toThrow(expect.objectContaining({ details: { limit: 'tenant', max: 4 } }))
    expect(() => other.begin(frame)).toThrow(expect.objectContaining({ details: { limit: 'process', max: 6 } }))
  })

  it.each<[string, (lane: FrameLane<never>) => void]>([
    ['answered', (lane) => settle(lane, 1, 2, 3, 4)],
    ['answered twice', (lane) => settle(lane, 1, 1, 2, 2, 3, 4, 4)],
    ['refused by a gap', (lane) => lane.gap(4, 1)],
    ['given up', (lane) => lane.expire(1)],
    ['ended by a restart', (lane) => lane.restart()],
    ['never sent', (lane) => cancel(lane, 1, 2, 3, 4)],
  ])('that are %s make room for exactly as many', (_how, end) => {
    const [a, b] = lanes() as [FrameLane<never>, FrameLane<never>]
    begin(a, 4)
    end(a)
    expect(begin(b, 10)).toBe(4)
  })
})
