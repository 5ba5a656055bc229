// What every adapter of the link port has to do (src/link/link.ts). An adapter's test file calls `linkContract` with a
// way to open a lab: some links on one server.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isBusError } from '../../../src/base/errors.ts'
import type { Link, LinkMessage } from '../../../src/link/link.ts'

export interface LinkLab {
  connect(name: string): Promise<Link>
  /** Cuts the named link off from the server until the returned function is called and has resolved. */
  outage?: (name: string) => Promise<() => Promise<void>>
  close(): Promise<void>
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (data: Uint8Array): string => new TextDecoder().decode(data)

/** Collects what a subscription gets; `next(n)` resolves once `n` messages are there. */
export function collect(link: Link, pattern: string, options?: { queue?: string }) {
  const messages: LinkMessage[] = []
  const waiting: { count: number; resolve: () => void }[] = []
  const subscription = link.subscribe(
    pattern,
    (message) => {
      messages.push({ ...message, data: message.data.slice() })
      for (const entry of waiting) if (messages.length >= entry.count) entry.resolve()
    },
    options,
  )
  return {
    messages,
    texts: () => messages.map((message) => text(message.data)),
    close: () => subscription.close(),
    next(count: number): Promise<void> {
      if (messages.length >= count) return Promise.resolve()
      return new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`${messages.length} of ${count} messages of ${pattern} after 5 s`)),
          5_000,
        )
        waiting.push({
          count,
          resolve() {
            clearTimeout(timer)
            resolve()
          },
        })
      })
    },
  }
}

function codeOf(act: () => void): string {
  try {
    act()
  } catch (error) {
    if (isBusError(error)) return `${error.code} ${String(error.details['reason'] ?? '')}`.trim()
    throw error
  }
  return 'no error'
}

