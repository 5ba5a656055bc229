import { describe, expect, it } from 'vitest'
import { createClosers } from '../../../src/base/closers.ts'

describe('closers', () => {
  it('close what was opened last first, each after the one before it is done', async () => {
    const closers = createClosers()
    const order: string[] = []
    closers.push('store', () => void order.push('store'))
    closers.push('link', async () => {
      order.push('link begins')
      await Promise.resolve()
      order.push('link ends')
    })
    await closers.close()
    expect(order).toEqual(['link begins', 'link ends', 'store'])
  })

  it('run once, however often and at once they are closed', async () => {
    const closers = createClosers()
    let count = 0
    closers.push('once', () => void count++)
    await Promise.all([closers.close(), closers.close()])
    await closers.close()
    expect(count).toBe(1)
  })

  it('go on behind one that fails, and name all that failed', async () => {
    const closers = createClosers()
    const causes = [new Error('first'), new Error('second')]
    let isClosed = false
    closers.push('store', () => {
      isClosed = true
    })
    closers.push('link', () => Promise.reject(causes[0]!))
    closers.push('socket', () => {
      throw causes[1]!
    })
    const error: unknown = await closers.close().then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(isClosed).toBe(true)
    expect(error).toBeInstanceOf(AggregateError)
    const { message, errors } = error as AggregateError
    expect(message).toBe('closing socket failed; closing link failed')
    expect(errors.map((one: Error) => one.cause)).toEqual([causes[1], causes[0]])
  })

  it('close what was opened while they close', async () => {
    const closers = createClosers()
    const order: string[] = []
    closers.push('outer', () => {
      order.push('outer')
      closers.push('late', () => void order.push('late'))
    })
    await closers.close()
    expect(order).toEqual(['outer', 'late'])
  })
})
