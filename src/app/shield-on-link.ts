// A Shield as a program of its own: the link is opened first and closed last. Loads nothing of the bus.
import { createClosers } from '../base/closers.ts'
import type { Secret } from '../config/secret.ts'
import type { ShieldConfig } from '../config/shapes.ts'
import { readTls } from '../shield/start-files.ts'
import { openLink, requireRoom } from './nats-servers.ts'
import { type RunningShield, type ShieldProgramPorts, startShieldProgram } from './shield.ts'

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
