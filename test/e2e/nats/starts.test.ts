// How `arqonbus bus` and `arqonbus shield` start on a NATS server, and with which words and codes they refuse to.
import { describe, expect, type TestContext, test } from 'vitest'
import { strongSecret } from '../../support/environments.ts'
import { findFreePorts } from '../../support/launch/free-ports.ts'
import { launchBus, launchShield, runToEnd } from '../../support/launch/launch-linked.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'

const password = 'hunter-two-hunter-two'
async function start({ onTestFinished }: TestContext, config: string): Promise<NatsServerProcess> {
  const server = await startNatsServer({ config })
  onTestFinished(() => server.close())
  return server
}

const urlOf = ({ port }: { port: number }, user: string): string => `nats://${user}:${password}@127.0.0.1:${port}`
const base = {
  JWT_SECRET: strongSecret,
  ARQONBUS_SERVER_PORT: '0',
  ARQONBUS_HTTP_PORT: '0',
  ARQONBUS_TELEMETRY_PORT: '0',
}
const room = 'max_payload: 2MB'

test.concurrent('shield refuses without NATS_URL and says what to set', async () => {
  const { code, stderr } = await runToEnd('shield', base)
  expect(code).toBe(78)
  expect(stderr).toContain('NATS_URL')
  expect(stderr).toContain('arqonbus up')
})

test.concurrent('a link of another scheme is refused without showing the address', async () => {
  const { code, stderr } = await runToEnd('bus', { ...base, NATS_URL: `ws://arqon:${password}@127.0.0.1:4222` })
  expect(code).toBe(78)
  expect(stderr).toContain('NATS_URL takes nats:// and tls://')
  expect(stderr).not.toContain(password)
})

test.concurrent.each(['bus', 'shield'] as const)(
  '%s ends with 69 where no NATS server is, and prints no credentials',
  async (program) => {
    const [port] = (await findFreePorts(1)) as [number]
    const { code, stderr } = await runToEnd(program, { ...base, NATS_URL: urlOf({ port }, 'arqon') })
    expect(code).toBe(69)
    expect(stderr).toContain(`NATS at 127.0.0.1:${port}`)
    expect(stderr).toContain('ECONNREFUSED')
    expect(stderr).not.toContain(password)
  },
)

describe.skipIf(skipWithout('nats'))('on a real server', () => {
  test.concurrent('wrong credentials end with 77, at once and in plain words', async (context) => {
    const server = await start(context, `authorization { user: arqon, password: "other" }\n${room}`)
    const { code, stderr } = await runToEnd('bus', { ...base, NATS_URL: urlOf(server, 'arqon') })
    expect(code).toBe(77)
    expect(stderr).toContain('LINK_DENIED (NATS_AUTHORIZATION)')
    expect(stderr).not.toContain(password)
    expect(stderr).not.toContain('dial_failed')
  })

  test.concurrent('permissions too narrow for a bus end with 77, and the log names the subject', async (context) => {
    const server = await start(
      context,
      `authorization { users: [{ user: gateway, password: "${password}", permissions: {
        publish: ["in.t.>", "ctl.bus.>", "_INBOX.>"], subscribe: ["out.t.>", "ctl.edge.>", "_INBOX.>"] } }] }\n${room}`,
    )
    const { code, stderr } = await runToEnd('bus', { ...base, NATS_URL: urlOf(server, 'gateway') })
    expect(code).toBe(77)
    expect(stderr).toContain('"subject":"ctl.bus.who"')
    expect(stderr).not.toContain(password)
  })

  test.concurrent.for([
    ['bus', '64KB', 'ARQONBUS_MAX_MESSAGE_SIZE=49152 or less'],
    ['shield', '64KB', 'SHIELD_LIMIT_MAX_MESSAGE_BYTES=49152 or less'],
  ] as const)(
    '%s refuses a server whose max_payload is %s, and says what would fit',
    async ([program, max, hint], context) => {
      const server = await start(context, `max_payload: ${max}`)
      const { code, stderr } = await runToEnd(program, { ...base, NATS_URL: server.url })
      expect(code).toBe(78)
      expect(stderr).toContain('LINK_PAYLOAD_TOO_SMALL')
      expect(stderr).toContain(hint)
    },
  )

  test.concurrent('a second bus is refused while the first runs, and replaces it at once when it was killed', async (context) => {
    const server = await start(context, room)
    const first = await launchBus({ JWT_SECRET: strongSecret, NATS_URL: server.url })
    context.onTestFinished(() => first.kill())
    const { code, stderr } = await runToEnd('bus', { ...base, NATS_URL: server.url })
    expect(code).toBe(78)
    expect(stderr).toContain('START_REFUSED (BUS_PRESENT)')
    await first.kill()
    const second = await launchBus({ JWT_SECRET: strongSecret, NATS_URL: server.url })
    context.onTestFinished(() => second.kill())
    expect(await second.stop()).toBe(0)
  })

  test.concurrent('bus and Shield work with the permissions that docs/link.md gives each, and nothing is denied', async (context) => {
    const server = await start(
      context,
      `authorization { users: [
        { user: bus, password: "${password}", permissions: {
          publish: ["out.t.>", "ctl.edge.>", "ctl.bus.who", "_INBOX.>"],
          subscribe: ["in.t.>", "ctl.bus.>", "_INBOX.>"] } },
        { user: gateway, password: "${password}", permissions: {
          publish: ["in.t.>", "ctl.bus.open", "ctl.bus.close", "ctl.bus.lease", "ctl.bus.read"],
          subscribe: ["out.t.>", "ctl.edge.>", "_INBOX.>"] } }
      ] }\n${room}`,
    )
    const bus = await launchBus({ JWT_SECRET: strongSecret, NATS_URL: urlOf(server, 'bus') })
    context.onTestFinished(() => bus.kill())
    const shield = await launchShield({ JWT_SECRET: strongSecret, NATS_URL: urlOf(server, 'gateway') })
    context.onTestFinished(() => shield.kill())
    for (const { httpUrl, prefix } of [
      { ...bus, prefix: 'arqonbus' },
      { ...shield, prefix: 'shield' },
    ]) {
      const metrics = await (await fetch(`${httpUrl}/metrics`)).text()
      expect(metrics).toContain(`${prefix}_link_events_total{event="denied"} 0`)
      expect(metrics).not.toContain(password)
    }
    expect(await shield.stop()).toBe(0)
    expect(await bus.stop()).toBe(0)
  })
})
