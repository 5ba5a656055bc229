// How tests name a server to a link.
import type { NatsServer } from '../../src/link/nats-dial.ts'

export function natsServerOf({ port }: { readonly port: number }, credentials: Partial<NatsServer> = {}): NatsServer {
  return { host: '127.0.0.1', port, isTls: false, ...credentials }
}
