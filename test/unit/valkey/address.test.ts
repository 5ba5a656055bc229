import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { parseValkeyUrl } from '../../../src/valkey/address.ts'

describe('a Valkey address', () => {
  it.each([
    ['redis://127.0.0.1', { host: '127.0.0.1', port: 6379, isTls: false, database: 0 }],
    ['redis://h:7/', { host: 'h', port: 7, isTls: false, database: 0 }],
    ['rediss://h:7/3', { host: 'h', port: 7, isTls: true, database: 3 }],
    ['valkey://h', { host: 'h', port: 6379, isTls: false, database: 0 }],
    ['VALKEYS://[::1]:6380/12', { host: '::1', port: 6380, isTls: true, database: 12, shown: '[::1]:6380' }],
    ['redis://:p%40ss%3A%2F@h', { host: 'h', password: 'p@ss:/' }],
    [
      'redis://alice:secret@h:1/2',
      { user: 'alice', password: 'secret', host: 'h', port: 1, database: 2, shown: 'h:1' },
    ],
    ['redis://alice@h', { user: 'alice', host: 'h' }],
    ['redis://:a@b@h', { password: 'a@b', host: 'h' }],
    ['unix:///run/valkey.sock', { path: '/run/valkey.sock', isTls: false, database: 0, shown: '/run/valkey.sock' }],
    ['unix://:pw@/run/v.sock?db=4', { path: '/run/v.sock', password: 'pw', database: 4 }],
  ])('%s', (url, expected) => {
    expect(parseValkeyUrl(url)).toMatchObject(expected)
  })

  it.each([
    'hunter2',
    'http://hunter2@h',
    'redis://hunter2@',
    'redis://:hunter2@h:0',
    'redis://:hunter2@h:70000',
    'redis://:hunter2@h/x',
    'redis://:hunter2@h/1?db=2',
    'redis://:hunter2@h?ssl=true',
    'redis://:hunter2%@h',
    'redis://:hunter2@h h',
    'unix://hunter2@host/path',
    'unix://hunter2@',
  ])('refuses %s without showing it', (url) => {
    let thrown: unknown
    try {
      parseValkeyUrl(url)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ code: 'STORE_OPEN_FAILED', details: { reason: 'BAD_URL' } })
    const shown = inspect(thrown, { depth: 9, showHidden: true })
    expect(shown.split('\n    at ')[0]).not.toContain('hunter2')
  })
})
