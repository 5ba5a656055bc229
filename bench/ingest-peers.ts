// The servers whose acknowledged publishes are measured: the bus on each store, and what it is compared with.
import type { IngestPeer } from './ingest.ts'
import { isOnPath, startPinned } from './load/processes.ts'
import { clientFrame, openRawSocket } from './load/raw-socket.ts'
import { busMessage, ports, startBus } from './peers.ts'
import type { StoreSetup } from './stores.ts'

/** The bus with its history there; its acks name the level that the store has. */
export function busIngest(setup: StoreSetup, env: Readonly<Record<string, string>>): IngestPeer {
  return {
    name: `arqonbus ${setup.name}`,
    isAvailable: true,
    start: () => startBus({ ARQONBUS_ENABLE_PERSISTENCE: 'true', ARQONBUS_DATA_DIR: 'data', ...env }),
    openPublisher: () => openRawSocket({ port: ports.bus }),
    publishBytes: (payload, n) => clientFrame(2, busMessage(payload, n, 'stored')),
    answerMarker: 'message_response',
  }
}

/** JetStream with file storage and its default fsync (every two minutes): its ack survives a kill, not a power cut. */
export function jetStreamIngest(): IngestPeer {
  return {
    name: 'nats jetstream (file)',
    isAvailable: isOnPath('nats-server'),
    start: () =>
      startPinned('nats-server', ['-a', '127.0.0.1', '-p', String(ports.nats), '-js', '-sd', 'data'], {
        core: 0,
        port: ports.nats,
      }),
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
