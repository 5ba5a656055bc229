// traceparent as the standard has it.
import { expect, test } from 'vitest'
import { childOf, newTrace, parseTraceparent, printTraceparent, shareOf } from '../../../src/base/trace-context.ts'

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const spanId = '00f067aa0ba902b7'

test('reads what it prints, and later versions by what they share with this one', () => {
  expect(parseTraceparent(`00-${traceId}-${spanId}-01`)).toEqual({ traceId, spanId, isSampled: true })
  expect(parseTraceparent(`00-${traceId}-${spanId}-02`)).toEqual({ traceId, spanId, isSampled: false })
  expect(parseTraceparent(`cc-${traceId}-${spanId}-01-more`)).toEqual({ traceId, spanId, isSampled: true })
  const own = newTrace()
  expect(parseTraceparent(printTraceparent(own))).toEqual(own)
  expect(childOf(own)).toMatchObject({ traceId: own.traceId, isSampled: false })
  expect(childOf(own).spanId).not.toBe(own.spanId)
})

test.each([
  undefined,
  7,
  '',
  `00-${traceId}-${spanId}`,
  `00-${traceId}-${spanId}-01-more`,
  `ff-${traceId}-${spanId}-01`,
  `00-${traceId.toUpperCase()}-${spanId}-01`,
  `00-${'0'.repeat(32)}-${spanId}-01`,
  `00-${traceId}-${'0'.repeat(16)}-01`,
  `00-${traceId}-${spanId}-01\r\nx: y`,
  `cc-${traceId}-${spanId}-01-${'x'.repeat(300)}`,
])('takes %j for none', (text) => {
  expect(parseTraceparent(text)).toBeUndefined()
})

test('shares traces out evenly, by their random end', () => {
  expect(shareOf('0'.repeat(32))).toBe(0)
  expect(shareOf('f'.repeat(32))).toBeLessThan(1)
  expect(shareOf(`${'f'.repeat(19)}8${'0'.repeat(12)}`)).toBe(0.5)
})
