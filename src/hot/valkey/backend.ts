// The Valkey behind hot state: connected, or an error at once; also when it has never been reached yet.
import { BusError, isBusError } from '../../base/errors.ts'
import { backoffMs } from '../../base/backoff.ts'
import { describeError, type Logger } from '../../base/logger.ts'
import type { CommandArguments } from '../../valkey/connection.ts'
import type { ServerFacts } from '../../valkey/facts.ts'
import type { ValkeyReply } from '../../valkey/replies.ts'
import { openValkey, type ValkeyClient } from '../../valkey/valkey-client.ts'

export interface Backend {
  readonly isConnected: boolean
  /** What the server said of itself last; undefined while it was never reached. */
  readonly facts: ServerFacts | undefined
  /** Rejects as the client does; STORE_UNAVAILABLE at once while there is no connection. */
  send(args: CommandArguments): Promise<ValkeyReply>
  /** All of them go out together; rejects with the first failure, when all have settled. */
  sendAll(commands: readonly CommandArguments[]): Promise<readonly ValkeyReply[]>
  /** Called at each new connection. */
  onConnected(listener: () => void): void
  close(): Promise<void>
}

export interface BackendOptions {
  readonly url: string
  readonly logger: Logger
  /** Must the server be there now, or is it tried again in the background? What waiting does not mend always rejects. */
  readonly mustConnect: boolean
}

export async function openBackend({ url, logger, mustConnect }: BackendOptions): Promise<Backend> {
  const options = { url, name: 'arqonbus-hot', logger }
  const listeners = new Set<() => void>()
  let client: ValkeyClient | undefined
  let isClosed = false
  let timer: NodeJS.Timeout | undefined
  let opening: Promise<void> | undefined

  function use(opened: ValkeyClient): void {
    client = opened
    opened.onEvent(({ kind }) => {
      if (kind === 'connected') tell()
    })
  }

  function tell(): void {
    for (const listener of listeners) listener()
  }

  /** Whatever is wrong with it by now: it was right to start without. */
  async function openLate(attempt: number): Promise<void> {
    try {
      const opened = await openValkey({ ...options, attempts: 1 })
      if (isClosed) return await opened.close()
      use(opened)
      tell()
    } catch (error) {
      logger.warn('hot_state.unreachable', describeError(error))
      tryLater(attempt + 1)
    }
  }

  function tryLater(attempt: number): void {
    if (isClosed) return
    timer = setTimeout(
      () => {
        opening = openLate(attempt)
      },
      backoffMs(attempt, Math.random()),
    )
  }

  try {
    use(await openValkey({ ...options, ...(!mustConnect && { attempts: 1 }) }))
  } catch (error) {
    if (mustConnect || !isBusError(error, 'STORE_UNAVAILABLE')) throw error
    logger.warn('hot_state.unreachable', describeError(error))
    tryLater(0)
  }

  async function send(args: CommandArguments): Promise<ValkeyReply> {
    if (client === undefined) throw new BusError('STORE_UNAVAILABLE', undefined, { reason: 'OFFLINE' })
    return await client.send(args)
  }

  return {
    get isConnected() {
      return client?.isConnected === true
    },
    get facts() {
      return client?.facts
    },
    send,
    async sendAll(commands) {
      const settled = await Promise.allSettled(commands.map(send))
      return settled.map((one) => {
        if (one.status === 'rejected') throw one.reason
        return one.value
      })
    },
    onConnected: (listener) => void listeners.add(listener),
    async close() {
      isClosed = true
      clearTimeout(timer)
      await opening
      await client?.close()
    },
  }
}
