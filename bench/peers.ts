// The servers a fan-out is measured on: how each is started, subscribed to and published to. A peer that is not on
// PATH is left out of the table and said so.
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeProtobuf } from '../src/wire/protobuf-codec.ts'
import { isOnPath, type MeasuredProcess, startPinned } from './load/processes.ts'
import type { IngestPeer } from './ingest.ts'
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

export const ports = { bus: 21_100, http: 21_180, telemetry: 21_181, nats: 21_222, natsWs: 21_223, redis: 21_379 }

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

function busMessage(payload: string, n: number, ack: 'none' | 'stored'): Uint8Array {
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
      const folder = mkdtempSync(join(tmpdir(), 'arqonbus-bench-'))
      const file = join(folder, 'nats.conf')
      writeFileSync(
        file,
        `listen: 127.0.0.1:${ports.nats}\nmax_pending: 256MB\nmax_connections: 20000\nwebsocket { listen: "127.0.0.1:${ports.natsWs}", no_tls: true }\n`,
      )
      return startPinned('nats-server', ['-c', file], { core: 0, port: ports.natsWs })
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

/** The bus with history in SQLite (`synchronous=full`), acks at level `disk`. */
export function embeddedIngest(): IngestPeer {
  return {
    name: 'arqonbus embedded (disk)',
    isAvailable: true,
    start: () => startBus({ ...durable, ARQONBUS_STORAGE_BACKEND: 'embedded' }),
    openPublisher: () => openRawSocket({ port: ports.bus }),
    publishBytes: (payload, n) => clientFrame(2, busMessage(payload, n, 'stored')),
    answerMarker: 'message_response',
  }
}

/** The bus with history in memory: what the bus itself costs. */
export function memoryIngest(): IngestPeer {
  return {
    ...embeddedIngest(),
    name: 'arqonbus memory',
    start: () => startBus({ ...durable, ARQONBUS_STORAGE_BACKEND: 'memory' }),
  }
}

const durable = {
  ARQONBUS_ENABLE_PERSISTENCE: 'true',
  ARQONBUS_DATA_DIR: 'data',
  ARQONBUS_LIMIT_DEDUP_MAX_IDS: '10000000',
}

/** JetStream with file storage and its default fsync (every two minutes): its ack survives a kill, not a power cut. */
export function jetStreamIngest(): IngestPeer {
  return {
    name: 'nats jetstream (file)',
    isAvailable: isOnPath('nats-server'),
    async start() {
      const folder = mkdtempSync(join(tmpdir(), 'arqonbus-bench-'))
      return startPinned('nats-server', ['-a', '127.0.0.1', '-p', String(ports.nats), '-js', '-sd', folder], {
        core: 0,
        port: ports.nats,
      })
    },
    async openPublisher() {
      const raw = await openRawSocket({ port: ports.nats, upgrade: false })
      const stream = JSON.stringify({ name: 'BENCH', subjects: ['bench.js'], storage: 'file' })
      const created = raw.expect(Buffer.from('did_create'))
      raw.socket.write(
        `CONNECT {"verbose":false,"pedantic":false}\r\nSUB answer 1\r\nPUB $JS.API.STREAM.CREATE.BENCH answer ${stream.length}\r\n${stream}\r\n`,
      )
      await created
      return raw
    },
    publishBytes: (payload) => Buffer.from(`PUB bench.js answer ${payload.length}\r\n${payload}\r\n`),
    answerMarker: '"seq":',
  }
}

export function redisIngest(): IngestPeer {
  return {
    name: 'redis xadd (aof everysec)',
    isAvailable: isOnPath('redis-server'),
    start: () =>
      startPinned(
        'redis-server',
        ['--port', String(ports.redis), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'yes'],
        {
          core: 0,
          port: ports.redis,
        },
      ),
    openPublisher: () => openRawSocket({ port: ports.redis, upgrade: false }),
    publishBytes: (payload) =>
      Buffer.from(`*5\r\n$4\r\nXADD\r\n$5\r\nbench\r\n$1\r\n*\r\n$1\r\nd\r\n$${payload.length}\r\n${payload}\r\n`),
    answerMarker: '$',
  }
}
