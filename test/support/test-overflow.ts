// Overflow options for tests whose members are never behind.
import type { OverflowOptions } from '../../src/rooms/overflow.ts'

export const testOverflow: OverflowOptions = {
  maxQueuedBytes: 256 * 1024,
  maxHeldBytes: 1024 * 1024,
  gapFrame: () => {
    throw new Error('no gap is expected here')
  },
}
