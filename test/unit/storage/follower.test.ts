// What follows streams in the background: everything told of is done, nothing told of meanwhile is lost.
import { afterEach, describe, expect, it } from 'vitest'
import { silentLogger } from '../../../src/base/logger.ts'
import { createFollower, type Follower, type FollowerOptions } from '../../../src/storage/follower.ts'

const opened: Follower<string>[] = []
afterEach(async () => {
  for (const follower of opened.splice(0)) await follower.stop()
})

/** A follower whose steps wait until they are let go. */
function follow(more: Partial<FollowerOptions<string>> = {}) {
  let nowMs = 0
  const steps: { streams: readonly string[]; end: (unfinished?: readonly string[]) => void; fail: () => void }[] = []
  const begun: (() => void)[] = []
  const follower = createFollower<string>({
    name: 'test',
    gatherMs: 1,
    sweepEveryMs: 60_000,
    streamsPerStep: 2,
    step(streams) {
      const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>()
      steps.push({ streams, end: (unfinished = []) => resolve(unfinished), fail: () => reject(new Error('no')) })
      begun.shift()?.()
      return promise
    },
    sweep: async function* () {},
    clock: { monotonic: () => nowMs },
    logger: silentLogger,
    ...more,
  })
  opened.push(follower)
  let taken = 0
  async function nextStep() {
    if (steps.length === taken) await new Promise<void>((resolve) => begun.push(resolve))
    return steps[taken++]!
  }
  return { follower, nextStep, later: (ms: number) => (nowMs += ms) }
}

describe('a follower', () => {
  it('takes some at a time, and those with more to do again, behind the others', async () => {
    const { follower, nextStep } = follow()
    follower.noteGrown(['a', 'b', 'c', 'a'])
    const first = await nextStep()
    expect(first.streams).toEqual(['a', 'b'])
    first.end(['b'])
    const second = await nextStep()
    expect(second.streams).toEqual(['c', 'b'])
    second.end()
  })

  it('begins with what a look through all streams finds', async () => {
    const { nextStep } = follow({
      sweep: async function* () {
        yield ['a']
      },
    })
    const step = await nextStep()
    expect(step.streams).toEqual(['a'])
    step.end()
  })

  it('follows again what grew during its step, and counts from when it first waited', async () => {
    const { follower, nextStep, later } = follow()
    expect(follower.state).toEqual({ waiting: 0, lagMs: 0, failures: 0 })
    follower.noteGrown(['a'])
    const first = await nextStep()
    later(30)
    follower.noteGrown(['a'])
    expect(follower.state.lagMs).toBe(30)
    first.end()
    const second = await nextStep()
    later(5)
    expect(follower.state).toEqual({ waiting: 1, lagMs: 5, failures: 0 })
    second.end()
  })

  it('makes a step again that failed, and forgets none of its streams', async () => {
    const { follower, nextStep, later } = follow()
    follower.noteGrown(['a', 'b'])
    const first = await nextStep()
    later(7)
    first.fail()
    const second = await nextStep()
    expect(second.streams).toEqual(['a', 'b'])
    expect(follower.state).toEqual({ waiting: 2, lagMs: 7, failures: 1 })
    second.end()
  })

  it('ends with the step under way, and begins no other', async () => {
    const { follower, nextStep } = follow()
    follower.noteGrown(['a', 'b', 'c'])
    const step = await nextStep()
    let isStopped = false
    const stopping = follower.stop().then(() => (isStopped = true))
    await new Promise((resolve) => setImmediate(resolve))
    expect(isStopped).toBe(false)
    step.end()
    await stopping
    expect(follower.state.waiting).toBe(1)
  })
})
