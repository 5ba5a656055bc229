// What the NATS checks look at. Each opens connections of its own to the servers of NATS_URL and closes them.
import { isBusError } from '../../base/errors.ts'
import type { JsonObject } from '../../base/json.ts'
import type { NatsServerAddress } from '../../config/nats-servers.ts'
import type { NatsProbe } from '../../link/nats-probe.ts'
import type { CheckPorts } from '../check.ts'
import { ProbeStop, stopCodeOf, stops } from '../stops.ts'
import { addressOf, serversOf } from './nats-facts.ts'
import { rightsOf, type Right } from './rights.ts'

const stepMs = 1_400

/** Also for what the link throws later: its errors carry a code and the step. */
export function toStop(error: unknown): ProbeStop {
  if (error instanceof ProbeStop) return error
  const { code, step, message } = error as { code?: unknown; step?: unknown; message?: unknown }
  const known = stopCodeOf(error) ?? (typeof code === 'string' ? code : 'THREW')
  return new ProbeStop(known, String(message), typeof step === 'string' ? step : undefined)
}

interface Attempt {
  readonly server: NatsServerAddress
  readonly probe?: NatsProbe
  readonly stop?: ProbeStop
}

/** Every server of the list, each on its own, at the same time. */
async function attemptAll({ ctx, runId }: CheckPorts): Promise<readonly Attempt[]> {
  let servers: readonly NatsServerAddress[]
  try {
    servers = serversOf(ctx)
  } catch (error) {
    throw isBusError(error) ? new ProbeStop('BAD_ADDRESS', error.message, 'address') : error
  }
  const { probeNats } = await import('../../link/nats-probe.ts')
  return await Promise.all(
    servers.map(async (server): Promise<Attempt> => {
      try {
        return { server, probe: await probeNats(server, { name: `arqon-preflight-${runId}`, timeoutMs: stepMs }) }
      } catch (error) {
        return { server, stop: toStop(error) }
      }
    }),
  )
}

interface Reached {
  readonly server: NatsServerAddress
  readonly probe: NatsProbe
}

/** Runs with the servers that took us and closes them. Where none did, stops: with a no before a silence. */
async function withServers<T>(
  ports: CheckPorts,
  run: (reached: readonly [Reached, ...Reached[]], attempts: readonly Attempt[]) => Promise<T> | T,
): Promise<T> {
  const attempts = await attemptAll(ports)
  const reached = attempts.flatMap(({ server, probe }) => (probe === undefined ? [] : [{ server, probe }]))
  try {
    const [first, ...others] = reached
    if (first === undefined) throw summary(attempts)
    return await run([first, ...others], attempts)
  } catch (error) {
    throw toStop(error)
  } finally {
    for (const { probe } of reached) probe.close()
  }
}

/** With one of the servers that took us. */
export const withServer = <T>(ports: CheckPorts, run: (probe: NatsProbe) => Promise<T>): Promise<T> =>
  withServers(ports, ([{ probe }]) => run(probe))

function summary(attempts: readonly Attempt[]): ProbeStop {
  const ended = attempts.flatMap(({ server, stop }) => (stop === undefined ? [] : [{ server, stopped: stop.stopped }]))
  const [worst] = [...ended].sort((a, b) => silence(a.stopped.code) - silence(b.stopped.code))
  if (worst === undefined) return new ProbeStop('BAD_ADDRESS', 'no server is named', 'address')
  const words = ended.map(({ server, stopped }) => `${addressOf(server)}: ${stopped.observed}`).join('; ')
  return new ProbeStop(worst.stopped.code, words, worst.stopped.step)
}

const silence = (code: string): number => (stops[code]?.status === 'fail' ? 0 : 1)

export const probeConnect = (ports: CheckPorts): Promise<{ servers: readonly JsonObject[] }> =>
  withServers(ports, (_reached, attempts) => ({
    servers: attempts.map(({ server, probe, stop }): JsonObject => {
      const { code = '', step = '', observed = '' } = stop?.stopped ?? {}
      const isEncrypted = probe?.isEncrypted === true
      return { server: addressOf(server), isReached: probe !== undefined, isEncrypted, code, step, observed }
    }),
  }))

export const probeIdentity = (ports: CheckPorts): Promise<{ servers: readonly JsonObject[] }> =>
  withServers(ports, (reached) => ({
    servers: reached.map(({ server, probe }): JsonObject => ({ server: addressOf(server), ...probe.greeting })),
  }))

/**
 * Where nobody listens and both sides of us may talk. Inboxes belong to whoever made them up, so a running bus and its
 * gateways hear nothing of it; a user with the rights of docs/link.md for the bus may publish and subscribe there.
 */
