// Bus and Shield in a process of their own, on free ports and in memory, to be attacked: whatever kills it kills only it.
// Started by system-process.ts; speaks to its parent over the IPC channel.
import { startUp } from '../../src/app/up.ts'
import { systemClock } from '../../src/base/clock.ts'
import { holdYoungGeneration } from '../../src/bin/young-generation.ts'
import { createLogger } from '../../src/base/logger.ts'
import { toBusConfig, toShieldConfig } from '../../src/config/load.ts'
import { resolveKeys } from '../../src/config/resolve.ts'

holdYoungGeneration() // as the server commands do
const resolution = resolveKeys(JSON.parse(process.argv[2]!) as Record<string, string>)
const running = await startUp(
  { bus: toBusConfig(resolution), shield: toShieldConfig(resolution) },
  { clock: systemClock, logger: createLogger(resolution.values.logLevel, 'system') },
)

process.on('message', (message) => {
  if (message === 'stop') void running.close().then(() => process.disconnect())
  if (message !== 'stats') return
  // Array buffers are freed beside the program after a collection; the next one waits until that is done.
  global.gc?.()
  global.gc?.()
  const sockets = process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
  const { rss, heapUsed, external } = process.memoryUsage()
  process.send?.({ rss, held: heapUsed + external, sockets, clients: running.bus.core.clients.size })
})
process.once('disconnect', () => process.exit()) // stopped, or the parent is gone
process.send?.({ bus: running.bus.wsPort, shield: running.shield.wsPort })
