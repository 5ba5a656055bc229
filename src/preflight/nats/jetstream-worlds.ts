// Worlds of the JetStream checks.
import type { JsonObject } from '../../base/json.ts'
import type { Worlds } from '../check.ts'
import type { JetStreamFacts, RoundTripFacts, SkewFacts, StreamsFacts } from './jetstream-probes.ts'

const schemas = { SHIELD_SCHEMA_SOURCE: 'nats' }
const projector = { ARQONBUS_PROJECTOR_METRICS_HOST: '10.0.0.5' }
const stopped = (code: string) => ({ stopped: { code, observed: 'as it says', step: 'answer' } })

const account = (change: Readonly<Record<string, readonly [number, number]>> = {}, toBeMade = 0): JetStreamFacts => {
  const rows = { memory: [0, -1], storage: [0, -1], streams: [1, -1], consumers: [0, -1], ...change }
  const limits = Object.entries(rows).map(([what, [used, limit]]): JsonObject => ({ what, used: used!, limit: limit! }))
  return { isAccountShown: true, limits, toBeMade }
}

export const jetStream: Worlds<JetStreamFacts> = {
  passes: [
    { name: 'without limits', env: schemas, facts: account() },
    { name: 'just room enough', env: projector, facts: account({ storage: [949, 1_000], memory: [94, 100] }) },
    {
      name: 'the user may not see its account',
      env: schemas,
      facts: { isAccountShown: false, limits: [], toBeMade: 0 },
    },
  ],
  fails: [
    {
      name: 'storage is full',
      env: schemas,
      facts: account({ storage: [950, 1_000] }),
      expect: { code: 'LIMIT_REACHED', findings: ['NATS_URL LIMIT_REACHED'] },
    },
    { name: 'memory is full', env: schemas, facts: account({ memory: [95, 100] }), expect: { code: 'LIMIT_REACHED' } },
    {
      name: 'no consumer more',
      env: schemas,
      facts: account({ consumers: [4, 4] }),
      expect: { code: 'LIMIT_REACHED' },
    },
    {
      name: 'no stream more, and one is to be made',
      env: projector,
      facts: account({ streams: [4, 4] }, 1),
      expect: { code: 'LIMIT_REACHED' },
    },
    { name: 'switched off', env: schemas, ...stopped('NO_JETSTREAM'), expect: { code: 'NO_JETSTREAM' } },
    {
      name: 'denied',
      env: projector,
      ...stopped('NO_PERMISSION'),
      expect: { code: 'NO_PERMISSION', class: 'config' },
    },
  ],
  ignores: [
    { name: 'no stream more, and none is needed', env: projector, facts: account({ streams: [4, 4] }) },
    {
      name: 'one stream and one consumer are left',
      env: projector,
      facts: account({ streams: [3, 4], consumers: [3, 4] }, 1),
    },
    {
      name: 'much is used of what has no limit',
      env: schemas,
      facts: account({ storage: [9e12, -1], memory: [5, 0] }),
    },
  ],
}

const trip: RoundTripFacts = { stream: 'own', isAcked: true, isEqual: true, left: 0 }

export const roundTrip: Worlds<RoundTripFacts> = {
  passes: [{ name: 'there and back', env: projector, facts: trip }],
  fails: [
    {
      name: 'no sequence',
      env: projector,
      facts: { ...trip, isAcked: false },
      expect: { code: 'NOT_STORED', findings: ['NATS_URL NOT_STORED'] },
    },
    { name: 'other bytes', env: projector, facts: { ...trip, isEqual: false }, expect: { code: 'ALTERED' } },
    {
      name: 'one is left',
      env: projector,
      facts: { ...trip, left: 1 },
      expect: { code: 'NOT_ACKED', findings: ['NATS_URL NOT_ACKED'] },
    },
    {
      name: 'neither an own stream nor the standing one',
      env: projector,
      ...stopped('NO_STREAM'),
      expect: { code: 'NO_STREAM', class: 'config' },
    },
    {
      name: 'denied',
      env: projector,
      ...stopped('NO_PERMISSION'),
      expect: { code: 'NO_PERMISSION', class: 'config' },
    },
    { name: 'full', env: projector, ...stopped('DISK_FULL'), expect: { code: 'DISK_FULL' } },
  ],
  ignores: [{ name: 'in the standing stream', env: projector, facts: { ...trip, stream: 'standing' } }],
}

