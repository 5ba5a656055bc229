// Only one bus on a NATS server: who asks first stays, whoever comes second is told, and a dead one is no obstacle.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { claimLink } from '../../../src/app/sole-bus.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logger.ts'
import type { Link } from '../../../src/link/link.ts'
import { openNatsLink } from '../../../src/link/nats-link.ts'
import { natsServerOf } from '../../support/nats-address.ts'
import { type NatsServerProcess, startNatsServer } from '../../support/servers/nats-server.ts'
import { skipWithout } from '../../support/servers/neighbours.ts'
import { createTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts'

describe.skipIf(skipWithout('nats'))('a bus on NATS', () => {
  let server: NatsServerProcess
  const links: Link[] = []
  const proxies: TcpProxy[] = []
  beforeEach(async () => {
    server = await startNatsServer()
  })
  afterEach(async () => {
    for (const link of links.splice(0)) await link.close()
    for (const proxy of proxies.splice(0)) await proxy.close()
    await server.close()
  })

  async function bus(port = server.port) {
    const link = await openNatsLink({ servers: [natsServerOf({ port })], name: 'bus', logger: silentLogger })
    links.push(link)
    const rivals: number[] = []
    const claim = (): ReturnType<typeof claimLink> =>
      claimLink({
        link,
        clock: systemClock,
        logger: silentLogger,
        onRival: () => rivals.push(1),
        timing: { answerMs: 300, contestMs: 150 },
      })
    return { link, claim, rivals }
  }

  test('refuses to start where another one runs, and starts when that one is gone', async () => {
    const [first, second] = [await bus(), await bus()]
    await first.claim()
    await expect(second.claim()).rejects.toMatchObject({ code: 'START_REFUSED', details: { reason: 'BUS_PRESENT' } })
    await first.link.close()
    await second.claim()
    expect(first.rivals).toEqual([])
  })

  test('wins alone when several start at the same moment', async () => {
    for (let round = 0; round < 20; round++) {
      const all = await Promise.all(Array.from({ length: 4 }, () => bus()))
      const outcomes = await Promise.allSettled(all.map(({ claim }) => claim()))
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      for (const { link } of all) await link.close()
    }
  })

  test('is told when the one before listens and is silent', async () => {
    const mute = await bus()
    mute.link.subscribe('ctl.bus.who', () => undefined)
    await mute.link.flush()
    const second = await bus()
    await expect(second.claim()).rejects.toMatchObject({ code: 'START_REFUSED', details: { reason: 'BUS_SILENT' } })
  })

  test('yields when it comes back and another one has been started meanwhile; that one stays', async () => {
    const proxy = await createTcpProxy(server.port)
    proxies.push(proxy)
    const old = await bus(proxy.port)
    await old.claim()
    proxy.cut()
    await expect.poll(() => old.link.state).toBe('disconnected')
    const fresh = await bus()
    await expect
      .poll(
        () =>
          fresh.claim().then(
            () => 'claimed',
            () => 'refused',
          ),
        { timeout: 5_000 },
      )
      .toBe('claimed')
    proxy.mend()
    await expect.poll(() => old.rivals.length, { timeout: 8_000 }).toBe(1)
    expect(fresh.rivals).toEqual([])
  })
})
