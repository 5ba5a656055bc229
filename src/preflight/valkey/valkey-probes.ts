// The first half of the chain: is it there, does it know us, what is it, does it keep what is written, what may we do.
import { answersPing, dialProbe, lookUp, type ProbeClient, ProbeFailure } from '../../valkey/probe-client.ts'
import { ErrorReply, type RespReply } from '../../valkey/resp.ts'
import type { CheckPorts } from '../check.ts'
import { ProbeStop } from '../stops.ts'
import { neededCommands, neededKeys } from './valkey-rights.ts'
import { addressOf, listOf, readInfo, stopOf, textOf, toStop, withValkey } from './valkey-session.ts'

const maxAddresses = 16
/** Nobody is there, or nobody says so: others under the same name may serve all the same. */
const unreachable = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT'])

/** Each address of the name is tried, for the bus may meet any of them. `resolve` finds them; tests have names of their own. */
export async function probeConnect(ports: CheckPorts, signal: AbortSignal, resolve = lookUp) {
  const address = addressOf(ports)
  const ips = await resolve(address).catch((error: unknown) => {
    throw toStop(error)
  })
  const tried = await Promise.all(
    (ips.length === 0 ? [undefined] : ips.slice(0, maxAddresses)).map(async (ip) => {
      try {
        const client = await dialProbe(address, { signal, ...(ip !== undefined && { ip }) })
        client.close()
        return { certificate: client.certificate }
      } catch (error) {
        if (error instanceof ProbeFailure) return { failure: error }
        throw error
      }
    }),
  )
  const failures = tried.flatMap(({ failure }) => (failure === undefined ? [] : [failure]))
  const [worst] = [...failures].sort((a, b) => Number(unreachable.has(a.code)) - Number(unreachable.has(b.code)))
  if (worst !== undefined && failures.length === tried.length) throw await explain(worst, ports, signal)
  const ends = tried.flatMap(({ certificate }) => (certificate === undefined ? [] : [certificate.endsAt])).sort()
  return {
    addresses: tried.length,
    unreachable: failures.filter(({ code }) => unreachable.has(code)).length,
    refusals: failures.filter(({ code }) => !unreachable.has(code)).map(stopOf),
    isTls: address.isTls,
    ...(ends[0] !== undefined && { certificateEnds: ends[0] }),
  }
}

/** TLS spoken to a port without it, and the other way round, end in silence or in a closed connection: ask the other way. */
async function explain(failure: ProbeFailure, ports: CheckPorts, signal: AbortSignal): Promise<unknown> {
  const address = addressOf(ports)
  const isUnclear = failure.code === 'NO_ANSWER' || failure.code === 'HUNG_UP' || failure.code === 'ECONNRESET'
  if (address.isTls && failure.step === 'tls' && (isUnclear || stopOf(failure) === 'TLS_REFUSED')) {
    if (await answersPing(address, false, { signal })) {
      return new ProbeStop('TLS_REFUSED', 'the service answers there, without TLS', 'tls')
    }
  }
  if (!address.isTls && failure.step === 'hello' && failure.code !== 'NO_ANSWER' && failure.code !== 'REPLY') {
    if (await answersPing(address, true, { signal })) {
      return new ProbeStop('TLS_REQUIRED', 'the service answers there, with TLS only', 'hello')
    }
  }
  return toStop(failure)
}

export async function probePing(ports: CheckPorts, signal: AbortSignal) {
  return await withValkey(ports, signal, async (client) => {
    const payload = ports.nonce()
    const startedMs = ports.clock.monotonic()
    const reply = await client.send(['PING', payload])
    return { isEchoed: reply === payload, ms: ports.clock.monotonic() - startedMs }
  })
}

export async function probeIdentity(ports: CheckPorts, signal: AbortSignal) {
  return await withValkey(ports, signal, async (client) => {
    const info = await readInfo(client)
    const valkey = info.get('valkey_version')
    const version = valkey ?? info.get('redis_version')
    if (version === undefined) throw new ProbeStop('MALFORMED', 'INFO names no version', 'read')
    const role = await client.ask(['ROLE'])
    return {
      product: valkey === undefined ? 'redis' : 'valkey',
      version,
      // ROLE is not needed by the bus: a user that may not ask it is judged by INFO.
      role: role instanceof ErrorReply ? (info.get('role') ?? 'unknown') : textOf(listOf(role)[0]),
      mode: info.get('cluster_enabled') === '1' ? 'cluster' : (info.get('redis_mode') ?? 'standalone'),
    }
  })
}

