// The link of copies: another connection than the one that carries clients' frames, opened when it can be. Nothing waits
// for it.
import { setTimeout as pause } from 'node:timers/promises'
import { describeError, type Logger } from '../base/logger.ts'
import type { Secret } from '../config/secret.ts'
import type { Link } from '../link/link.ts'
import { openLink } from './nats-servers.ts'

export interface MirrorLink {
  readonly current: Link | undefined
  close(): Promise<void>
}

const retryMs = 5_000

export function openMirrorLink(natsUrl: Secret, logger: Logger): MirrorLink {
  const ended = new AbortController()
  let current: Link | undefined

  async function open(): Promise<void> {
    while (!ended.signal.aborted) {
      try {
        const link = await openLink(natsUrl, { name: 'arqonbus-shield-mirror', logger })
        if (ended.signal.aborted) await link.close()
        else current = link
        return
      } catch (error) {
        logger.warn('mirror.open_failed', describeError(error))
        await pause(retryMs, undefined, { signal: ended.signal }).catch(() => undefined)
      }
    }
  }
  void open()

  return {
    get current() {
      return current
    },
    async close() {
      ended.abort()
      await current?.close()
    },
  }
}
