// A process that appends without end and writes each answer it got to standard output, to be killed at any moment.
// Arguments: data folder, a name for this run.
import { writeSync } from 'node:fs'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import { openEmbeddedStore } from '../../../src/storage/embedded/embedded-store.ts'

const [dataDir = '', run = ''] = process.argv.slice(2)
const store = await openEmbeddedStore({
  dataDir,
  clock: systemClock,
  logger: silentLogger,
  retention: { maxRecords: 10_000_000, maxBytes: 2 ** 40, maxAgeMs: 86_400_000 },
  dedup: { maxAgeMs: 600_000, maxIds: 10_000_000 },
})

async function publish(publisher: number): Promise<never> {
  const key = { tenant: 'acme', room: 'lobby', channel: `channel-${publisher % 2}` }
  for (let n = 0; ; n++) {
    const batch = Array.from({ length: 1 + (n % 3) }, (_, i) => ({
      key,
      id: `${run}-${publisher}-${n}-${i}`,
      hash: new Uint8Array(16).fill(i),
      sender: `publisher-${publisher}`,
      frame: new Uint8Array(200).fill(i),
      atMs: Date.now(),
    }))
    const results = await store.append(batch)
    const lines = results.map((result, i) => {
      if (result.kind !== 'stored') throw new Error(result.kind)
      return `${key.channel} ${result.position.epoch} ${result.position.sequence} ${batch[i]!.id}\n`
    })
    writeSync(1, lines.join(''))
  }
}

await Promise.all(Array.from({ length: 20 }, (_, publisher) => publish(publisher)))