const keptMs = '30000'

/** Nothing that is there is overwritten, nothing stays: create-only, an end of its own, cleared away at once. */
export async function probeRoundtrip(ports: CheckPorts, signal: AbortSignal) {
  const key = `arqon:pf:${ports.runId}`
  const stream = `${key}:stream`
  const nonce = ports.nonce()
  return await withValkey(ports, signal, async (writer) => {
    const facts = {
      isCreated: false,
      isReadBack: false,
      isStreamRead: false,
      isEntryDeleted: false,
      isDeleted: false,
      isGone: false,
    }
    facts.isCreated = (await writer.send(['SET', key, nonce, 'NX', 'PX', keptMs])) !== null
    if (!facts.isCreated) return facts // not ours: it is not touched
    try {
      await withValkey(ports, signal, async (reader) => {
        facts.isReadBack = (await reader.send(['GET', key])) === nonce
        const [id] = await Promise.all([
          writer.send(['XADD', stream, '*', 'n', nonce]),
          // Sent together, so that no crash of ours parts them.
          writer.ask(['PEXPIRE', stream, keptMs]),
        ])
        const entry = [textOf(id), ['n', nonce]]
        const read = await reader.send(['XREAD', 'COUNT', '2', 'STREAMS', stream, '0'])
        facts.isStreamRead = isDeep(read, [stream, [entry]])
        facts.isEntryDeleted = (await writer.send(['XDEL', stream, textOf(id)])) === 1
        facts.isDeleted = (await writer.send(['DEL', key])) === 1
        facts.isGone = (await reader.send(['GET', key])) === null
      })
      return facts
    } finally {
      await writer.ask(['DEL', key, stream]).catch(() => undefined) // what is not deleted now ends by itself
    }
  })
}

const isDeep = (reply: RespReply, wanted: RespReply): boolean => JSON.stringify(reply) === JSON.stringify(wanted)

/**
 * Each command is really sent, so that it changes nothing (valkey-rights.ts). ACL DRYRUN is not asked, for it takes an
 * administrator's right that the bus should not have.
 */
export async function probeAcl(ports: CheckPorts, signal: AbortSignal) {
  const key = `arqon:pf:${ports.runId}:acl`
  return await withValkey(ports, signal, async (client) => {
    const created = await client.send(['SET', key, 'x', 'NX', 'PX', keptMs])
    if (created === null) throw new ProbeStop('SERVER_ERROR', 'a key of this run is already there', 'write')
    try {
      const replies = await Promise.all(
        neededCommands.map(({ name, args }) =>
          client.ask([name, ...args.map((arg) => (/^K\b/.test(arg) ? arg.replace('K', key) : arg))]),
        ),
      )
      const allowed: string[] = []
      const denied: string[] = []
      for (const [i, { name }] of neededCommands.entries()) {
        const answer = rightOf(replies[i])
        if (answer === 'allowed') allowed.push(name)
        if (answer === 'denied') denied.push(name)
      }
      return { allowed, denied, openKeys: await openKeys(client, ports) }
    } finally {
      await client.ask(['DEL', key]).catch(() => undefined) // ends by itself
    }
  })
}

/** `unknown`: renamed, or of a newer server. */
function rightOf(reply: RespReply | undefined): 'allowed' | 'denied' | 'unknown' {
  if (!(reply instanceof ErrorReply)) return 'allowed'
  if (reply.word === 'NOPERM') return 'denied'
  return /unknown (?:sub)?command/i.test(reply.text) ? 'unknown' : 'allowed'
}

async function openKeys(client: ProbeClient, ports: CheckPorts): Promise<string[]> {
  const open: string[] = []
  for (const { pattern, nameFor } of neededKeys) {
    const name = nameFor(ports.nonce())
    // Reads, then writes, a name that nobody has.
    const replies = await Promise.all([client.ask(['HMGET', name, 'f']), client.ask(['DEL', name])])
    if (!replies.some(isClosedKey)) open.push(pattern)
  }
  return open
}

/** A command that is denied says so in other words. */
const isClosedKey = (reply: RespReply): boolean =>
  reply instanceof ErrorReply && reply.word === 'NOPERM' && /access/i.test(reply.text)
