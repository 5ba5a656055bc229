import { describe, expect, it } from 'vitest'
import { createClosers } from '../../../src/base/closers.ts'

describe('createClosers', () => {
  it('closes in reverse order, one after the other', async () => {
    const events: string[] = []
    const closers = createClosers()
    closers.push('first', () => void events.push('first'))
    closers.push('slow', async () => {
      events.push('slow begins')
      await new Promise((done) => setImmediate(done))
      events.push('slow ends')
    })
    closers.push('last', () => void events.push('last'))
    await closers.close()
    expect(events).toEqual(['last', 'slow begins', 'slow ends', 'first'])
  })

  it('closes once, however often it is asked', async () => {
    let count = 0
    const closers = createClosers()
    closers.push('one', () => void count++)
    await Promise.all([closers.close(), closers.close()])
    await closers.close()
    expect(count).toBe(1)
  })

  it('goes on after a failure, and names all that failed with their causes', async () => {
    const events: string[] = []
    const closers = createClosers()
    closers.push('bottom', () => void events.push('bottom'))
    closers.push('rejects', () => Promise.reject(new Error('later')))
    closers.push('throws', () => {
      throw new Error('at once')
    })
    const failure: unknown = await closers.close().catch((error: unknown) => error)
    expect(events).toEqual(['bottom'])
    expect(failure).toBeInstanceOf(AggregateError)
    expect((failure as AggregateError).message).toBe('closing throws failed; closing rejects failed')
    expect((failure as AggregateError).errors.map((one: Error) => (one.cause as Error).message)).toEqual([
      'at once',
      'later',
    ])
    await expect(closers.close()).rejects.toBe(failure)
  })

  it('closes what is opened while it closes', async () => {
    const events: string[] = []
    const closers = createClosers()
    closers.push('outer', () => closers.push('inner', () => void events.push('inner')))
    await closers.close()
    expect(events).toEqual(['inner'])
  })

  it('has nothing to do when nothing was opened', async () => {
    await expect(createClosers().close()).resolves.toBeUndefined()
  })
})
