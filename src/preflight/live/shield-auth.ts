// Who Shield lets in: nobody without a token, nobody with a bad one, and the bearer of a good one.
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import type { CheckPorts } from '../check.ts'
import { upgrade } from './http.ts'
import { badTokens, probeTenant, shieldToken } from './probe-tokens.ts'
import { openWireSession } from './wire-session.ts'

/** Shield answers one path only; an address without one means that path. */
export function shieldUrl({ targets }: CheckPorts): URL {
  const url = new URL(targets.shield!)
  if (url.pathname === '/') url.pathname = '/ws'
  return url
}

export async function tryWithoutToken(ports: CheckPorts, signal: AbortSignal) {
  const reply = await upgrade(shieldUrl(ports), {}, signal)
  const body = parseObject(reply?.body ?? '')
  const error = body?.['error']
  return {
    ...(reply !== undefined && { status: reply.status }),
    ...(typeof error === 'string' && { error }),
    fields: Object.keys(body ?? {}),
  }
}

export async function tryBadTokens(ports: CheckPorts, signal: AbortSignal) {
  const cases: JsonObject[] = []
  // One after the other: the probe stays below every rate limit of the gateway it judges.
  for (const { name, authorization, query } of await badTokens(ports)) {
    const url = shieldUrl(ports)
    if (query !== undefined) url.searchParams.set('token', query)
    const reply = await upgrade(url, authorization === undefined ? {} : { Authorization: authorization }, signal)
    cases.push({ name, ...(reply !== undefined && { status: reply.status }) })
  }
  const control = await tryGoodToken(ports, signal)
  return { cases, ...(control !== undefined && { control }) }
}

async function tryGoodToken(ports: CheckPorts, signal: AbortSignal): Promise<number | undefined> {
  const token = await shieldToken(ports, probeTenant)
  return (await upgrade(shieldUrl(ports), { Authorization: `Bearer ${token}` }, signal))?.status
}

/** After the 101 the welcome has to come; a session without it stops the probe. */
export async function tryValidToken(ports: CheckPorts, signal: AbortSignal) {
  const status = await tryGoodToken(ports, signal)
  if (status === 101) {
    const token = await shieldToken(ports, probeTenant)
    const session = await openWireSession('shield', shieldUrl(ports), token, ports, signal)
    session.close()
  }
  return status === undefined ? { isAnswered: false } : { isAnswered: true, status }
}

function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isJsonObject(value) ? value : undefined
  } catch {
    return undefined // not JSON: not the body that was asked for
  }
}
