// The two tables that are a contract: error codes and close codes.
import { describe, expect, it } from 'vitest'
import { closeTable, nextAfterClose } from '../../../src/base/close-codes.ts'
import { BusError, type ErrorCode, type ErrorSpec, errorTable, invalid, isBusError } from '../../../src/base/errors.ts'

const errors = Object.entries(errorTable) as [ErrorCode, ErrorSpec][]

describe('errorTable', () => {
  it.each(errors)('%s says what to do', (code, spec) => {
    expect(code).toMatch(/^[A-Z]+(_[A-Z]+)*$/)
    expect(spec.text).toMatch(/^[A-Z].*[^.\s]$/)
    // When to come back is said exactly where coming back helps.
    expect(spec.retryAfterMs !== undefined).toBe(spec.retry)
    expect(spec.retryAfterMs ?? 0).toBeGreaterThanOrEqual(0)
    // What a client or an operator got wrong was not stored.
    if (spec.fault === 'client' || spec.fault === 'operator') expect(spec.outcome).toBe('not_stored')
    if (spec.fault === 'dependency') expect(spec.retry).toBe(true)
  })

  it('has the codes real clients know (original-contract 3.5)', () => {
    const known = [
      'VALIDATION_ERROR',
      'INTERNAL_ERROR',
      'INFRA_PROTOCOL_ERROR',
      'AUTHORIZATION_ERROR',
      'FEATURE_DISABLED',
      'EXECUTION_ERROR',
      'NOT_FOUND',
      'AUTHENTICATION_FAILED',
      'RATE_LIMIT_EXCEEDED',
      'TARGET_NOT_FOUND',
      'COMMAND_NOT_FOUND',
    ]
    expect(Object.keys(errorTable)).toEqual(expect.arrayContaining(known))
  })

  it('leaves the outcome open only where nobody knows it', () => {
    const open = errors.filter(([, spec]) => spec.outcome === 'unknown').map(([code]) => code)
    expect(open.sort()).toEqual(['INTERNAL_ERROR', 'LINK_TIMEOUT', 'STORE_TIMEOUT'])
  })
})

describe('BusError', () => {
  it('has its code’s text unless another is given', () => {
    expect(new BusError('NOT_FOUND')).toMatchObject({ name: 'BusError', message: 'Not found', details: {} })
    expect(new BusError('NOT_FOUND', 'No such job', { job: 'x' })).toMatchObject({
      code: 'NOT_FOUND',
      message: 'No such job',
      details: { job: 'x' },
    })
  })

  it('has a cause only when given one', () => {
    expect('cause' in new BusError('NOT_FOUND')).toBe(false)
    expect(new BusError('NOT_FOUND', undefined, {}, 'why').cause).toBe('why')
  })

  it('is recognised, by code where one is asked for', () => {
    const error = invalid('TOO_DEEP', 'nested too deep', { max: 32 })
    expect(error).toMatchObject({ code: 'VALIDATION_ERROR', details: { reason: 'TOO_DEEP', max: 32 } })
    expect(isBusError(error)).toBe(true)
    expect(isBusError(error, 'VALIDATION_ERROR')).toBe(true)
    expect(isBusError(error, 'NOT_FOUND')).toBe(false)
    expect(isBusError(new Error('VALIDATION_ERROR'))).toBe(false)
    expect(isBusError(undefined)).toBe(false)
  })
})

const closes = Object.entries(closeTable)

describe('closeTable', () => {
  it('uses each code once', () => {
    expect(new Set(closes.map(([, { code }]) => code)).size).toBe(closes.length)
  })

  it.each(closes)('%s tells by its range what to do next', (_, { code, next, text }) => {
    if (code >= 4000) expect(next).toBe(code >= 4500 ? 'stay-away' : code >= 4400 ? 'new-token' : 'reconnect')
    else expect(code >= 1000 && code <= 1015 && ![1004, 1005, 1006, 1015].includes(code)).toBe(true)
    expect(nextAfterClose(code)).toBe(next)
    // RFC 6455 5.5: the reason has 123 bytes.
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(123)
  })

  it.each([
    [1006, 'reconnect'],
    [1005, 'reconnect'],
    [3000, 'reconnect'],
    [4000, 'reconnect'],
    [4399, 'reconnect'],
    [4400, 'new-token'],
    [4499, 'new-token'],
    [4500, 'stay-away'],
    [4999, 'stay-away'],
  ])('also for codes of other servers: %i', (code, next) => {
    expect(nextAfterClose(code)).toBe(next)
  })
})
