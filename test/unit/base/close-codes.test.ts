import { describe, expect, it } from 'vitest'
import { type CloseSpec, closeTable, nextAfterClose } from '../../../src/base/close-codes.ts'

const entries: readonly [string, CloseSpec][] = Object.entries(closeTable)

describe('close codes', () => {
  it('are unique', () => {
    const codes = entries.map(([, { code }]) => code)
    expect(new Set(codes).size).toBe(codes.length)
  })

  it.each(entries)('%s may be sent, and its reason fits into a close frame', (_, { code, text }) => {
    const isOfProtocol = [1000, 1001, 1002, 1007, 1008, 1009, 1011, 1012, 1013].includes(code)
    expect(isOfProtocol || (code >= 4000 && code <= 4999)).toBe(true)
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(123) // RFC 6455 5.5.1
  })

  it.each(entries.filter(([, { code }]) => code >= 4000))('%s means what its range says', (_, { code, next }) => {
    expect(next).toBe(code >= 4500 ? 'stay-away' : code >= 4400 ? 'new-token' : 'reconnect')
  })

  it.each(entries)('%s tells a client what to do next', (_, { code, next }) => {
    expect(nextAfterClose(code)).toBe(next)
  })

  it.each([
    [1006, 'reconnect'],
    [4000, 'reconnect'],
    [4499, 'new-token'],
    [4999, 'stay-away'],
  ])('%i of another server means: %s', (code, next) => {
    expect(nextAfterClose(code)).toBe(next)
  })
})
