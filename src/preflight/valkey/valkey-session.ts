// How the probes of this chain reach the server, and what its refusals are called here.
import { isBusError } from '../../base/errors.ts'
import { parseValkeyUrl, type ValkeyAddress } from '../../valkey/address.ts'
import { parseInfo } from '../../valkey/facts.ts'
import { dialProbe, type ProbeClient, ProbeFailure } from '../../valkey/probe-client.ts'
import { ErrorReply, type RespReply } from '../../valkey/resp.ts'
import type { CheckPorts } from '../check.ts'
import { ProbeStop, stopCodeOf } from '../stops.ts'

/** The configured address, as the bus reads it. */
export function addressOf({ ctx }: Pick<CheckPorts, 'ctx'>): ValkeyAddress {
  try {
    return parseValkeyUrl(ctx.resolution.values.valkeyUrl?.reveal() ?? '')
  } catch (error) {
    throw new ProbeStop('BAD_ADDRESS', isBusError(error) ? error.message : 'it cannot be read')
  }
}

/** On a connection of its own, closed at the end whatever happens. */
export async function withValkey<T>(
  ports: Pick<CheckPorts, 'ctx'>,
  signal: AbortSignal,
  use: (client: ProbeClient) => Promise<T>,
): Promise<T> {
  const address = addressOf(ports)
  try {
    const client = await dialProbe(address, { signal })
    try {
      return await use(client)
    } finally {
      client.close()
    }
  } catch (error) {
    throw toStop(error)
  }
}

/** First words of error replies; words beyond these are SERVER_ERROR. */
const refusals: Readonly<Record<string, string>> = {
  WRONGPASS: 'AUTH_REFUSED',
  NOAUTH: 'AUTH_REQUIRED',
  NOPERM: 'NO_PERMISSION',
  DENIED: 'LOCAL_ONLY',
  NOPROTO: 'OLD_PROTOCOL',
  LOADING: 'LOADING',
  BUSY: 'BUSY',
  READONLY: 'READ_ONLY',
  OOM: 'OUT_OF_MEMORY',
  MISCONF: 'SAVES_FAIL',
  MASTERDOWN: 'NO_WRITER',
  CLUSTERDOWN: 'NO_WRITER',
  NOREPLICAS: 'NO_REPLICAS',
}

/** Refusals that all begin with ERR. */
const refusalTexts: readonly (readonly [RegExp, string])[] = [
  [/max number of clients/, 'TOO_MANY_CONNECTIONS'],
  [/DB index is out of range/, 'NO_DATABASE'],
  [/unknown command.*hello/i, 'OLD_PROTOCOL'],
  [/AUTH.*without any password configured/i, 'AUTH_REFUSED'],
]

/** A failure of the client as a stop of this preflight; anything else stays what it is. */
export function toStop(error: unknown): unknown {
  if (!(error instanceof ProbeFailure)) return error
  return new ProbeStop(stopOf(error), error.text, error.step)
}

export function stopOf(failure: ProbeFailure): string {
  switch (failure.code) {
    case 'REPLY': {
      const byText = refusalTexts.find(([pattern]) => pattern.test(failure.text))
      return byText?.[1] ?? refusals[failure.word ?? ''] ?? 'SERVER_ERROR'
    }
    case 'NOT_RESP':
      return 'NOT_THE_PROTOCOL'
    case 'ABORTED':
      return 'DEADLINE'
    default:
      return stopCodeOf(Object.assign(new Error(failure.text), { code: failure.code })) ?? failure.code
  }
}

/** What INFO says, without what it leaves out. Stops with LOADING while the server reads its data. */
export async function readInfo(client: ProbeClient, ...sections: readonly string[]): Promise<Map<string, string>> {
  const info = parseInfo(textOf(await client.send(['INFO', ...sections])))
  const isLoading = info.get('loading') === '1' || info.get('async_loading') === '1'
  if (isLoading) throw new ProbeStop('LOADING', 'INFO says that it is loading its data', 'read')
  return info
}

/** Of a field that is there and is a number. */
export function numberIn(info: ReadonlyMap<string, string>, name: string): number | undefined {
  const text = info.get(name)
  return text !== undefined && /^-?\d+(?:\.\d+)?$/.test(text) ? Number(text) : undefined
}

export function textOf(reply: RespReply | undefined): string {
  if (typeof reply === 'string') return reply
  throw new ProbeStop('MALFORMED', `${describe(reply)} in place of text`)
}

export function listOf(reply: RespReply | undefined): readonly RespReply[] {
  if (Array.isArray(reply)) return reply
  throw new ProbeStop('MALFORMED', `${describe(reply)} in place of a list`)
}

export function describe(reply: RespReply | undefined): string {
  if (reply === null || reply === undefined) return 'nothing'
  if (reply instanceof ErrorReply) return `a refusal (${reply.word})`
  return Array.isArray(reply) ? 'a list' : `a ${typeof reply}`
}