const bucket: JsonObject = {
  user: 'schemas',
  name: 'KV_ARQON_SCHEMAS',
  isThere: true,
  subjects: ['$KV.ARQON_SCHEMAS.>'],
  retention: 'limits',
  storage: 'file',
  hasLeader: true,
  isCurrent: true,
  maxLag: 0,
  maxSilentS: 0,
}
const episodes: JsonObject = { ...bucket, user: 'projector', name: 'EPISODES', subjects: ['continuum.episode.v1'] }
const only = (...streams: readonly JsonObject[]): StreamsFacts => ({ streams })
const wrong = (name: string, change: JsonObject, code: string) => ({
  name,
  env: schemas,
  facts: only(episodes, { ...bucket, ...change }),
  expect: { code },
})

export const streams: Worlds<StreamsFacts> = {
  passes: [
    { name: 'bucket and stream', env: { ...schemas, ...projector }, facts: only(bucket, episodes) },
    { name: 'replicas just in time', env: schemas, facts: only({ ...bucket, maxLag: 200, maxSilentS: 5 }) },
  ],
  fails: [
    wrong('no bucket', { isThere: false }, 'STREAM_MISSING'),
    {
      name: 'no stream of episodes',
      env: projector,
      facts: only({ ...episodes, isThere: false }),
      expect: { code: 'STREAM_MISSING', findings: ['NATS_URL STREAM_MISSING'] },
    },
    wrong('other subjects', { subjects: ['$KV.OTHER.>'] }, 'WRONG_SUBJECTS'),
    wrong('no subjects', { subjects: [] }, 'WRONG_SUBJECTS'),
    wrong('subjects of another form', { subjects: '$KV.ARQON_SCHEMAS.>' }, 'WRONG_SUBJECTS'),
    wrong('too short', { subjects: ['$KV.ARQON_SCHEMAS', '$KV'] }, 'WRONG_SUBJECTS'),
    wrong('only some keys of the bucket', { subjects: ['$KV.ARQON_SCHEMAS.*'] }, 'WRONG_SUBJECTS'),
    {
      name: 'longer subjects of the same beginning',
      env: projector,
      facts: only({ ...episodes, subjects: ['continuum.episode', 'continuum.episode.v1.>', 'other.*.v1'] }),
      expect: { code: 'WRONG_SUBJECTS', findings: ['NATS_URL WRONG_SUBJECTS'] },
    },
    wrong('in memory', { storage: 'memory' }, 'NOT_ON_DISK'),
    wrong('dropped while nobody reads', { retention: 'interest' }, 'WRONG_RETENTION'),
    wrong('no leader', { hasLeader: false }, 'NO_LEADER'),
    wrong('a replica that is behind', { maxLag: 201 }, 'REPLICA_BEHIND'),
    wrong('a replica that is silent', { maxSilentS: 5.1 }, 'REPLICA_BEHIND'),
    wrong('a replica that is away', { isCurrent: false }, 'REPLICA_BEHIND'),
    {
      name: 'none was asked for',
      env: schemas,
      facts: only(),
      expect: { status: 'error', code: 'BAD_FACTS', class: 'unknown' },
    },
  ],
  ignores: [
    { name: 'a queue of work', env: projector, facts: only({ ...episodes, retention: 'workqueue' }) },
    { name: 'a wider stream', env: projector, facts: only({ ...episodes, subjects: ['a.b', 'continuum.>'] }) },
    { name: 'a stream with a star', env: projector, facts: only({ ...episodes, subjects: ['continuum.*.v1'] }) },
  ],
}

const apart = (offsetMs: number, uncertaintyMs: number) => ({ env: schemas, facts: { offsetMs, uncertaintyMs } })

export const skew: Worlds<SkewFacts> = {
  passes: [
    { name: 'together', ...apart(3, 1) },
    { name: '2 s ahead, beyond what can be known', ...apart(2_010, 10) },
    { name: '2 s behind', ...apart(-2_010, 10) },
  ],
  fails: [
    {
      name: 'more than 2 s ahead',
      ...apart(2_011, 10),
      expect: { code: 'SKEWED', findings: ['clock SKEWED'] },
    },
    { name: 'more than 2 s behind', ...apart(-2_011, 10), expect: { code: 'SKEWED' } },
    { name: 'no time', env: schemas, ...stopped('MALFORMED'), expect: { status: 'error', code: 'MALFORMED' } },
    {
      name: 'may make no consumer',
      env: schemas,
      ...stopped('NO_PERMISSION'),
      expect: { code: 'NO_PERMISSION', class: 'config' },
    },
  ],
  ignores: [{ name: 'a slow way, the same time', ...apart(900, 900) }],
  skips: [{ name: 'nobody of us uses JetStream' }],
}
