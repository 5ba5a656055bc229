import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ClientError } from '../../../src/client/client-error.ts'
import { createFrames } from '../../../src/client/frames.ts'
import { createRequests, type RequestOptions } from '../../../src/client/requests.ts'
import type { Envelope } from '../../../src/envelope/envelope.ts'

const frames = createFrames()
const message = (id?: string): Envelope =>
  frames.message({ room: 'r', channel: 'c', payload: {}, ...(id !== undefined && { id }) })
const answerTo = (id: string): Envelope => ({ ...message(), type: 'message_response', id, status: 'success' })
const errorTo = (id: string | undefined, payload: Envelope['payload']): Envelope => ({
  ...message(),
  type: 'error',
  error: 'no',
  error_code: 'STORE_UNAVAILABLE',
  payload,
  ...(id !== undefined && { request_id: id }),
})
const once: RequestOptions = { resend: false, timeoutMs: 1_000 }
const again: RequestOptions = { resend: true, timeoutMs: 60_000 }

function start() {
  const sent: string[] = []
  const requests = createRequests((envelope) => sent.push(envelope.id))
  requests.allow({ framesPerSecond: 100_000, inflight: 200 })
  requests.up()
  return { sent, requests }
}

/** The outcome of a promise as a value, so that it can be looked at later. */
const outcomeOf = (promise: Promise<Envelope>): Promise<Envelope | ClientError> => promise.catch((error) => error)

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('a request', () => {
  it('is settled by the frame with its id, whatever came between', async () => {
    const { requests } = start()
    const frame = message()
    const outcome = requests.request(frame, once)
    expect(requests.answer(answerTo('arq_other'))).toBe(false)
    expect(requests.answer(answerTo(frame.id))).toBe(true)
    expect((await outcome).id).toBe(frame.id)
    expect(requests.inflight).toBe(0)
  })

  it('rejects with the code, the facts and the advice of the error', async () => {
    const { requests } = start()
    const frame = message()
    const outcome = outcomeOf(requests.request(frame, once))
    requests.answer(
      errorTo(frame.id, { errors: ['store is down'], retryable: true, outcome: 'unknown', retry_after_ms: 5 }),
    )
    expect(await outcome).toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: 'store is down',
      retryable: true,
      outcome: 'unknown',
      retryAfterMs: 5,
    })
  })

  it('fails when nothing answers in time, with an unknown outcome only if it was sent', async () => {
    const { requests } = start()
    const sent = outcomeOf(requests.request(message(), once))
    requests.hold()
    const held = outcomeOf(requests.request(message(), once))
    await vi.advanceTimersByTimeAsync(1_000)
    expect(await sent).toMatchObject({ code: 'REQUEST_TIMEOUT', outcome: 'unknown' })
    expect(await held).toMatchObject({ code: 'REQUEST_TIMEOUT', outcome: 'not_stored' })
  })

  it('is refused when the same id is under way, and when it cannot be written', async () => {
    const { requests } = start()
    void outcomeOf(requests.request(message('arq_1_1_aaaaaa'), again))
    await expect(requests.request(message('arq_1_1_aaaaaa'), again)).rejects.toMatchObject({ code: 'ID_CONFLICT' })
    const broken = createRequests(() => {
      throw new Error('NaN')
    })
    broken.allow({ framesPerSecond: 100, inflight: 1 })
    broken.up()
    await expect(broken.request(message(), again)).rejects.toMatchObject({ code: 'VALIDATION_ERROR' })
    expect(broken.inflight).toBe(0)
  })
})

describe('a lost connection', () => {
  it('fails a request that may not be repeated, its outcome unknown', async () => {
    const { requests } = start()
    const outcome = outcomeOf(requests.request(message(), once))
    requests.down()
    expect(await outcome).toMatchObject({ code: 'CONNECTION_LOST', outcome: 'unknown', retryable: true })
  })

  it('repeats what may be repeated, under the same ids, before what was still waiting', () => {
    const { requests, sent } = start()
    const ids = Array.from({ length: 203 }, () => message()).map((frame) => {
      void outcomeOf(requests.request(frame, again))
      return frame.id
    })
    requests.down()
    const late = message()
    void outcomeOf(requests.request(late, again))
    expect(sent).toEqual(ids.slice(0, 200))
    requests.up()
    for (const id of ids.slice(0, 4)) requests.answer(answerTo(id))
    expect(sent.slice(200)).toEqual([...ids, late.id])
  })
})

