// The host as a module sees it: every function, every pointer, and what a call leaves behind.
import { describe, expect, it } from 'vitest'
import { cleanText } from '../../../src/policy/instance.ts'
import { inputOf, openInstance } from '../../support/policy-lab.ts'

const text = (at: number, value: string): string => `(data (i32.const ${at}) "${value}")`
const badPointer = { kind: 'failure', failure: 'BAD_POINTER', isBroken: true }

describe('an answer', () => {
  it.each([
    [0, 'allow'],
    [1, 'deny'],
    [2, 'deny'],
    [-1, 'deny'],
    [-2_147_483_648, 'deny'],
  ])('of %i means %s', async (answer, kind) => {
    expect((await openInstance(`(i32.const ${answer})`)).call(inputOf('x')).kind).toBe(kind)
  })

  it('is given the frame at 0 and its length', async () => {
    const sums = `(i32.ne (i32.add (local.get $len) (i32.load8_u (local.get $at))) (i32.const ${5 + 'h'.charCodeAt(0)}))`
    expect((await openInstance(sums)).call(inputOf('hello'))).toEqual({ kind: 'allow' })
  })

  it('is an error where the frame does not fit in the memory', async () => {
    const instance = await openInstance('(i32.const 0)')
    expect(instance.call(inputOf(new Uint8Array(65_536)))).toEqual({ kind: 'allow' })
    expect(instance.call(inputOf(new Uint8Array(65_537)))).toEqual({
      kind: 'failure',
      failure: 'FRAME_TOO_LARGE',
      isBroken: false,
    })
  })
})

describe('every pointer of the module', () => {
  const calls = (pointer: string, length: string): [string, string][] => [
    ['host_log', `(call $host_log (i32.const 2) ${pointer} ${length})`],
    ['host_reject', `(call $host_reject (i32.const 1) ${pointer} ${length})`],
    ['host_get_header name', `(call $host_get_header ${pointer} ${length} (i32.const 0))`],
    ['host_get_claim name', `(call $host_get_claim ${pointer} ${length} (i32.const 0) (i32.const 9))`],
    ['host_add_header name', `(call $host_add_header ${pointer} ${length} (i32.const 0) (i32.const 1))`],
    ['host_add_header value', `(call $host_add_header (i32.const 0) (i32.const 1) ${pointer} ${length})`],
  ]
  const bad: [number, number][] = [
    [65_536, 1],
    [65_535, 2],
    [-1, 1],
    [-1, 2],
    [0, -1],
    [1, -1],
    [-2_147_483_648, -2_147_483_648],
  ]
  for (const [pointer, length] of bad) {
    it.each(calls(`(i32.const ${pointer})`, `(i32.const ${length})`))(
      `%s is refused at ${pointer}, ${length}`,
      async (_n, call) => {
        expect((await openInstance(call)).call(inputOf('x'))).toEqual(badPointer)
      },
    )
  }

  it('to be written to is bounded by what is written', async () => {
    const header = text(1_000, 'origin')
    const at = (out: number) =>
      openInstance(`(i32.ne (call $host_get_header (i32.const 1000) (i32.const 6) (i32.const ${out})) (i32.const 4))`, {
        more: header,
      })
    const input = inputOf('x', { headers: { origin: 'abcd' } })
    expect((await at(65_532)).call(input)).toEqual({ kind: 'allow' })
    expect((await at(65_533)).call(input)).toEqual(badPointer)
    expect((await at(-1)).call(input)).toEqual(badPointer)
    const payload = (out: number) =>
      openInstance(`(i32.ne (call $host_get_payload (i32.const ${out}) (i32.const -1)) (i32.const 3))`)
    const frame = inputOf('hello')
    const withPayload = { ...frame, payload: frame.frame.subarray(1, 4) }
    expect((await payload(65_533)).call(withPayload)).toEqual({ kind: 'allow' })
    expect((await payload(65_534)).call(withPayload)).toEqual(badPointer)
  })
})

