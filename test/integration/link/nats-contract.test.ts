import { afterAll, beforeAll, describe } from 'vitest'
import { silentLogger } from '../../../src/base/logger.ts'
import type { Link } from '../../../src/link/link.ts'
import { openNatsLink } from '../../../src/link/nats-link.ts'
import { linkContract } from '../../support/contracts/link.ts'
import { createTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

describe.skipIf(skipWithout('nats'))('with a real server', () => {
  let server: NatsServerProcess
  beforeAll(async () => {
    server = await startNatsServer({ config: 'max_payload: 64KB' })
  })
  afterAll(() => server?.close())

  linkContract('nats', async () => {
    const links = new Map<string, { link: Link; proxy: TcpProxy }>()
    return {
      async connect(name) {
        const proxy = await createTcpProxy(server.port)
        const link = await openNatsLink({
          servers: [{ host: '127.0.0.1', port: proxy.port, isTls: false }],
          name,
          logger: silentLogger,
          timing: { backoffMaxMs: 50 },
        })
        links.set(name, { link, proxy })
        return link
      },
      async outage(name) {
        const { link, proxy } = links.get(name)!
        const lost = stateOf(link, 'disconnected')
        proxy.cut()
        await lost
        return async () => {
          const back = stateOf(link, 'connected')
          proxy.mend()
          await back
        }
      },
      async close() {
        for (const { link, proxy } of links.values()) {
          await link.close()
          await proxy.close()
        }
      },
    }
  })
})

function stateOf(link: Link, wanted: string): Promise<void> {
  return new Promise((resolve) => {
    const stop = link.onState((state) => {
      if (state !== wanted) return
      stop()
      resolve()
    })
    if (link.state === wanted) {
      stop()
      resolve()
    }
  })
}
