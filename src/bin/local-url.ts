// Where a system on this machine listens, from the same variables and defaults as its own.
import { keys } from '../config/keys.ts'

export function localUrl(
  scheme: 'ws' | 'http',
  listener: 'server' | 'http',
  env: Readonly<Record<string, string | undefined>>,
): string {
  const [hostKey, portKey] = listener === 'server' ? [keys.serverHost, keys.serverPort] : [keys.httpHost, keys.httpPort]
  const host = env[hostKey.names[0]] ?? hostKey.fallback('dev')
  const port = env[portKey.names[0]] ?? String(portKey.fallback('dev'))
  // Listening on all addresses is nothing one can connect to everywhere; this machine is meant.
  const target = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host
  return `${scheme}://${target}:${port}`
}
