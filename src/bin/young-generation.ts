// The size of V8's young generation in a server. Left alone it grows while modules load, to 16 MiB twice, and with a
// rush of connections, and is hardly ever given back: 17 KiB for each of 10,000 idle sessions, against 6. With 1 MiB
// throughput falls by a third; with 4 it is what it was with 16 (docs/performance.md).
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/** V8 holds two halves of this size; the second is where survivors go. */
const halfBytes = 4 * 1_024 * 1_024
/** Survivors of so many bytes at most are made until it has grown. */
const patienceBytes = 64 * 1_024 * 1_024
const blockBytes = 64 * 1_024

/** To be called before much is loaded: what has grown above the size stays so. */
export function holdYoungGeneration(): void {
  // The flag counts at the next time it grows, also after the start.
  const survivors: unknown[] = []
  while (sizeBytes() < 2 * halfBytes && survivors.length * blockBytes < patienceBytes) {
    setFlagsFromString(`--semi-space-growth-factor=${Math.ceil((2 * halfBytes) / sizeBytes())}`)
    survivors.push(Array.from({ length: blockBytes / 8 / 2 }, (_, n) => n + 0.5))
  }
  setFlagsFromString('--semi-space-growth-factor=1')
}

const sizeBytes = (): number =>
  getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')!.space_size
