import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { closeReason } from '../../../src/transport/safe-socket.ts'

describe('a close reason', () => {
  it('is the name, then the detail', () => {
    expect(closeReason('NORMAL')).toBe('NORMAL')
    expect(closeReason('SLOW_CONSUMER', 'queued=1048576')).toBe('SLOW_CONSUMER queued=1048576')
  })

  it('has at most 120 bytes, whole characters, and is otherwise unchanged', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (detail) => {
        const full = `FLOOD ${detail}`
        const reason = closeReason('FLOOD', detail)
        const bytes = Buffer.byteLength(reason)
        expect(bytes).toBeLessThanOrEqual(120)
        expect(reason.isWellFormed()).toBe(true)
        expect(full.startsWith(reason)).toBe(true)
        if (reason !== full) expect(bytes).toBeGreaterThan(116) // no character is longer than 4 bytes
      }),
      { numRuns: 1_000 },
    )
  })

  it('never holds half a surrogate pair', () => {
    expect(closeReason('FLOOD', 'a\ud800b')).toBe('FLOOD a\ufffdb')
  })
})
