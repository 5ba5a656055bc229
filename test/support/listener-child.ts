// The real WebSocket listener in a process of its own, with an owner that does on command what careless code would do.
// Whatever that kills, it kills only this process. Started by listener-process.ts.
import { setTimeout as after } from 'node:timers/promises'
import type { CloseName } from '../../src/base/close-codes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { type Logger, silentLogger } from '../../src/base/logger.ts'
import { loadBusConfig } from '../../src/config/load.ts'
import type { ConnectionOwner, SocketConnection } from '../../src/transport/connection.ts'
import { startWsServer } from '../../src/transport/ws-server.ts'
import { wsFrame } from '../../src/wire/ws-frame.ts'

const { limits, allowedOrigins } = loadBusConfig(JSON.parse(process.argv[2]!) as Record<string, string>)
const encoder = new TextEncoder()
const textFrame = (text: string): Uint8Array => wsFrame(1, encoder.encode(text))

/** To the test; it may have gone already. */
const tell = (fact: object): void => void process.send?.(fact, undefined, undefined, () => {})

/** Headers of a request steer what happens to it. */
const asks = (headers: NodeJS.Dict<string | string[]>, wish: string): boolean => headers['x-test'] === wish

const opened = new Set<SocketConnection>()
let isLogBroken = false
const logger: Logger = {
  ...silentLogger,
  error(event, fields = {}) {
    tell({ event, ...fields })
    if (isLogBroken) throw new Error('no space left on device')
  },
}

/** Runs `command argument`, the text of a frame. */
function obey(connection: SocketConnection, text: string): void | Promise<void> {
  const [command = '', argument = ''] = text.split(' ')
  switch (command) {
    case 'echo':
      connection.write(textFrame(text))
      return
    case 'throw':
      throw new Error('a careless owner')
    case 'reject':
      return after(1).then(() => {
        throw new Error('a careless owner, later')
      })
    case 'close':
      // From a timer: nobody above catches anything.
      setTimeout(() => connection.close(argument as CloseName), 1)
      return
    case 'close-long':
      setTimeout(() => connection.close('POLICY_VIOLATION', '€'.repeat(200)), 1)
      return
    case 'close-then-write':
      connection.close('NORMAL')
      connection.write(textFrame('after the close'))
      connection.close('INTERNAL')
      return
    case 'count':
      connection.write(textFrame(`open: ${[...opened].filter((one) => !one.isClosing).length}`))
      return
    case 'fill':
      connection.write(textFrame('x'.repeat(Number(argument))))
      return
    case 'drain':
      void server.stopAccepting()
      connection.write(textFrame('draining'))
      return
    case 'break-log':
      isLogBroken = true
      connection.write(textFrame('log is broken'))
      return
    default:
      throw new Error(`no such command: ${text}`)
  }
}

function open(connection: SocketConnection): ConnectionOwner {
  return {
    frame: (data) => obey(connection, new TextDecoder().decode(data)),
    refused(error) {
      connection.write(textFrame(error.code))
    },
    closed(code) {
      // Everything an owner could still try with a connection that is gone.
      connection.write(textFrame('too late'))
      connection.close('NORMAL')
      connection.tick(Number.MAX_SAFE_INTEGER)
      connection.terminate()
      tell({ closed: code })
    },
  }
}

const server = await startWsServer({
  host: '127.0.0.1',
  port: 0,
  limits,
  allowedOrigins,
  clock: systemClock,
  logger,
  async authenticate({ headers }) {
    if (asks(headers, 'slow')) {
      tell({ authenticating: true })
      await after(200)
    }
    if (asks(headers, 'fail')) throw new Error('the key file is gone')
    if (asks(headers, 'refuse')) return { status: 401, body: { error: 'Unauthorized' } }
    const { 'x-tenant': tenant = 'default', 'x-subject': subject = 'tester' } = headers
    return { identity: { tenant: String(tenant), subject: String(subject), role: 'user' } }
  },
  async answer({ headers }) {
    if (asks(headers, 'slow')) await after(200)
    if (asks(headers, 'fail')) throw new Error('the key file is gone')
    return { status: 426, body: { error: 'Upgrade Required' } }
  },
  open(connection, { subject }) {
    if (subject === 'unlucky') throw new Error('a careless owner')
    opened.add(connection)
    connection.write(textFrame('welcome'))
    return open(connection)
  },
})

process.once('disconnect', () => process.exit())
process.on('message', () => {
  // Without process.exit: that it ends by itself proves that nothing was left open.
  void server.close().then(() => {
    process.removeAllListeners('disconnect')
    process.disconnect()
  })
})
tell({ port: server.port })
