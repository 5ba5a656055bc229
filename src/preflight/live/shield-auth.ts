// Who gets through Shield's door: nobody without a token, nobody with a bad one, and the bearer of a good one.
import { isJsonObject } from '../../base/json.ts'
import type { Finding } from '../../rules/rule.ts'
import type { CheckPorts, CheckResult } from '../check.ts'
import { type UpgradeReply, upgrade } from './http.ts'
import { judged, ProbeFailure } from './probe-failure.ts'
import { badTokens, probeTenant, shieldToken } from './probe-tokens.ts'
import { openWireSession } from './wire-session.ts'

const fix = 'stop Shield: it lets in who should not be; then look at JWT_SECRET and JWT_SKIP_VALIDATION'

/** Shield answers one path only; an address without one means that path. */
export function shieldUrl({ targets }: CheckPorts): URL {
  const url = new URL(targets.shield!)
  if (url.pathname === '/') url.pathname = '/ws'
  return url
}

export function checkMissingToken(ports: CheckPorts, signal: AbortSignal): Promise<CheckResult> {
  return judged(async () => {
    const reply = await upgrade(shieldUrl(ports), {}, signal)
    const fault = faultOf('no-token', reply) ?? bodyFault(reply)
    return fault === undefined
      ? { status: 'pass', observed: '401 before any 101' }
      : { status: 'fail', findings: [fault] }
  })
}

export function checkBadTokens(ports: CheckPorts, signal: AbortSignal): Promise<CheckResult> {
  return judged(async () => {
    const findings: Finding[] = []
    const cases = await badTokens(ports)
    // One after the other: the probe stays below every rate limit of the gateway it judges.
    for (const { name, authorization, query } of cases) {
      const url = shieldUrl(ports)
      if (query !== undefined) url.searchParams.set('token', query)
      const reply = await upgrade(url, authorization === undefined ? {} : { Authorization: authorization }, signal)
      const fault = faultOf(name, reply)
      if (fault !== undefined) findings.push(fault)
    }
    const [first, ...others] = findings
    if (first !== undefined) return { status: 'fail', findings: [first, ...others] }
    // The bad tokens are the good one with one thing wrong: where that one is refused too, their refusal proves nothing.
    const control = await upgrade(
      shieldUrl(ports),
      { Authorization: `Bearer ${await shieldToken(ports, probeTenant)}` },
      signal,
    )
    if (control?.status !== 101) {
      const observed = 'the good token was refused like the bad ones, so their refusal proves nothing'
      return { status: 'error', code: 'NO_CONTROL', observed, class: 'config' }
    }
    return { status: 'pass', observed: `${cases.length} bad tokens answered with 401, the good one with 101` }
  })
}

/** Only 401 is the refusal: a 429 or 503 would say nothing about the token. */
function faultOf(name: string, reply: UpgradeReply | undefined): Finding | undefined {
  if (reply?.status === 401) return undefined
  if (reply === undefined)
    return { code: 'REFUSED_WITHOUT_STATUS', variable: name, found: 'the connection ended without an answer', fix }
  return reply.status === 101
    ? { code: 'LET_IN', variable: name, found: 'the upgrade was accepted (101)', fix }
    : { code: 'NOT_401', variable: name, found: `answered ${reply.status}`, fix }
}

/** The refusal says what it is, in the fields clients know (original-contract 10.2), and nothing more. */
function bodyFault(reply: UpgradeReply | undefined): Finding | undefined {
  const body = parseObject(reply?.body ?? '')
  const known = ['error', 'details', 'code']
  const isKnown =
    body !== undefined && body['error'] === 'Unauthorized' && Object.keys(body).every((key) => known.includes(key))
  return isKnown
    ? undefined
    : {
        code: 'BAD_BODY',
        variable: 'no-token',
        found: 'the 401 has another body than {error, details}',
        fix: 'look at the log of the shield',
      }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isJsonObject(value) ? value : undefined
  } catch {
    return undefined // not JSON: not the body that was asked for
  }
}

export function checkValidToken(ports: CheckPorts, signal: AbortSignal): Promise<CheckResult> {
  return judged(async () => {
    const url = shieldUrl(ports)
    const token = await shieldToken(ports, probeTenant)
    const reply = await upgrade(url, { Authorization: `Bearer ${token}` }, signal)
    if (reply?.status !== 101) {
      const found = reply === undefined ? 'the connection ended without an answer' : `answered ${reply.status}`
      const help = 'compare JWT_SECRET here with that of the running Shield, and the clocks'
      throw new ProbeFailure({ code: 'NOT_LET_IN', variable: 'valid-token', found, fix: help })
    }
    const session = await openWireSession('shield', url, token, ports, signal)
    session.close()
    return { status: 'pass', observed: '101, then the welcome' }
  })
}
