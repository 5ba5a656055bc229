// How deep and how wide a frame's content may be, in either wire format (reliability 4).

export interface WireLimits {
  /** Nesting of objects and arrays; the payload object itself is level 1. */
  readonly maxDepth: number
  /** Keys of all objects of a frame together. */
  readonly maxKeys: number
  readonly maxArrayItems: number
}

export const defaultWireLimits: WireLimits = { maxDepth: 32, maxKeys: 1_000, maxArrayItems: 10_000 }

/** Keys that mean something to JavaScript's objects: refused everywhere (reliability 3.1, 21). */
export function isForbiddenKey(key: string): boolean {
  return key === '__proto__' || key === 'constructor' || key === 'prototype'
}
