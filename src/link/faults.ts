// Faults of a network, on purpose and repeatable: what the memory hub does to each hop of a message.
// A message is never delivered twice and never overtakes another of its receiver: a delay holds up what follows.

/** One message on its way to one receiver. */
export interface Hop {
  readonly subject: string
  readonly from: string
  readonly to: string
}

export type Fate =
  | { readonly kind: 'deliver' }
  | { readonly kind: 'drop' }
  | { readonly kind: 'delay'; readonly turns: number }
  /** The receiver loses its connection, with all that was on its way to it, for that many turns. */
  | { readonly kind: 'disconnect'; readonly turns: number }

/** Asked once per hop, in order. */
export type Faults = (hop: Hop) => Fate

export const deliver: Fate = { kind: 'deliver' }

/** Chances of each fault per hop, in [0, 1]; what remains is delivered. The same seed gives the same run. */
export function seededFaults(options: {
  readonly seed: number
  readonly drop?: number
  readonly delay?: number
  readonly disconnect?: number
  readonly maxTurns?: number
  /** Hops it leaves alone. */
  readonly spare?: (hop: Hop) => boolean
}): Faults {
  const random = seededRandom(options.seed)
  const { drop = 0, delay = 0, disconnect = 0, maxTurns = 8, spare } = options
  return (hop) => {
    if (spare?.(hop)) return deliver
    const draw = random()
    const turns = 1 + Math.floor(random() * maxTurns)
    if (draw < drop) return { kind: 'drop' }
    if (draw < drop + delay) return { kind: 'delay', turns }
    if (draw < drop + delay + disconnect) return { kind: 'disconnect', turns }
    return deliver
  }
}

/** Numbers in [0, 1) from a 32-bit seed (xorshift32; not for secrets). */
export function seededRandom(seed: number): () => number {
  let state = seed | 0 || 0x9e3779b9
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 0x1_0000_0000
  }
}
