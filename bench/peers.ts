// The servers a fan-out is measured on: how each is started, subscribed to and published to. A peer that is not on
// PATH is left out of the table and said so.
import { join } from 'node:path'
import { encodeProtobuf } from '../src/wire/protobuf-codec.ts'
import { isOnPath, type MeasuredProcess, startPinned } from './load/processes.ts'
import { clientFrame, openRawSocket, type RawSocket } from './load/raw-socket.ts'

export interface FanOutPeer {
  readonly name: string
  readonly isAvailable: boolean
  start(): Promise<MeasuredProcess>
  openSubscriber(): Promise<RawSocket>
  openPublisher(): Promise<RawSocket>
  /** The bytes that publish one message with this 128-byte payload. `n` makes ids differ. */
  publishBytes(payload: string, n: number): Buffer
}

/** Two benches at once need different ones. */
const firstPort = Number(process.env['ARQONBUS_BENCH_PORT'] ?? 21_100)
export const ports = {
  bus: firstPort,
  shield: firstPort + 40,
  http: firstPort + 80,
  telemetry: firstPort + 81,
  shieldHttp: firstPort + 90,
  nats: firstPort + 122,
  natsWs: firstPort + 123,
  redis: firstPort + 279,
}

/** The bus alone, persistence off, limits of rates raised by configuration; limiting code stays on. */
export function busEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    ARQONBUS_SERVER_HOST: '127.0.0.1',
    ARQONBUS_SERVER_PORT: String(ports.bus),
    ARQONBUS_HTTP_PORT: String(ports.http),
    ARQONBUS_TELEMETRY_PORT: String(ports.telemetry),
    ARQONBUS_ENVIRONMENT: 'development',
    ARQONBUS_LOG_LEVEL: 'error',
    ARQONBUS_ENABLE_PERSISTENCE: 'false',
    ...raisedLimits,
    ...extra,
  }
}

/** Printed with the results. */
export const raisedLimits: Readonly<Record<string, string>> = {
  ARQONBUS_LIMIT_MESSAGES_PER_SECOND: '10000000',
  ARQONBUS_LIMIT_MAX_INFLIGHT: '10000',
  ARQONBUS_LIMIT_MAX_MEMBERS_PER_CHANNEL: '20000',
  ARQONBUS_LIMIT_MESSAGES_BURST: '10000000',
  ARQONBUS_LIMIT_BYTES_PER_SECOND: '2000000000',
  ARQONBUS_LIMIT_BYTES_BURST: '2000000000',
  ARQONBUS_LIMIT_MAX_CONNECTIONS_PER_ADDRESS: '20000',
  ARQONBUS_LIMIT_MAX_CONNECTIONS_PER_SUBJECT: '20000',
  ARQONBUS_LIMIT_MAX_CONNECTIONS_PER_TENANT: '20000',
  ARQONBUS_MAX_CONNECTIONS: '20000',
  ARQONBUS_LIMIT_HANDSHAKES_PER_SECOND: '100000',
  ARQONBUS_LIMIT_HANDSHAKES_PER_SECOND_PER_ADDRESS: '100000',
  ARQONBUS_LIMIT_MAX_QUEUED_BYTES_PER_CLIENT: '268435456',
}

const room = 'bench'
const channel = 'fan'
const startedNs = `${Date.now()}000000`

export function busMessage(payload: string, n: number, ack: 'none' | 'stored'): Uint8Array {
  return encodeProtobuf({
    id: `arq_${startedNs}_${n}_0a0b0c`,
    timestamp: new Date().toISOString(),
    type: 'message',
    version: '1.0',
    payload: { data: payload },
    args: {},
    metadata: { ack },
    room,
    channel,
  })
}

export async function openBusMember(
  format: 'protobuf' | 'json',
  port = ports.bus,
  path = '/',
  headers = {},
): Promise<RawSocket> {
  const raw = await openRawSocket({ port, path, headers })
  const join = {
    id: `arq_${startedNs}_${Math.floor(Math.random() * 1e9)}_ffffff`,
    timestamp: new Date().toISOString(),
    type: 'command' as const,
    version: '1.0',
    payload: {},
    args: { room, channel },
    metadata: {},
    command: 'join_channel',
  }
  const joined = raw.expect(Buffer.from('command_response'))
  raw.socket.write(
    format === 'json' ? clientFrame(1, Buffer.from(JSON.stringify(join))) : clientFrame(2, encodeProtobuf(join)),
  )
  await joined
  return raw
}

/** The real command, pinned to core 0. */
export function startBus(extra: Readonly<Record<string, string>> = {}): Promise<MeasuredProcess> {
  return startPinned(process.execPath, [join(import.meta.dirname, '../src/bin/arqonbus.ts'), 'bus'], {
    core: 0,
    port: ports.bus,
    env: busEnvironment(extra),
  })
}

export function busPeer(format: 'protobuf' | 'json'): FanOutPeer {
  return {
    name: `arqonbus ${format}`,
    isAvailable: true,
    start: () => startBus(),
    openSubscriber: () => openBusMember(format),
    openPublisher: () => openRawSocket({ port: ports.bus }),
    publishBytes: (payload, n) => clientFrame(2, busMessage(payload, n, 'none')),
  }
}

export function natsPeer(): FanOutPeer {
  const open = async (first: string): Promise<RawSocket> => {
    const raw = await openRawSocket({ port: ports.natsWs })
    const ready = raw.expect(Buffer.from('PONG'))
    raw.socket.write(
      clientFrame(2, Buffer.from(`CONNECT {"verbose":false,"pedantic":false,"echo":false}\r\n${first}PING\r\n`)),
    )
    await ready
    return raw
  }
  return {
    name: 'nats-server ws',
    isAvailable: isOnPath('nats-server'),
    start: () => {
      const websocket = `websocket { listen: "127.0.0.1:${ports.natsWs}", no_tls: true }`
      const text = `listen: 127.0.0.1:${ports.nats}\nmax_pending: 256MB\nmax_connections: 20000\n${websocket}\n`
      const files = { 'nats.conf': text }
      return startPinned('nats-server', ['-c', 'nats.conf'], { core: 0, port: ports.natsWs, files })
    },
    openSubscriber: () => open('SUB bench.fan 1\r\n'),
    openPublisher: () => open(''),
    publishBytes: (payload) => clientFrame(2, Buffer.from(`PUB bench.fan ${payload.length}\r\n${payload}\r\n`)),
  }
}

export function redisPeer(): FanOutPeer {
  const open = async (first: string, marker: string): Promise<RawSocket> => {
    const raw = await openRawSocket({ port: ports.redis, upgrade: false })
    const ready = raw.expect(Buffer.from(marker))
    raw.socket.write(first)
    await ready
    return raw
  }
  return {
    name: 'redis-server tcp',
    isAvailable: isOnPath('redis-server'),
    start: () =>
      startPinned(
        'redis-server',
        [
          '--port',
          String(ports.redis),
          '--bind',
          '127.0.0.1',
          '--save',
          '',
          '--client-output-buffer-limit',
          'pubsub 0 0 0',
        ],
        { core: 0, port: ports.redis },
      ),
    openSubscriber: () => open('*2\r\n$9\r\nSUBSCRIBE\r\n$9\r\nbench.fan\r\n', 'subscribe'),
    openPublisher: () => open('PING\r\n', 'PONG'),
    publishBytes: (payload) =>
      Buffer.from(`*3\r\n$7\r\nPUBLISH\r\n$9\r\nbench.fan\r\n$${payload.length}\r\n${payload}\r\n`),
  }
}
