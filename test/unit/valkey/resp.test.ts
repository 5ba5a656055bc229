import { describe, expect, it } from 'vitest'
import { encodeCommand, ErrorReply, NotRespError, parseReply } from '../../../src/valkey/resp.ts'

const parse = (text: string): unknown => parseReply(Buffer.from(text))?.reply

describe('commands', () => {
  it('are lengths in bytes, not in letters', () => {
    expect(encodeCommand(['SET', 'ключ', '']).toString()).toBe('*3\r\n$3\r\nSET\r\n$8\r\nключ\r\n$0\r\n\r\n')
  })
})

describe('replies', () => {
  it.each([
    ['a status', '+OK\r\n', 'OK'],
    ['a number', ':-42\r\n', -42],
    ['a double', ',1.5e3\r\n', 1_500],
    ['a text', '$5\r\nhello\r\n', 'hello'],
    ['a text with line ends in it', '$4\r\na\r\nb\r\n', 'a\r\nb'],
    ['an empty text', '$0\r\n\r\n', ''],
    ['nothing, in the old form', '$-1\r\n', null],
    ['nothing', '_\r\n', null],
    ['true', '#t\r\n', true],
    ['false', '#f\r\n', false],
    ['a verbatim text', '=9\r\ntxt:hello\r\n', 'hello'],
    ['a list', '*2\r\n:1\r\n*1\r\n+a\r\n', [1, ['a']]],
    ['a set', '~1\r\n+a\r\n', ['a']],
    ['a map, flat', '%1\r\n+a\r\n:1\r\n', ['a', 1]],
  ])('%s', (_name, text, reply) => {
    expect(parse(text)).toEqual(reply)
  })

  it('keep a refusal as it is, with its first word', () => {
    const reply = parse("-NOPERM this user has no permissions to run the 'set' command\r\n") as ErrorReply
    expect(reply).toBeInstanceOf(ErrorReply)
    expect(reply.word).toBe('NOPERM')
    expect((parse('!11\r\nOOM no room\r\n') as ErrorReply).word).toBe('OOM')
    expect(new ErrorReply('unknown').word).toBe('ERR')
  })

  it('wait for their last byte, however they are cut', () => {
    const whole = Buffer.from('*2\r\n$5\r\nhello\r\n%1\r\n+a\r\n:1\r\n')
    for (let cut = 0; cut < whole.length; cut++) expect(parseReply(whole.subarray(0, cut))).toBeUndefined()
    expect(parseReply(whole)).toMatchObject({ end: whole.length, isPush: false })
  })

  it('end where the next begins, and tell a push from an answer', () => {
    const bytes = Buffer.from('>1\r\n+news\r\n+PONG\r\n')
    const push = parseReply(bytes)!
    expect(push).toEqual({ reply: ['news'], isPush: true, end: 11 })
    expect(parseReply(bytes, push.end)).toEqual({ reply: 'PONG', isPush: false, end: bytes.length })
  })

  it.each([
    ['HTTP', 'HTTP/1.1 400 Bad Request\r\n'],
    ['SSH', 'SSH-2.0-x\r\n'],
    ['TLS', '\u0015\u0003\u0001'],
    ['a length that is no number', '$5x\r\nhello\r\n'],
    ['a length beyond reason', '$999999999\r\n'],
    ['a number that is none', ':one\r\n'],
    ['a list in a list without end', '*1\r\n'.repeat(40)],
    ['a line without end', `+${'x'.repeat(70_000)}`],
  ])('%s is none', (_name, text) => {
    expect(() => parse(text)).toThrow(NotRespError)
  })

  it('of somebody else are shown without what cannot be printed', () => {
    expect(new NotRespError(Buffer.from('HTTP/1.1\r\n\u0000')).shown).toBe('HTTP/1.1...')
  })
})
