// A bus that talks over NATS where NATS_URL is set: the link is opened first and closed last.
import { createClosers } from '../base/closers.ts'
import type { BusConfig } from '../config/shapes.ts'
import { type BusPorts, type RunningBus, startBus } from './bus.ts'
import { openLink, requireRoom } from './nats-servers.ts'
import { claimLink } from './sole-bus.ts'

/** The bus, over NATS where NATS_URL is set. `onRival` is called when another bus has taken its place. */
export async function startBusOnLink(
  config: BusConfig,
  ports: Omit<BusPorts, 'link'> & { readonly onRival: () => void },
): Promise<RunningBus> {
  const { natsUrl } = config
  if (natsUrl === undefined) return startBus(config, ports)
  const { clock, logger, onRival } = ports
  const closers = createClosers()
  try {
    const link = await openLink(natsUrl, { name: 'arqonbus-bus', logger })
    closers.push('link', () => link.close())
    requireRoom(link, config.limits.maxMessageBytes, 'ARQONBUS_MAX_MESSAGE_SIZE')
    const claim = await claimLink({ link, clock, logger, onRival })
    closers.push('claim', () => claim.close())
    const bus = await startBus(config, { ...ports, link })
    closers.push('bus', () => bus.close())
    return { ...bus, close: () => closers.close() }
  } catch (error) {
    await closers.close()
    throw error
  }
}
