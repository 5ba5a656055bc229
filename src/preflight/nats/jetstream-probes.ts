// What the JetStream checks look at: its API as requests over core NATS (JSON in, JSON out), with one of the servers.
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import type { NatsProbe } from '../../link/nats-probe.ts'
import { episodeStream, episodeSubject } from '../../projector/stream.ts'
import { schemaBucket } from '../../schemas/bucket.ts'
import type { CheckPorts } from '../check.ts'
import { ProbeStop } from '../stops.ts'
import { listIn, numberIn, objectIn, textIn } from '../json-fields.ts'
import { jetStreamUsers } from './nats-facts.ts'
import { toStop, withServer } from './nats-probes.ts'

export const schemaStream = `KV_${schemaBucket}`

/** Numbers of JetStream's own errors. */
const errors = {
  off: [10_039, 10_076],
  noStream: [10_059],
  full: [10_002, 10_023, 10_026, 10_028, 10_047, 10_077],
} as const

/** The answer without its error. Throws ProbeStop for an error that is none of `except`. */
async function call(
  probe: NatsProbe,
  verb: string,
  body: JsonObject = {},
  except: readonly number[] = [],
): Promise<JsonObject> {
  const text = Object.keys(body).length === 0 ? '' : JSON.stringify(body)
  const answer = await probe.request(`$JS.API.${verb}`, Buffer.from(text))
  if (answer.status === 503) throw new ProbeStop('NO_JETSTREAM', 'nobody answers for JetStream', 'answer')
  return parseAnswer(answer.data, except)
}

function parseAnswer(data: Buffer, except: readonly number[]): JsonObject {
  let value: unknown
  try {
    value = JSON.parse(data.toString('utf8'))
  } catch {
    value = undefined
  }
  if (!isJsonObject(value))
    throw new ProbeStop('MALFORMED', 'JetStream answers with something else than JSON', 'answer')
  const error = objectIn(value, 'error')
  const number = numberIn(error, 'err_code')
  if (Object.keys(error).length === 0 || except.includes(number)) return value
  const words = `JetStream says: ${textIn(error, 'description')} (${number})`
  if ((errors.off as readonly number[]).includes(number)) throw new ProbeStop('NO_JETSTREAM', words, 'answer')
  if ((errors.full as readonly number[]).includes(number)) throw new ProbeStop('DISK_FULL', words, 'answer')
  if (number === errors.noStream[0]) throw new ProbeStop('NO_STREAM', words, 'answer')
  throw new ProbeStop('SERVER_ERROR', words, 'answer')
}

export interface JetStreamFacts {
  /** False where the user may not ask for its account, and nobody of ours needs room there. */
  readonly isAccountShown: boolean
  /** Used and limit of each kind; a limit of -1 is none. */
  readonly limits: readonly JsonObject[]
  /** Streams that the projector would make at its start. */
  readonly toBeMade: number
}

export const probeJetStream = (ports: CheckPorts): Promise<JetStreamFacts> =>
  withServer(ports, async (probe) => {
    const users = jetStreamUsers(ports.ctx)
    // Shield's user may only read its bucket (docs/schemas.md): any answer about that says that JetStream is there.
    if (!users.includes('projector') && !(await probe.mayPublish('$JS.API.INFO'))) {
      await call(probe, `STREAM.INFO.${schemaStream}`, {}, errors.noStream)
      return { isAccountShown: false, limits: [], toBeMade: 0 }
    }
    const account = await call(probe, 'INFO')
    const bounds = objectIn(account, 'limits')
    const limits = ['memory', 'storage', 'streams', 'consumers'].map(
      (what): JsonObject => ({
        what,
        used: numberIn(account, what),
        limit: bounds[`max_${what}`] ?? -1,
      }),
    )
    const names = users.includes('projector')
      ? listIn(await namesOf(probe, episodeSubject), 'streams')
      : [episodeStream]
    return { isAccountShown: true, limits, toBeMade: names.length === 0 ? 1 : 0 }
  })

const namesOf = (probe: NatsProbe, subject: string): Promise<JsonObject> => call(probe, 'STREAM.NAMES', { subject })