describe('host_get_header', () => {
  const lookUp = (name: string) =>
    openInstance(`(call $host_get_header (i32.const 1000) (i32.const ${name.length}) (i32.const 2000))`, {
      more: text(1_000, name),
    })
  it('gives the value, -1 where there is none, -2 where it is too long', async () => {
    const given = inputOf('x', { headers: { origin: '', long: 'x'.repeat(1_025) } })
    const answered = async (name: string, answer: number) => {
      const instance = await openInstance(
        `(i32.ne (call $host_get_header (i32.const 1000) (i32.const ${name.length}) (i32.const 2000)) (i32.const ${answer}))`,
        { more: text(1_000, name) },
      )
      expect([name, instance.call(given)]).toEqual([name, { kind: 'allow' }])
    }
    await answered('origin', 0)
    await answered('ORIGIN', 0)
    await answered('none', -1)
    await answered('long', -2)
    await answered('constructor', -1)
    await answered('__proto__', -1)
    expect((await lookUp('origin')).call(inputOf('x'))).toEqual({ kind: 'deny' })
  })
})

describe('host_get_claim', () => {
  it('gives the value where there is room, and its length anyway', async () => {
    const body = `
      (if (i32.ne (call $host_get_claim (i32.const 1000) (i32.const 3) (i32.const 2000) (i32.const 2)) (i32.const 5)) (then (return (i32.const 1))))
      (if (i32.ne (i32.load8_u (i32.const 2000)) (i32.const 0)) (then (return (i32.const 2))))
      (if (i32.ne (call $host_get_claim (i32.const 1000) (i32.const 3) (i32.const 2000) (i32.const 5)) (i32.const 5)) (then (return (i32.const 3))))
      (i32.ne (i32.load8_u (i32.const 2004)) (i32.const ${'e'.charCodeAt(0)}))`
    const instance = await openInstance(body, { more: text(1_000, 'sub') })
    const claim = (name: string) => (name === 'sub' ? 'alice' : undefined)
    expect(instance.call(inputOf('x', { claim }))).toEqual({ kind: 'allow' })
  })
})

describe('host_add_header', () => {
  const add = (name: string, value: string, times = 1) => {
    const one = `(drop (call $host_add_header (i32.const 1000) (i32.const ${name.length}) (i32.const 2000) (i32.const ${value.length})))`
    return openInstance(`${one.repeat(times)} (i32.const 0)`, { more: text(1_000, name) + text(2_000, value) })
  }
  it('adds what is of its own prefix', async () => {
    expect((await add('X-Policy-Class', 'gold', 3)).call(inputOf('x'))).toEqual({
      kind: 'allow',
      headers: { 'x-policy-class': 'gold' },
    })
  })
  it.each([
    ['x-arqon-role', 'admin'],
    ['x-policy-', 'empty'],
    ['x-policy-a b', 'space'],
    ['x-policy-a', 'line\\0d\\0abreak'],
    ['authorization', 'Bearer x'],
  ])('refuses %s', async (name, value) => {
    const given = value.replaceAll(/\\[0-9a-f]{2}/g, '.')
    const call = `(call $host_add_header (i32.const 1000) (i32.const ${name.length}) (i32.const 2000) (i32.const ${given.length}))`
    const instance = await openInstance(`(i32.ne ${call} (i32.const -1))`, {
      more: text(1_000, name) + text(2_000, value),
    })
    expect(instance.call(inputOf('x'))).toEqual({ kind: 'allow' })
  })
  it('leaves nothing for the next frame', async () => {
    const instance = await openInstance(
      `(if (i32.eq (local.get $len) (i32.const 1))
         (then (drop (call $host_add_header (i32.const 1000) (i32.const 10) (i32.const 2000) (i32.const 1)))))
       (i32.const 0)`,
      { more: text(1_000, 'x-policy-a') + text(2_000, '1') },
    )
    expect(instance.call(inputOf('x'))).toMatchObject({ headers: { 'x-policy-a': '1' } })
    expect(instance.call(inputOf('xx'))).toEqual({ kind: 'allow' })
  })
})