export function linkContract(name: string, open: () => Promise<LinkLab>, skip: { outage?: string } = {}): void {
  describe(`link contract: ${name}`, () => {
    let lab: LinkLab
    let a: Link
    let b: Link

    beforeEach(async () => {
      lab = await open()
      a = await lab.connect('a')
      b = await lab.connect('b')
    })
    afterEach(() => lab.close())

    /** Everything `from` published before has been handed to `to` when this resolves. */
    async function settled(from: Link, to: Link): Promise<void> {
      const marker = collect(to, 'test.marker')
      await to.flush()
      from.publish('test.marker', bytes('end'))
      await marker.next(1)
      marker.close()
    }

    test('delivers the bytes and headers as they were, to every subscriber, the publisher included', async () => {
      const all = Uint8Array.from({ length: 256 }, (_, i) => i)
      const own = collect(a, 'one.two')
      const other = collect(b, 'one.two')
      await Promise.all([a.flush(), b.flush()])
      a.publish('one.two', all, { 'x-arqon-text': 'ünï "quoted", : ok', 'x-arqon-empty': '' })
      await Promise.all([own.next(1), other.next(1)])
      for (const { messages } of [own, other]) {
        expect(messages[0]!.data).toEqual(all)
        expect(messages[0]!.subject).toBe('one.two')
        expect(messages[0]!.headers).toEqual({ 'x-arqon-text': 'ünï "quoted", : ok', 'x-arqon-empty': '' })
        expect(messages[0]!.respond).toBeUndefined()
      }
    })

    test('delivers on a later turn, and what the publisher does to its array afterwards does not matter', async () => {
      const got = collect(a, 'later')
      await a.flush()
      const data = Buffer.from('before') // its own `slice` does not copy
      a.publish('later', data)
      data.fill(0)
      expect(got.messages).toHaveLength(0)
      await Promise.resolve()
      expect(got.messages).toHaveLength(0)
      await got.next(1)
      expect(got.texts()).toEqual(['before'])
    })

    test('keeps the order of one link, across subjects too', async () => {
      const got = collect(b, 'order.>')
      await b.flush()
      for (let i = 0; i < 500; i++) a.publish(`order.${i % 3}`, bytes(String(i)))
      await got.next(500)
      expect(got.texts()).toEqual(Array.from({ length: 500 }, (_, i) => String(i)))
    })

    test('counts a subscription from its flush on, and nothing arrives after its close', async () => {
      const got = collect(b, 'sub.life')
      await b.flush()
      a.publish('sub.life', bytes('1'))
      await got.next(1)
      a.publish('sub.life', bytes('2'))
      got.close()
      await settled(a, b)
      expect(got.texts()).toEqual(['1'])
    })

    test.each([
      ['w.*', ['w.a', 'w.b']],
      ['w.>', ['w.a', 'w.b', 'w.a.b', 'w.a.b.c']],
      ['w.*.b', ['w.a.b']],
      ['w.a.>', ['w.a.b', 'w.a.b.c']],
      ['*.a', ['w.a']],
      ['>', ['w', 'w.a', 'w.b', 'w.a.b', 'w.a.b.c']],
      ['w.a', ['w.a']],
    ])('the pattern %s covers what it should and no more', async (pattern, expected) => {
      const got = collect(b, pattern)
      await b.flush()
      for (const subject of ['w', 'w.a', 'w.b', 'w.a.b', 'w.a.b.c']) a.publish(subject, bytes('x'))
      await settled(a, b)
      const seen = got.messages.map((message) => message.subject).filter((subject) => subject.startsWith('w'))
      expect(seen).toEqual(expected)
    })

    test('shares the messages of a queue between its members, and gives each to one of them', async () => {
      const first = collect(a, 'work.*', { queue: 'crew' })
      const second = collect(b, 'work.*', { queue: 'crew' })
      const watcher = collect(b, 'work.*')
      await Promise.all([a.flush(), b.flush()])
      for (let i = 0; i < 200; i++) a.publish('work.x', bytes(String(i)))
      await watcher.next(200)
      await Promise.all([settled(a, a), settled(a, b)])
      expect(first.messages.length + second.messages.length).toBe(200)
      expect(new Set([...first.texts(), ...second.texts()]).size).toBe(200)
      expect(Math.min(first.messages.length, second.messages.length)).toBeGreaterThan(0)
    })

    test('answers a request, with headers both ways', async () => {
      b.subscribe('ask', ({ data, headers, respond }) =>
        respond?.(bytes(`${text(data)}!`), { 'x-arqon-echo': headers['x-arqon-in'] ?? '' }),
      )
      await b.flush()
      const answer = await a.request('ask', bytes('hello'), { headers: { 'x-arqon-in': 'k' }, timeoutMs: 2_000 })
      expect(text(answer.data)).toBe('hello!')
      expect(answer.headers['x-arqon-echo']).toBe('k')
    })

    test('keeps concurrent requests apart', async () => {
      b.subscribe('double', ({ data, respond }) => respond?.(bytes(String(Number(text(data)) * 2))))
      await b.flush()
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, i) => a.request('double', bytes(String(i)), { timeoutMs: 2_000 })),
      )
      expect(answers.map((answer) => Number(text(answer.data)))).toEqual(Array.from({ length: 50 }, (_, i) => i * 2))
    })

    test('tells at once when nobody listens, and in time when nobody answers', async () => {
      const startedAt = performance.now()
      await expect(a.request('nobody', bytes('?'), { timeoutMs: 4_000 })).rejects.toMatchObject({
        code: 'TARGET_NOT_FOUND',
      })
      expect(performance.now() - startedAt).toBeLessThan(2_000)
      collect(b, 'mute')
      await b.flush()
      await expect(a.request('mute', bytes('?'), { timeoutMs: 50 })).rejects.toMatchObject({ code: 'LINK_TIMEOUT' })
    })

    test.each([
      '',
      '.',
      'a..b',
      'a.',
      '.a',
      'a b',
      'a\r\nPUB x 0',
      'a\u0000',
      'é',
      'a.*',
      'a.>',
      '>',
      '*',
      'a/b',
      'x'.repeat(1_025),
    ])('refuses to publish to %j', (subject) => {
      expect(codeOf(() => a.publish(subject, bytes('x')))).toBe('VALIDATION_ERROR BAD_SUBJECT')
    })

    test.each(['', 'a..b', 'a.>.b', '>.a', 'a*', 'a.b>', 'a b', 'a\nb', '**'])('refuses the pattern %j', (pattern) => {
      expect(codeOf(() => a.subscribe(pattern, () => undefined))).toBe('VALIDATION_ERROR BAD_SUBJECT')
    })

    test('refuses headers that would break the protocol or not survive it', () => {
      for (const headers of [{ 'x-a': 'b\r\nc' }, { 'x-a': ' b' }, { 'x a': 'b' }, { 'x-a:': 'b' }, { 'X-A': 'b' }]) {
        expect(codeOf(() => a.publish('h', bytes('x'), headers))).toBe('VALIDATION_ERROR BAD_HEADER')
      }
    })

    test('takes exactly max_payload bytes, headers counted, and not one more', async () => {
      const got = collect(b, 'big')
      await b.flush()
      const headers = { 'x-a': 'b' }
      const headerBytes = 'NATS/1.0\r\nx-a: b\r\n\r\n'.length
      expect(codeOf(() => a.publish('big', new Uint8Array(a.maxPayload + 1)))).toBe('LIMIT_EXCEEDED PAYLOAD_TOO_LARGE')
      expect(codeOf(() => a.publish('big', new Uint8Array(a.maxPayload - headerBytes + 1), headers))).toBe(
        'LIMIT_EXCEEDED PAYLOAD_TOO_LARGE',
      )
      a.publish('big', new Uint8Array(a.maxPayload))
      a.publish('big', new Uint8Array(a.maxPayload - headerBytes), headers)
      await got.next(2)
      expect(got.messages.map((message) => message.data.length)).toEqual([a.maxPayload, a.maxPayload - headerBytes])
    })

    test('a closed link gets nothing, sends nothing and says so', async () => {
      const states: string[] = []
      b.onState((state) => states.push(state))
      const got = collect(b, 'gone')
      await b.flush()
      await b.close()
      await b.close()
      expect(b.state).toBe('closed')
      expect(states).toEqual(['closed'])
      a.publish('gone', bytes('x'))
      await settled(a, a)
      expect(got.messages).toHaveLength(0)
      expect(codeOf(() => b.publish('gone', bytes('x')))).toBe('LINK_UNAVAILABLE')
      await expect(b.request('gone', bytes('x'), { timeoutMs: 50 })).rejects.toMatchObject({ code: 'LINK_UNAVAILABLE' })
      await expect(b.flush()).rejects.toMatchObject({ code: 'LINK_UNAVAILABLE' })
    })

    test.skipIf(skip.outage !== undefined)(
      `refuses while disconnected, tells the state, and keeps its subscriptions${skip.outage === undefined ? '' : ` (skipped: ${skip.outage})`}`,
      async () => {
        const states: string[] = []
        const stop = b.onState((state) => states.push(state))
        const got = collect(b, 'back')
        await b.flush()
        const end = await lab.outage!('b')
        expect(b.state).toBe('disconnected')
        expect(codeOf(() => b.publish('x', bytes('x')))).toBe('LINK_UNAVAILABLE')
        await expect(b.request('x', bytes('x'), { timeoutMs: 50 })).rejects.toMatchObject({ code: 'LINK_UNAVAILABLE' })
        await expect(b.flush()).rejects.toMatchObject({ code: 'LINK_UNAVAILABLE' })
        await end()
        expect(b.state).toBe('connected')
        await b.flush()
        if (a.state === 'connected') await a.flush()
        a.publish('back', bytes('after'))
        await got.next(1)
        expect(got.texts()).toEqual(['after'])
        expect(states).toEqual(['disconnected', 'connected'])
        stop()
        await (await lab.outage!('b'))()
        expect(states).toHaveLength(2)
      },
    )
  })
}
