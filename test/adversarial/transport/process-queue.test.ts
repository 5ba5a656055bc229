// Many connections that read nothing, each within its own bound: together they must not take the memory of the process.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type ListenerProcess, say, startListener } from '../../support/listener-process.ts'

const mib = 1024 * 1024
let listener: ListenerProcess
beforeAll(async () => {
  listener = await startListener({
    ARQONBUS_LIMIT_MAX_QUEUED_BYTES_PER_PROCESS: String(12 * mib),
    ARQONBUS_LIMIT_CLOSE_TIMEOUT_MS: '30000', // so that the close frame behind a queue can still be read
  })
})
afterAll(() => listener.stop())

it('closes those who wait for most, and only as many as it takes', async () => {
  // Together more than the bound, without the largest less; and what a kernel takes of each changes neither.
  const sizes = [3, 24, 3, 3]
  const stalled = await Promise.all(
    sizes.map(async (size) => {
      const raw = await listener.open()
      await raw.until(/^welcome$/)
      raw.socket.pause()
      raw.socket.write(say(`fill ${size * mib}`))
      return raw
    }),
  )
  const watcher = await listener.open()
  await expect
    .poll(
      () => {
        watcher.socket.write(say('count'))
        return watcher.frames.at(-1)?.payload.toString()
      },
      { timeout: 10_000, interval: 100 },
    )
    .toBe('open: 4') // three of them, and the one that asks

  const [first, largest, ...others] = stalled
  largest!.socket.resume()
  expect(await largest!.ended).toMatchObject({ code: 4008, reason: expect.stringMatching(/^SLOW_CONSUMER queued=\d+/) })
  for (const raw of [first!, ...others]) {
    raw.socket.resume()
    raw.socket.write(say('echo still served'))
    await raw.until(/^echo still served$/)
    raw.destroy()
  }
  watcher.destroy()
})
