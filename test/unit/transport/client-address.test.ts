import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { clientAddress } from '../../../src/transport/client-address.ts'

const request = (forwarded?: string): IncomingMessage =>
  ({
    headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded },
    socket: { remoteAddress: '10.0.0.1' },
  }) as unknown as IncomingMessage // the two parts that are read

describe('the address of a client', () => {
  it.each([
    ['without proxies: the socket, whatever it writes', 0, '1.2.3.4', '10.0.0.1'],
    ['behind one: what that one saw', 1, '1.2.3.4', '1.2.3.4'],
    ['behind one: not what the client wrote before', 1, '6.6.6.6, 1.2.3.4', '1.2.3.4'],
    ['behind two: what the outer one saw', 2, '6.6.6.6, 1.2.3.4, 10.0.0.2', '1.2.3.4'],
    ['behind two, when the header has one part only: the socket', 2, '1.2.3.4', '10.0.0.1'],
    ['without a header: the socket', 1, undefined, '10.0.0.1'],
    ['with an empty one: the socket', 1, '', '10.0.0.1'],
    ['with what is no address: the socket', 1, 'unknown', '10.0.0.1'],
    ['with a name: the socket', 1, 'localhost', '10.0.0.1'],
    ['with a port', 1, '1.2.3.4:5678', '1.2.3.4'],
    ['of IPv6', 1, '2001:db8::7', '2001:db8::7'],
    ['of IPv6 with a port', 1, '[2001:db8::7]:443', '2001:db8::7'],
    ['with a number too large: the socket', 1, '1.2.3.400', '10.0.0.1'],
    ['with spaces around', 1, '6.6.6.6,  1.2.3.4 ', '1.2.3.4'],
    ['with a last part that is empty: the socket', 1, '1.2.3.4,', '10.0.0.1'],
  ])('%s', (_title, hops, forwarded, expected) => {
    expect(clientAddress(request(forwarded), hops)).toBe(expected)
  })
})
