import { describe, expect, it } from 'vitest'
import { BusError, type ErrorCode, type ErrorSpec, errorTable, invalid, isBusError } from '../../../src/base/errors.ts'

const entries: readonly [string, ErrorSpec][] = Object.entries(errorTable)

describe('the table of errors', () => {
  it.each(entries)('%s has a name and a text that are fit for the wire', (code, spec) => {
    expect(code).toMatch(/^[A-Z][A-Z_]*[A-Z]$/)
    expect(spec.text).toMatch(/^[A-Z].*[^.]$/)
  })

  it('has no text twice, so that each says what only it means', () => {
    const texts = entries.map(([, spec]) => spec.text)
    expect(new Set(texts).size).toBe(texts.length)
  })

  it('names a time to wait exactly where the same request may be sent again', () => {
    for (const [code, spec] of entries) expect([code, spec.retryAfterMs !== undefined]).toEqual([code, spec.retry])
  })

  it('calls an outcome unknown only where somebody else than the client failed', () => {
    const unknown = entries.filter(([, spec]) => spec.outcome === 'unknown')
    expect(unknown.map(([code]) => code)).toEqual(expect.arrayContaining(['STORE_TIMEOUT', 'LINK_TIMEOUT']))
    expect(unknown.filter(([, spec]) => spec.fault === 'client')).toEqual([])
  })

  it('keeps the codes that existing clients know', () => {
    const known: readonly ErrorCode[] = [
      'VALIDATION_ERROR',
      'INTERNAL_ERROR',
      'INFRA_PROTOCOL_ERROR',
      'AUTHORIZATION_ERROR',
      'FEATURE_DISABLED',
      'EXECUTION_ERROR',
      'NOT_FOUND',
    ]
    expect(Object.keys(errorTable)).toEqual(expect.arrayContaining([...known]))
  })
})

describe('BusError', () => {
  it('takes its text from the table, and keeps its cause out of it', () => {
    const cause = new Error('secret')
    const error = new BusError('STORE_UNAVAILABLE', undefined, { attempts: 3 }, cause)
    expect(error.message).toBe(errorTable.STORE_UNAVAILABLE.text)
    expect(error).toMatchObject({ name: 'BusError', code: 'STORE_UNAVAILABLE', details: { attempts: 3 }, cause })
    expect('cause' in new BusError('NOT_FOUND')).toBe(false)
  })

  it('is told from other errors, by its code if asked', () => {
    expect(isBusError(new BusError('NOT_FOUND'))).toBe(true)
    expect(isBusError(new BusError('NOT_FOUND'), 'NOT_FOUND')).toBe(true)
    expect(isBusError(new BusError('NOT_FOUND'), 'NOT_JOINED')).toBe(false)
    expect(isBusError(Object.assign(new Error('no'), { code: 'NOT_FOUND' }), 'NOT_FOUND')).toBe(false)
  })

  it('is short for a frame that is not as it has to be', () => {
    expect(invalid('TOO_DEEP', 'nested deeper than 32 levels', { max: 32 })).toMatchObject({
      code: 'VALIDATION_ERROR',
      message: 'nested deeper than 32 levels',
      details: { reason: 'TOO_DEEP', max: 32 },
    })
  })
})
