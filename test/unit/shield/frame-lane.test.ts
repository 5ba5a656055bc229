import { expect, test } from 'vitest'
import { FrameLane } from '../../../src/shield/frame-lane.ts'

const lane = (max = 8): FrameLane<never> => new FrameLane(max)
const frameAt = (sentMs: number) => ({
  requestId: `id-${sentMs}`,
  sentMs,
  echo: undefined,
  isCommand: false,
  intent: undefined,
})
const numbers = (entries: readonly { frame: number }[]): number[] => entries.map((entry) => entry.frame)

test('numbers frames from 1 and counts them until they are settled', () => {
  const one = lane(2)
  expect(one.begin(frameAt(0))).toMatchObject({ entry: { frame: 1 }, isReset: false })
  one.begin(frameAt(1))
  expect(() => one.begin(frameAt(2))).toThrow(expect.objectContaining({ code: 'INFLIGHT_EXCEEDED' }))
  expect(one.settle(1)).toMatchObject({ requestId: 'id-0' })
  expect(one.settle(1)).toBeUndefined()
  expect(one.begin(frameAt(3)).entry.frame).toBe(3)
})

test('a gap takes back all from the missing frame on, and the next frame resets', () => {
  const one = lane()
  for (let i = 0; i < 5; i++) one.begin(frameAt(i))
  expect(numbers(one.gap(4, 3))).toEqual([3, 4, 5])
  expect(numbers([...one.unanswered.values()])).toEqual([1, 2])
  expect(numbers(one.gap(5, 3))).toEqual([])
  // 1 and 2 are known to have arrived: they do not stand in the way.
  expect(one.begin(frameAt(6))).toMatchObject({ entry: { frame: 6 }, isReset: true })
  expect(one.begin(frameAt(7)).isReset).toBe(false)
})

test('a gap told of a frame before the last reset leaves what came after the reset alone', () => {
  const one = lane()
  for (let i = 0; i < 3; i++) one.begin(frameAt(i))
  one.gap(2, 1)
  expect(one.begin(frameAt(3))).toMatchObject({ entry: { frame: 4 }, isReset: true })
  expect(numbers(one.gap(3, 1))).toEqual([])
  expect(one.unanswered.has(4)).toBe(true)
  expect(one.begin(frameAt(4)).isReset).toBe(false)
})

test('a lost reset is noticed by the next gap, and set again', () => {
  const one = lane()
  one.begin(frameAt(0))
  one.begin(frameAt(1))
  one.gap(2, 1)
  expect(one.begin(frameAt(2)).isReset).toBe(true) // frame 3, lost
  one.begin(frameAt(3))
  expect(numbers(one.gap(4, 1))).toEqual([3, 4])
  expect(one.begin(frameAt(4)).isReset).toBe(true)
})

test('expires what is older, and resets only when nothing doubtful is under way', () => {
  const one = lane()
  one.begin(frameAt(0))
  one.begin(frameAt(10))
  expect(numbers(one.expire(5))).toEqual([1])
  // Frame 2 may be refused for the hole at 1: its refusal must reach the client before the hole is closed.
  expect(one.begin(frameAt(20)).isReset).toBe(false)
  one.settle(2)
  one.settle(3)
  expect(one.begin(frameAt(21)).isReset).toBe(true)
})

test('a frame that was never sent leaves its number unused', () => {
  const one = lane()
  const { entry } = one.begin(frameAt(0))
  one.cancel(entry.frame)
  expect(one.unanswered.size).toBe(0)
  expect(one.begin(frameAt(1))).toMatchObject({ entry: { frame: 2 }, isReset: true })
})
