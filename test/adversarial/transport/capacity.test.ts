// Every count and rate of connections at its limit: the one too many gets an HTTP answer that says when to come back,
// before anything is upgraded; and what is given back can be had again.
import { afterEach, describe, expect, it } from 'vitest'
import { type ListenerProcess, startListener } from '../../support/listener-process.ts'
import { exchange } from '../../support/raw-http.ts'
import { type RawWebSocket, upgradeRequest } from '../../support/raw-websocket.ts'

let listener: ListenerProcess | undefined
afterEach(async () => {
  expect(await listener?.stop()).toBe(0)
})

const ask = (headers: Record<string, string> = {}): Promise<string> => {
  const { port } = listener!
  return exchange(port, upgradeRequest({ port, headers }))
}

interface Refused {
  readonly status: number
  readonly limit: string
  readonly retryAfter: number
}

function parse(answer: string): Refused {
  const { code, limit } = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n'))) as { code: string; limit: string }
  expect(code).toBe('CAPACITY')
  return { status: Number(answer.slice(9, 12)), limit, retryAfter: Number(/^retry-after: (\d+)$/im.exec(answer)?.[1]) }
}

describe('one connection too many', () => {
  it.each([
    ['of a subject', 'MAX_CONNECTIONS_PER_SUBJECT', 429, 'connections-per-subject', () => ({})],
    [
      'of a tenant',
      'MAX_CONNECTIONS_PER_TENANT',
      429,
      'connections-per-tenant',
      (n: number) => ({ 'x-subject': `s${n}` }),
    ],
    [
      'of an address',
      'MAX_CONNECTIONS_PER_ADDRESS',
      429,
      'connections-per-address',
      (n: number) => ({ 'x-tenant': `t${n}` }),
    ],
  ])('%s is refused, and had again when one is closed', async (_whose, name, status, limit, headers) => {
    listener = await startListener({ [`ARQONBUS_LIMIT_${name}`]: '3' })
    await fillAndRefuse(headers, { status, limit, retryAfter: 5 })
  })

  it('of the process is refused with 503', async () => {
    listener = await startListener({ ARQONBUS_MAX_CONNECTIONS: '3' })
    await fillAndRefuse((n) => ({ 'x-tenant': `t${n}` }), { status: 503, limit: 'connections', retryAfter: 5 })
  })
})

async function fillAndRefuse(headers: (n: number) => Record<string, string>, expected: Refused): Promise<void> {
  const open: RawWebSocket[] = []
  for (let n = 0; n < 3; n++) open.push(await listener!.open({ headers: headers(n) }))
  for (let n = 3; n < 6; n++) expect(parse(await ask(headers(n)))).toEqual(expected)
  open[0]!.destroy()
  await listener!.untilTold({ closed: 1006 })
  const again = await listener!.open({ headers: headers(9) })
  await again.until(/^welcome$/)
  for (const raw of [...open, again]) raw.destroy()
}

describe('handshakes faster than allowed', () => {
  it('from one address are refused with 429, before authentication', async () => {
    listener = await startListener({ ARQONBUS_LIMIT_HANDSHAKES_PER_SECOND_PER_ADDRESS: '1' })
    for (let i = 0; i < 2; i++) expect(await ask({ 'x-test': 'refuse' })).toMatch(/^HTTP\/1\.1 401 /)
    expect(parse(await ask({ 'x-test': 'refuse' }))).toEqual({
      status: 429,
      limit: 'handshakes-per-address',
      retryAfter: 1,
    })
  })

  it('counts plain requests, which cost a token check as well', async () => {
    listener = await startListener({ ARQONBUS_LIMIT_HANDSHAKES_PER_SECOND_PER_ADDRESS: '1' })
    const get = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    const answers = [
      await exchange(listener.port, get),
      await exchange(listener.port, get),
      await exchange(listener.port, get),
    ]
    expect(answers.map((answer) => answer.slice(9, 12))).toEqual(['426', '426', '429'])
  })

  it('of all addresses together are refused with 503', async () => {
    listener = await startListener({ ARQONBUS_LIMIT_HANDSHAKES_PER_SECOND: '1' })
    for (let i = 0; i < 2; i++) await ask({ 'x-test': 'refuse' })
    expect(parse(await ask())).toEqual({ status: 503, limit: 'handshakes', retryAfter: 1 })
  })

  it('and too many under way at once are refused with 503', async () => {
    listener = await startListener({ ARQONBUS_LIMIT_MAX_HALF_OPEN: '2', ARQONBUS_LIMIT_HANDSHAKE_TIMEOUT_MS: '5000' })
    const slow = [ask({ 'x-test': 'slow', 'x-subject': 'unlucky' }), ask({ 'x-test': 'slow', 'x-subject': 'unlucky' })]
    await expect.poll(() => listener!.told.filter((one) => one['authenticating'] === true).length).toBe(2)
    expect(parse(await ask())).toEqual({ status: 503, limit: 'half-open', retryAfter: 1 })
    await Promise.all(slow)
    await listener.expectServing()
  })
})