export interface StreamsFacts {
  /** `isThere`, and of those that are: subjects, retention, storage, and the worst replica. */
  readonly streams: readonly JsonObject[]
}

export const probeStreams = (ports: CheckPorts): Promise<StreamsFacts> =>
  withServer(ports, async (probe) => {
    const users = jetStreamUsers(ports.ctx)
    const streams: JsonObject[] = []
    if (users.includes('schemas')) streams.push(await describe(probe, 'schemas', schemaStream))
    if (users.includes('projector')) {
      const [name] = listIn(await namesOf(probe, episodeSubject), 'streams')
      streams.push(await describe(probe, 'projector', typeof name === 'string' ? name : episodeStream))
    }
    return { streams }
  })

async function describe(probe: NatsProbe, user: string, name: string): Promise<JsonObject> {
  const info = await call(probe, `STREAM.INFO.${name}`, {}, errors.noStream)
  if (info['error'] !== undefined) return { user, name, isThere: false }
  const config = objectIn(info, 'config')
  const replicas = listIn(objectIn(info, 'cluster'), 'replicas').filter(isJsonObject)
  return {
    user,
    name,
    isThere: true,
    subjects: [...listIn(config, 'subjects')],
    retention: textIn(config, 'retention'),
    storage: textIn(config, 'storage'),
    hasLeader: info['cluster'] === undefined || typeof objectIn(info, 'cluster')['leader'] === 'string',
    isCurrent: replicas.every((replica) => replica['current'] === true && replica['offline'] !== true),
    maxLag: Math.max(0, ...replicas.map((replica) => numberIn(replica, 'lag'))),
    maxSilentS: Math.max(0, ...replicas.map((replica) => numberIn(replica, 'active') / 1e9)),
  }
}

/** An operator's own, for users who may not make and delete streams. */
export const standingStream = 'ARQON_PREFLIGHT'
export const standingSubjects = 'arqon-preflight.js.>'
const ownPrefix = 'ARQON_PREFLIGHT_'
const keepNanos = 60 * 1e9

export interface RoundTripFacts {
  /** `own`: made for this and deleted; `standing`: the operator's. */
  readonly stream: string
  readonly isAcked: boolean
  readonly isEqual: boolean
  /** What the consumer still had to give, or waited for, when all was acknowledged. */
  readonly left: number
}

export const probeRoundTrip = (ports: CheckPorts): Promise<RoundTripFacts> =>
  withServer(ports, (probe) =>
    onProbeStream(probe, ports, async (name, stream) => ({ stream, ...(await roundTrip(probe, name, ports)) })),
  )

/** One of our own for as long as it takes; the operator's where the user may not make and delete it. */
async function onProbeStream<T>(
  probe: NatsProbe,
  ports: CheckPorts,
  run: (name: string, whose: 'own' | 'standing') => Promise<T>,
): Promise<T> {
  const own = `${ownPrefix}${ports.runId}`
  const mayMake = await probe.mayPublish(`$JS.API.STREAM.CREATE.${own}`)
  const isOwn = mayMake && (await probe.mayPublish(`$JS.API.STREAM.DELETE.${own}`))
  if (!isOwn) return await run(standingStream, 'standing')
  await sweep(probe, ports.now)
  await makeStream(probe, own, subjectOf(ports))
  try {
    return await run(own, 'own')
  } finally {
    await call(probe, `STREAM.DELETE.${own}`)
  }
}

export interface SkewFacts {
  /** How far the server's clock is ahead, ms, and how wrong that can be. */
  readonly offsetMs: number
  readonly uncertaintyMs: number
}

/**
 * A greeting has no time in it, and $SYS is not for us. JetStream writes down when it makes a consumer, so one is made
 * that reads nothing and is deleted at once, with the rights that Shield and the projector need anyway.
 */
export const probeSkew = (ports: CheckPorts): Promise<SkewFacts> =>
  withServer(ports, (probe) => {
    const look = (stream: string): Promise<SkewFacts> => clockOf(probe, stream, ports)
    return jetStreamUsers(ports.ctx).includes('schemas') ? look(schemaStream) : onProbeStream(probe, ports, look)
  })