const loopSubject = (nonce: string): string => `_INBOX.arqon-preflight.${nonce}`
/**
 * A gateway's own user may publish nothing that it may hear: that is the point of its rights. Buses listen to
 * `in.t.*.raw`, so nobody is there either, and the server's answer to that is the receipt.
 */
const unheardSubject = 'in.t.arqon-preflight.preflight'
const payloadBytes = 1_024
const receiveMs = 2_000

export interface PubSubFacts {
  /** `loop`: our own message came back; `receipt`: only the server's word that it took it. */
  readonly proof: string
  /** Messages that came in place of the one. */
  readonly received: number
  /** Of a loop: byte for byte what was sent. */
  readonly isEqual?: boolean
}

export const probePubSub = (ports: CheckPorts): Promise<PubSubFacts> =>
  withServers(ports, async (reached) => {
    const [{ probe: publisher, server }] = reached
    const nonce = ports.nonce()
    if (!(await publisher.mayPublish(loopSubject(nonce)))) return await receipt(publisher)
    // The farthest server of the list: what is published here has to arrive there.
    const far = reached.at(-1)!
    if (far.probe !== publisher) return await loop(publisher, far.probe, nonce)
    const { probeNats } = await import('../../link/nats-probe.ts')
    const second = await probeNats(server, { name: `arqon-preflight-${ports.runId}`, timeoutMs: stepMs })
    try {
      return await loop(publisher, second, nonce)
    } finally {
      second.close()
    }
  })

/** The last word arrives behind whatever was sent before it: then nothing can come twice any more. */
async function loop(publisher: NatsProbe, listener: NatsProbe, nonce: string): Promise<PubSubFacts> {
  const subject = loopSubject(nonce)
  const subscription = listener.subscribe(subject)
  refuseErrors(await listener.flush(), 'subscribe')
  if (!(await isHeard(publisher, listener, subject))) return { proof: 'loop', received: 0 }
  const sent = Buffer.alloc(payloadBytes, nonce)
  publisher.publish(subject, sent)
  publisher.publish(subject, Buffer.from('end'))
  // A denied publish is told later than the publish: the flush brings it.
  refuseErrors(await publisher.flush(), 'publish')
  let received = 0
  let isEqual = false
  try {
    for (;;) {
      const { data } = await subscription.next(receiveMs)
      if (data.equals(Buffer.from('end'))) break
      received++
      isEqual = data.equals(sent)
    }
  } catch (error) {
    if (toStop(error).stopped.code !== 'NO_ANSWER') throw error
  }
  return { proof: 'loop', received, isEqual: received === 1 && isEqual }
}

/** Interest needs a moment from one server of a cluster to the next, and in its order: what is heard later is known too. */
async function isHeard(publisher: NatsProbe, listener: NatsProbe, subject: string): Promise<boolean> {
  if (publisher.greeting.id === listener.greeting.id) return true
  const ear = listener.subscribe(`${subject}.ready`)
  await listener.flush()
  let isThere = false
  for (let attempt = 0; attempt < 20 && !isThere; attempt++) {
    publisher.publish(`${subject}.ready`)
    isThere = await ear.next(100).then(
      () => true,
      () => false,
    )
  }
  ear.close()
  return isThere
}

async function receipt(probe: NatsProbe): Promise<PubSubFacts> {
  await probe.request(unheardSubject) // 503 from the server, or somebody's answer: it was taken either way
  return { proof: 'receipt', received: 1 }
}

function refuseErrors(errors: readonly string[], step: string): void {
  const [first] = errors
  if (first === undefined) return
  throw new ProbeStop(/permissions violation/i.test(first) ? 'NO_PERMISSION' : 'SERVER_ERROR', first, step)
}

export const probePermissions = (
  ports: CheckPorts,
): Promise<{ isAuthRequired: boolean; isRestricted: boolean; allowed: readonly string[] }> =>
  withServer(ports, async (probe) => {
    const { needed, forbidden, nobodys } = rightsOf(ports.ctx, ports.runId)
    const has = (right: Right): Promise<boolean> =>
      right.action === 'publish' ? probe.mayPublish(right.subject) : probe.maySubscribe(right.subject)
    const allowed: string[] = []
    for (const right of [...needed, ...forbidden, ...nobodys]) if (await has(right)) allowed.push(right.name)
    const isRestricted = nobodys.some(({ name }) => !allowed.includes(name))
    return { isAuthRequired: probe.greeting.isAuthRequired, isRestricted, allowed }
  })
