import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { parsePostgresAddress } from '../../../src/postgres/address.ts'

const reveal = (text: string) => parsePostgresAddress(text).reveal()

describe('an address of Postgres', () => {
  it('is taken apart, escapes decoded, with the usual defaults', () => {
    expect(reveal('postgresql://me:p%40ss%2Fw@db.example:6543/my%20db')).toEqual({
      host: 'db.example',
      port: 6543,
      user: 'me',
      password: 'p@ss/w',
      database: 'my db',
      tls: false,
    })
    expect(reveal('postgres://me@localhost')).toMatchObject({ port: 5432, database: 'me', password: '' })
    expect(reveal('postgres://me@[::1]:5433/x')).toMatchObject({ host: '::1', port: 5433 })
    expect(reveal('postgresql:///x?host=%2Frun%2Fpg&user=me')).toMatchObject({ host: '/run/pg', database: 'x' })
  })

  it.each([
    ['', false],
    ['?sslmode=disable', false],
    ['?sslmode=prefer', false],
    ['?ssl=false', false],
    ['?sslmode=require', { rejectUnauthorized: false }],
    ['?ssl=require', { rejectUnauthorized: false }],
    ['?ssl=true', { rejectUnauthorized: false }],
    ['?sslmode=verify-ca', { rejectUnauthorized: true, checkServerIdentity: expect.any(Function) }],
    ['?sslmode=verify-full', { rejectUnauthorized: true }],
  ])('reads %s as libpq does', (query, tls) => {
    expect(reveal(`postgresql://me@h/x${query}`).tls).toEqual(tls)
  })

  it.each([
    'mysql://me:hush@h/x',
    'postgresql://me:hush@h1,h2/x',
    'postgresql://me:hush@h1:1,h2:2/x',
    'postgresql://h/x?password=hush',
    'postgresql://me:hush%zz@h/x',
    'postgresql://me:hush@h/x?sslmode=sometimes',
    'postgresql://me:hush@h/x?sslmode=verify-full&sslrootcert=/not/there',
    'hush',
  ])('is refused without being repeated: %s', (text) => {
    let error: unknown
    try {
      parsePostgresAddress(text)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', details: { reason: 'BAD_ADDRESS' } })
    expect(inspect(error, { showHidden: true, depth: 10 })).not.toMatch(/(?<!\w)hush/)
  })

  it('cannot be printed with its password', () => {
    const address = parsePostgresAddress('postgresql://me:hush@h:1/x')
    expect(address.shown).toBe('h:1/x')
    expect(inspect(address, { showHidden: true, depth: 10 }) + JSON.stringify(address)).not.toContain('hush')
  })
})
