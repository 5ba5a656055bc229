// Random numbers that a seed repeats (mulberry32), for runs too long for a property test.

export interface Seeded {
  /** A whole number from `min` to `max`. */
  int(min: number, max: number): number
  pick<T>(items: readonly T[]): T
}

export function createSeeded(seed: number): Seeded {
  let state = seed >>> 0
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const int = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1))
  return { int, pick: (items) => items[int(0, items.length - 1)]! }
}

/** The seed of TEST_SEED, to repeat a run, or a new one. */
export function chooseSeed(): number {
  const given = process.env['TEST_SEED']
  return given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given)
}
