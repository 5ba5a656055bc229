import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { toCallError, toOpenError } from '../../../src/postgres/failure.ts'

const answered = (code: string) =>
  Object.assign(new Error('as the server words it'), { code, severity: 'ERROR', detail: 'hush', query: 'hush' })

describe('a failed statement', () => {
  it.each([
    ['53100', 'DISK_FULL'],
    ['25006', 'READ_ONLY'],
    ['53300', 'TOO_MANY_CONNECTIONS'],
    ['57014', 'TOO_SLOW'],
    ['40001', 'SERIALIZATION'],
    ['40P01', 'SERIALIZATION'],
    ['42501', 'DENIED'],
    ['22021', 'BAD_DATA'],
    ['0A000', 'REFUSED'],
  ])('that the server answered with %s was certainly not stored: %s', (code, reason) => {
    expect(toCallError(answered(code), true)).toMatchObject({
      code: 'STORE_UNAVAILABLE',
      details: { reason, sqlstate: code },
    })
  })

  it.each(['57P01', '57P02', '08006', '40003'])('that ended with %s after it was sent may be stored', (code) => {
    expect(toCallError(answered(code), true).code).toBe('STORE_TIMEOUT')
    expect(toCallError(answered(code), false).code).toBe('STORE_UNAVAILABLE')
  })

  it('that got no answer may be stored once it was sent, and not before', () => {
    const timeOut = new Error('Query read timeout')
    expect(toCallError(timeOut, true)).toMatchObject({ code: 'STORE_TIMEOUT', details: { reason: 'NO_ANSWER' } })
    const lost = new Error('Connection terminated unexpectedly')
    expect(toCallError(lost, true)).toMatchObject({ code: 'STORE_TIMEOUT', details: { reason: 'CONNECTION_LOST' } })
    expect(toCallError(lost, false).code).toBe('STORE_UNAVAILABLE')
  })

  it('carries nothing of the driver but words', () => {
    const error = toCallError(answered('23505'), true)
    expect(inspect(error, { showHidden: true, depth: 10 })).not.toContain('hush')
    expect(String(error.cause)).toBe('PostgresError: SQLSTATE 23505: as the server words it')
  })
})

describe('a failed opening', () => {
  it.each([
    ['28P01', 'STORE_OPEN_FAILED', 'DENIED'],
    ['28000', 'STORE_OPEN_FAILED', 'DENIED'],
    ['3D000', 'STORE_OPEN_FAILED', 'NO_DATABASE'],
    ['42P01', 'STORE_OPEN_FAILED', 'SCHEMA_MISSING'],
    ['57P03', 'STORE_UNAVAILABLE', 'STARTING_UP'],
    ['53300', 'STORE_UNAVAILABLE', 'TOO_MANY_CONNECTIONS'],
  ])('with %s is %s, %s', (state, code, reason) => {
    expect(toOpenError(answered(state), 'h:1/x')).toMatchObject({ code, details: { reason, server: 'h:1/x' } })
  })

  it('for want of an answer is an outage, also when something was asked already', () => {
    expect(toOpenError(toCallError(new Error('Query read timeout'), true), 'h:1/x').code).toBe('STORE_UNAVAILABLE')
  })
})