describe('host_reject and host_log', () => {
  it('say what the module says, bounded and clean', async () => {
    const said = 'no\\1b[31m red\\0d\\0a\\e2\\80\\ae, \\ff please'
    const bytes = 27
    const reject = await openInstance(`(call $host_reject (i32.const 7) (i32.const 1000) (i32.const ${bytes}))`, {
      more: text(1_000, said),
    })
    const outcome = reject.call(inputOf('x'))
    expect(outcome).toMatchObject({ kind: 'deny', isBroken: true })
    expect((outcome as { reason: string }).reason).toMatch(/^no \[31m red , \ufffd please$/)
    const long = await openInstance('(call $host_reject (i32.const 7) (i32.const 0) (i32.const 60000))')
    expect((long.call(inputOf('a'.repeat(60_000))) as { reason: string }).reason).toBe('a'.repeat(256))
    const silent = await openInstance('(call $host_reject (i32.const -7) (i32.const 0) (i32.const 0))')
    expect(silent.call(inputOf('x'))).toMatchObject({ reason: 'code -7' })
  })

  it('of lines, four a call and 512 bytes each', async () => {
    const line = '(drop (call $host_log (i32.const 1) (i32.const 0) (local.get $len)))'
    const instance = await openInstance(`${line.repeat(9)} (i32.const 0)`)
    instance.call(inputOf('b'.repeat(5_000)))
    expect(instance.lines).toHaveLength(4)
    expect(instance.lines[0]).toEqual({ level: 1, text: 'b'.repeat(512) })
    instance.call(inputOf('b'))
    expect(instance.lines).toHaveLength(8)
  })

  it('clean whatever would steer a terminal', () => {
    expect(cleanText('a\u0000\u001b\u009b\u2028\u202e\u200bb')).toBe('a b')
  })
})

describe('a module that catches what the host throws', () => {
  const caught = (call: string) =>
    openInstance(`(try (do (drop ${call})) (catch_all)) (i32.const 0)`, {}, { exceptions: true })
  it('does not get away with it', async () => {
    const reject = await caught('(call $host_reject (i32.const 1) (i32.const 0) (i32.const 1))')
    expect(reject.call(inputOf('x'))).toEqual({ kind: 'deny', reason: 'x', isBroken: true })
    const pointer = await caught('(call $host_log (i32.const 1) (i32.const -1) (i32.const 2))')
    expect(pointer.call(inputOf('x'))).toEqual(badPointer)
    const fine = await caught('(call $host_log (i32.const 1) (i32.const 0) (i32.const 1))')
    expect(fine.call(inputOf('x'))).toEqual({ kind: 'allow' })
  })
})

describe('what a call leaves', () => {
  const peek = '(if (i32.eq (local.get $len) (i32.const 1)) (then (return (i32.load8_u (i32.const 2))))) (i32.const 0)'
  it('is none of the frame’s bytes', async () => {
    const instance = await openInstance(peek)
    expect(instance.call(inputOf('secret'))).toEqual({ kind: 'allow' })
    expect(instance.call(inputOf('x'))).toEqual({ kind: 'allow' }) // the byte at 2 is 0 again
  })

  it('is the module’s own data where it stood, also after memory has grown', async () => {
    const more = text(0, 'ABCDEF')
    const body = `(drop (memory.grow (i32.const 1)))
      (if (i32.eq (local.get $len) (i32.const 1)) (then (return (i32.ne (i32.load8_u (i32.const 2)) (i32.const 67)))))
      (i32.const 0)`
    const instance = await openInstance(body, { more })
    instance.call(inputOf('secret'))
    expect(instance.call(inputOf('x'))).toEqual({ kind: 'allow' })
  })
})
