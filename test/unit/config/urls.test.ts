// Addresses with lists of hosts, taken apart and shown without what they hide.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isLoopbackHost, parseServerList, parseServiceUrl, redactUrl } from '../../../src/config/urls.ts'

describe('an address', () => {
  it.each([
    ['redis://cache', { scheme: 'redis', hosts: [{ host: 'cache' }], path: '' }],
    [
      'REDISS://:p%40ss@[::1]:6379/0',
      { scheme: 'rediss', password: 'p@ss', hosts: [{ host: '[::1]', port: 6379 }], path: '/0' },
    ],
    [
      'postgres://u@a:1,b:2/db?x=y',
      {
        scheme: 'postgres',
        user: 'u',
        hosts: [
          { host: 'a', port: 1 },
          { host: 'b', port: 2 },
        ],
        path: '/db',
      },
    ],
    ['unix:///run/valkey.sock', { scheme: 'unix', hosts: [], path: '/run/valkey.sock' }],
  ])('is understood: %s', (text, parts) => {
    expect(parseServiceUrl(text)).toEqual(parts)
  })

  it.each([
    'cache:6379',
    'redis://',
    'redis://h:0',
    'redis://h:65536',
    'redis://h:port',
    'redis://a b',
    'redis://u:p/w@h',
    'redis://u:%zz@h',
    'redis://h,/0',
    '',
  ])('is refused: %j', (text) => {
    expect(parseServiceUrl(text)).toBeUndefined()
  })

  it('is shown without user, password, path and query, whatever they are', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 6, maxLength: 20 }), (password) => {
        const secret = `Q${password}Q`
        for (const text of [
          `redis://u:${secret}@h:1/p?k=${secret}`,
          `nats://${secret}@h,tls://u:${secret}@i`,
          secret,
        ]) {
          expect(redactUrl(text)).not.toContain(secret)
        }
      }),
    )
  })

  it('may be a list of servers, each with a scheme of its own', () => {
    expect(parseServerList('tls://a:1,b:2')?.map(({ scheme }) => scheme)).toEqual(['tls', 'nats'])
    expect(parseServerList('tls://a,')).toBeUndefined()
  })

  it('knows this machine by its names', () => {
    expect(['localhost', 'LOCALHOST', '127.9.9.9', '[::1]', 'a.localhost'].every(isLoopbackHost)).toBe(true)
    expect(['localhost.example.com', '128.0.0.1', '10.0.0.1'].some(isLoopbackHost)).toBe(false)
  })
})