async function clockOf(probe: NatsProbe, stream: string, { clock, runId }: CheckPorts): Promise<SkewFacts> {
  const name = `arqon-preflight-${runId}`
  const idle = {
    deliver_policy: 'new',
    ack_policy: 'none',
    mem_storage: true,
    num_replicas: 1,
    inactive_threshold: 10e9,
  }
  const [wall, before] = [clock.now(), clock.monotonic()]
  const made = await call(probe, `CONSUMER.CREATE.${stream}.${name}`, {
    stream_name: stream,
    config: { name, ...idle },
  })
  const uncertaintyMs = (clock.monotonic() - before) / 2
  await call(probe, `CONSUMER.DELETE.${stream}.${name}`).catch(() => undefined) // it ends by itself when idle
  const created = Date.parse(textIn(made, 'created'))
  if (Number.isNaN(created)) throw new ProbeStop('MALFORMED', 'JetStream made a consumer at no time', 'answer')
  return { offsetMs: created - (wall + uncertaintyMs), uncertaintyMs }
}

const leftOverMs = 3_600_000

/** What a run that was killed has left: by its name, and by its age, for another run may be under way. */
async function sweep(probe: NatsProbe, now: number): Promise<void> {
  const { streams = [] } = await call(probe, 'STREAM.NAMES', { subject: 'arqon-preflight.js.*' })
  for (const name of Array.isArray(streams) ? streams : []) {
    if (typeof name !== 'string' || !name.startsWith(ownPrefix)) continue
    const { created } = await call(probe, `STREAM.INFO.${name}`, {}, errors.noStream)
    const isOld = typeof created === 'string' && now - Date.parse(created) > leftOverMs
    if (isOld) await call(probe, `STREAM.DELETE.${name}`, {}, errors.noStream)
  }
}

const subjectOf = ({ runId }: CheckPorts): string => `arqon-preflight.js.${runId}`

/** In memory; on disk where an account may not use memory. */
async function makeStream(probe: NatsProbe, name: string, subject: string): Promise<void> {
  const config = { name, subjects: [subject], max_msgs: 10, max_bytes: 65_536, max_age: keepNanos, num_replicas: 1 }
  try {
    await call(probe, `STREAM.CREATE.${name}`, { ...config, storage: 'memory' })
  } catch (error) {
    if (toStop(error).stopped.code !== 'DISK_FULL') throw error
    await call(probe, `STREAM.CREATE.${name}`, { ...config, storage: 'file' })
  }
}

async function roundTrip(probe: NatsProbe, stream: string, ports: CheckPorts): Promise<Omit<RoundTripFacts, 'stream'>> {
  const subject = subjectOf(ports)
  const sent = Buffer.from(ports.nonce())
  const deliver = { ack_policy: 'explicit', deliver_policy: 'all', filter_subject: subject, inactive_threshold: 10e9 }
  const made = await call(probe, `CONSUMER.CREATE.${stream}`, { stream_name: stream, config: deliver })
  const consumer = textIn(made, 'name')
  try {
    const receipt = await probe.request(subject, sent)
    if (receipt.status === 503) throw new ProbeStop('NO_STREAM', `no stream keeps ${standingSubjects}`, 'publish')
    const isAcked = numberIn(parseAnswer(receipt.data, []), 'seq') > 0
    const message = await probe.request(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, Buffer.from('{"batch":1}'))
    // An answer to the acknowledgement says that it has arrived.
    if (message.reply !== undefined) await probe.request(message.reply, Buffer.from('+ACK'))
    const info = await call(probe, `CONSUMER.INFO.${stream}.${consumer}`)
    const left = numberIn(info, 'num_ack_pending') + numberIn(info, 'num_pending')
    return { isAcked, isEqual: message.data.equals(sent), left }
  } finally {
    await call(probe, `CONSUMER.DELETE.${stream}.${consumer}`).catch(() => undefined) // it ends by itself when idle
  }
}
