// The registry that serves now. It is replaced when its source has something new and good; while the source is away, or
// what it holds is bad, the last good one serves on and `trouble` says so.
import { describeError, type Logger } from '../base/logger.ts'
import { loadRegistry, type SchemaFiles, type SchemaRegistry } from './registry.ts'
import type { SchemaSource } from './source.ts'

export interface LiveRegistry {
  /** Undefined only where none could be loaded and that was allowed. */
  readonly current: SchemaRegistry | undefined
  /** For health; undefined when all is well. */
  readonly trouble: string | undefined
  readonly counts: Readonly<Record<'loaded' | 'refused' | 'unreadable', number>>
  close(): Promise<void>
}

/** Is it asked again anyway, in case a change was missed. */
const rereadMs = 300_000

/** `isStrict`: what cannot be loaded refuses the start. Closes the source with itself, and when it throws. */
export async function openLiveRegistry(ports: {
  readonly source: SchemaSource
  readonly isStrict: boolean
  readonly logger: Logger
}): Promise<LiveRegistry> {
  const { source, isStrict, logger } = ports
  const counts = { loaded: 0, refused: 0, unreadable: 0 }
  let current: SchemaRegistry | undefined
  let bad: string | undefined
  let reading: Promise<void> | undefined
  let isStale = false

  async function load(): Promise<void> {
    let files: SchemaFiles
    try {
      files = await source.read()
    } catch (error) {
      counts.unreadable++
      bad = 'the schemas cannot be read'
      throw error
    }
    try {
      const next = loadRegistry(files)
      bad = undefined
      if (next.digest === current?.digest) return
      current = next
      counts.loaded++
      logger.info('schemas.loaded', { digest: next.digest, schemas: Object.keys(next.map.schemas).length })
    } catch (error) {
      counts.refused++
      bad = 'the newest schemas are bad; the log says why'
      throw error
    }
  }

  /** One read at a time; what changes during one is read after it. */
  function refresh(): void {
    isStale = true
    reading ??= (async () => {
      while (isStale) {
        isStale = false
        try {
          await load()
        } catch (error) {
          logger.error('schemas.kept', { reason: bad, ...describeError(error) })
        }
      }
      reading = undefined
    })()
  }

  try {
    await load()
  } catch (error) {
    if (isStrict) {
      await source.close()
      throw error
    }
    logger.error('schemas.absent', describeError(error))
  }
  const stop = source.onChange(refresh)
  const timer = setInterval(refresh, rereadMs)
  timer.unref()

  return {
    get current() {
      return current
    },
    get trouble() {
      return source.trouble ?? bad
    },
    counts,
    async close() {
      stop()
      clearInterval(timer)
      await source.close()
      await reading
    },
  }
}
