import { expect, test } from 'vitest'
import { seededFaults } from '../../../src/link/faults.ts'
import { createMemoryHub } from '../../../src/link/memory-link.ts'
import { collect, linkContract } from '../../support/contracts/link.ts'

linkContract('memory', async () => {
  const hub = createMemoryHub({ maxPayload: 64 * 1024 })
  const links: { close(): Promise<void> }[] = []
  return {
    async connect(name) {
      const link = hub.connect(name)
      links.push(link)
      return link
    },
    async outage(name) {
      hub.disconnect(name)
      return async () => hub.reconnect(name)
    },
    async close() {
      for (const link of links) await link.close()
    },
  }
})

/** What a receiver sees of 300 numbered messages under seeded faults. */
async function run(seed: number): Promise<string[]> {
  const hub = createMemoryHub({
    maxPayload: 1_024,
    faults: seededFaults({
      seed,
      drop: 0.1,
      delay: 0.1,
      disconnect: 0.02,
      spare: ({ subject }) => subject === 'end',
    }),
  })
  const [from, to] = [hub.connect('from'), hub.connect('to')]
  const got = collect(to, 'n.*')
  const end = collect(to, 'end')
  await to.flush()
  for (let i = 0; i < 300; i++) {
    from.publish(`n.${i % 2}`, Buffer.from(String(i)))
    await from.flush()
  }
  // Past every outage the faults can begin (8 turns each).
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
  from.publish('end', new Uint8Array())
  await end.next(1)
  await Promise.all([from.close(), to.close()])
  return got.texts()
}

test('faults lose and hold up messages, but never repeat or reorder them', async () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const seen = (await run(seed)).map(Number)
    expect(seen.length, `seed ${seed}`).toBeLessThan(300)
    expect(seen.length, `seed ${seed}`).toBeGreaterThan(100)
    expect(seen, `seed ${seed}`).toEqual([...new Set(seen)].toSorted((x, y) => x - y))
  }
})

test('the same seed gives the same faults', async () => {
  expect(await run(7)).toEqual(await run(7))
  expect(await run(7)).not.toEqual(await run(8))
})

test('a callback that throws does not keep the messages behind it from arriving', async () => {
  const hub = createMemoryHub({ maxPayload: 1_024 })
  const link = hub.connect('one')
  const thrown = new Promise<unknown>((resolve) => {
    const others = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.once('uncaughtException', (error) => {
      for (const listener of others) process.on('uncaughtException', listener)
      resolve(error)
    })
  })
  link.subscribe('x', () => {
    throw new Error('a bug of the subscriber')
  })
  const got = collect(link, 'x')
  await link.flush()
  link.publish('x', Buffer.from('1'))
  await got.next(1)
  expect(await thrown).toMatchObject({ message: 'a bug of the subscriber' })
})