describe('a refusal for now', () => {
  it('is tried again after the time the server names', async () => {
    const { requests, sent } = start()
    const frame = message()
    const outcome = requests.request(frame, again)
    requests.answer(errorTo(frame.id, { retryable: true, retry_after_ms: 500 }))
    await vi.advanceTimersByTimeAsync(499)
    expect(sent).toEqual([frame.id])
    await vi.advanceTimersByTimeAsync(200)
    expect(sent).toEqual([frame.id, frame.id])
    requests.answer(answerTo(frame.id))
    expect((await outcome).status).toBe('success')
  })

  it('ends with the error when the request may not be repeated, or the error says not to', async () => {
    const { requests } = start()
    const [first, second] = [message(), message()]
    const outcomes = [outcomeOf(requests.request(first, once)), outcomeOf(requests.request(second, again))]
    requests.answer(errorTo(first.id, { retryable: true }))
    requests.answer(errorTo(second.id, { retryable: false }))
    expect((await Promise.all(outcomes)).map((one) => (one as ClientError).code)).toEqual([
      'STORE_UNAVAILABLE',
      'STORE_UNAVAILABLE',
    ])
  })

  it('that names no request makes all unanswered ones go again', async () => {
    const { requests, sent } = start()
    const list = [message(), message()]
    for (const frame of list) void outcomeOf(requests.request(frame, again))
    requests.answer(errorTo(undefined, { retryable: true, retry_after_ms: 100 }))
    await vi.advanceTimersByTimeAsync(400)
    expect(sent).toEqual([...list, ...list].map((frame) => frame.id))
  })
})

describe('many requests', () => {
  it('wait for room instead of all being sent at once', async () => {
    const { requests, sent } = start()
    const list = Array.from({ length: 300 }, () => message())
    const outcomes = list.map((frame) => requests.request(frame, again))
    expect(sent).toHaveLength(200)
    for (const frame of list) requests.answer(answerTo(frame.id))
    expect(sent).toEqual(list.map((frame) => frame.id))
    await Promise.all(outcomes)
  })

  it('go no faster than the server takes them', async () => {
    const { requests, sent } = start()
    requests.allow({ framesPerSecond: 100, inflight: 1_000 })
    for (let i = 0; i < 200; i++) void outcomeOf(requests.request(message(), again))
    expect(sent).toHaveLength(25)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(sent.length).toBeGreaterThan(115)
    expect(sent.length).toBeLessThanOrEqual(126)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(sent).toHaveLength(200)
  })

  it('that nothing answers are settled when they are sent', async () => {
    const { requests, sent } = start()
    requests.allow({ framesPerSecond: 2, inflight: 1 })
    const oneWay = { ...again, isOneWay: true }
    await requests.request(message(), oneWay)
    const second = requests.request(message(), oneWay)
    expect(sent).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(500)
    await second
    expect(sent).toHaveLength(2)
    expect(requests.inflight).toBe(0)
  })

  it('are refused above the bound', async () => {
    const { requests } = start()
    requests.hold()
    for (let i = 0; i < 10_000; i++) void outcomeOf(requests.request(message(), again))
    await expect(requests.request(message(), again)).rejects.toMatchObject({ code: 'BUFFER_FULL' })
  })

  it('all fail at the end, each with what is known of it', async () => {
    const { requests } = start()
    const sent = outcomeOf(requests.request(message(), again))
    requests.hold()
    const held = outcomeOf(requests.request(message(), again))
    const { ClientError } = await import('../../../src/client/client-error.ts')
    requests.fail((wasSent) => new ClientError('CLIENT_CLOSED', 'end', { outcome: wasSent ? 'unknown' : 'not_stored' }))
    expect([await sent, await held]).toMatchObject([{ outcome: 'unknown' }, { outcome: 'not_stored' }])
  })
})
