// From NATS_URL to programs that talk over it: the link is opened first and closed last.
import { createClosers } from '../base/closers.ts'
import { BusError } from '../base/errors.ts'
import type { Secret } from '../config/secret.ts'
import type { BusConfig, ShieldConfig } from '../config/shapes.ts'
import type { Link } from '../link/link.ts'
import { linkOverheadBytes } from '../relay/relay.ts'
import { readTls } from '../shield/start-files.ts'
import { type BusPorts, type RunningBus, startBus } from './bus.ts'
import { openLink } from './nats-servers.ts'
import { type RunningShield, type ShieldProgramPorts, startShieldProgram } from './shield.ts'
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

export async function startShieldOnLink(
  config: ShieldConfig & { readonly natsUrl: Secret },
  ports: Omit<ShieldProgramPorts, 'link'>,
): Promise<RunningShield> {
  // Told before anything is opened, the listener for metrics included.
  if (config.tls !== undefined) await readTls(config.tls)
  const closers = createClosers()
  try {
    const link = await openLink(config.natsUrl, { name: 'arqonbus-shield', logger: ports.logger })
    closers.push('link', () => link.close())
    requireRoom(link, config.limits.maxMessageBytes, 'SHIELD_LIMIT_MAX_MESSAGE_BYTES')
    const shield = await startShieldProgram(config, { ...ports, link })
    closers.push('shield', () => shield.close())
    return { ...shield, close: () => closers.close() }
  } catch (error) {
    await closers.close()
    throw error
  }
}

/** Both sides check this again for any link; here an operator is told what to change. */
function requireRoom({ maxPayload }: Link, maxMessageBytes: number, variable: string): void {
  const needed = maxMessageBytes + linkOverheadBytes
  if (maxPayload >= needed) return
  throw new BusError(
    'START_REFUSED',
    `The NATS server takes ${maxPayload} bytes a message, and messages of ${maxMessageBytes} need ${needed}. Set max_payload: ${needed} or more in its configuration, or ${variable}=${maxPayload - linkOverheadBytes} or less.`,
    { reason: 'LINK_PAYLOAD_TOO_SMALL' },
  )
}
