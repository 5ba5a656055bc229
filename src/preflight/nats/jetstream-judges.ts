// What the facts of the JetStream checks mean. Pure.
import type { JsonObject } from '../../base/json.ts'
import { episodeSubject } from '../../projector/stream.ts'
import type { Finding } from '../../rules/rule.ts'
import { type CheckResult, failed, judgeAll, passed } from '../check.ts'
import { listIn, numberIn, textIn } from '../json-fields.ts'
import type { JetStreamFacts, RoundTripFacts, SkewFacts, StreamsFacts } from './jetstream-probes.ts'

const variable = 'NATS_URL'
const finding = (code: string, found: string, fix: string): Finding => ({ code, variable, found, fix })

/** Of memory and storage: a stream that is nearly full takes the next small message and refuses the next large one. */
const fullShare = 0.95

export function judgeJetStream({ isAccountShown, limits, toBeMade }: JetStreamFacts): CheckResult {
  const findings = limits.flatMap((row): Finding[] => {
    const [what, used, limit] = [textIn(row, 'what'), numberIn(row, 'used'), numberIn(row, 'limit')]
    if (limit <= 0 || used < threshold(what, limit, toBeMade)) return []
    return [
      finding(
        'LIMIT_REACHED',
        `${what}: ${used} of ${limit} are used`,
        `raise the account's limit of ${what}, or free some`,
      ),
    ]
  })
  return judgeAll(findings, isAccountShown ? 'on, with room' : 'on; the user may not see the limits of its account')
}

/** Streams count where one is to be made; a consumer more is made by every reader. */
function threshold(what: string, limit: number, toBeMade: number): number {
  if (what === 'memory' || what === 'storage') return limit * fullShare
  return what === 'streams' && toBeMade === 0 ? Number.POSITIVE_INFINITY : limit
}

export function judgeRoundTrip({ stream, isAcked, isEqual, left }: RoundTripFacts): CheckResult {
  if (!isAcked)
    return failed('NOT_STORED', variable, 'published without a sequence in return', 'look at the log of nats-server')
  if (!isEqual)
    return failed('ALTERED', variable, 'what was stored came back otherwise', 'look at the disks of nats-server')
  if (left > 0) {
    return failed(
      'NOT_ACKED',
      variable,
      `${left} messages are left after the acknowledgement`,
      'look at the log of nats-server',
    )
  }
  return judgeAll([], 'stored, given, acknowledged', { stream })
}

/** As of Valkey and Postgres. */
const mostSkewMs = 2_000

export function judgeSkew({ offsetMs, uncertaintyMs }: SkewFacts): CheckResult {
  const found = `${Math.round(offsetMs)} ms, within ${Math.ceil(uncertaintyMs)} ms`
  return Math.abs(offsetMs) - uncertaintyMs > mostSkewMs
    ? failed('SKEWED', 'clock', found, 'mend the time service (chronyc tracking) of this host and of the server')
    : passed(found, { offset: '<=2s' })
}

/** As NATS' own command line has them. */
const maxLag = 200
const maxSilentS = 5

export function judgeStreams({ streams }: StreamsFacts): CheckResult {
  if (streams.length === 0)
    return { status: 'error', code: 'BAD_FACTS', observed: 'no stream was asked for', class: 'unknown' }
  const findings = streams.flatMap((stream) => judgeStream(stream))
  return judgeAll(findings, streams.map((stream) => textIn(stream, 'name')).join(', '))
}

const makers: Readonly<Record<string, { readonly subject: string; readonly make: string }>> = {
  schemas: {
    subject: '$KV.ARQON_SCHEMAS.>',
    make: 'push the schemas (arqonbus schema push): that makes the bucket ARQON_SCHEMAS',
  },
  projector: {
    subject: episodeSubject,
    make: 'make it: nats stream add CONTINUUM_EPISODES --subjects continuum.episode.v1 --storage file --max-age 7d',
  },
}

function judgeStream(stream: JsonObject): Finding[] {
  const name = textIn(stream, 'name')
  const { subject, make } = makers[textIn(stream, 'user')]!
  if (stream['isThere'] !== true) return [finding('STREAM_MISSING', `there is no stream ${name}`, make)]
  const findings: Finding[] = []
  const add = (code: string, found: string, fix: string): void => {
    findings.push(finding(code, `stream ${name}: ${found}`, fix))
  }
  const subjects = listIn(stream, 'subjects').filter((pattern) => typeof pattern === 'string')
  if (!subjects.some((pattern) => covers(pattern, subject))) {
    add('WRONG_SUBJECTS', `keeps ${subjects.join(', ')}`, `nats stream edit: it has to keep ${subject}`)
  }
  if (stream['storage'] !== 'file') {
    add(
      'NOT_ON_DISK',
      `storage ${textIn(stream, 'storage')}`,
      'make it anew with --storage file: a restart empties this one',
    )
  }
  if (stream['retention'] !== 'limits' && stream['retention'] !== 'workqueue') {
    const fix = 'make it anew with --retention limits: this one drops what comes while nobody reads'
    add('WRONG_RETENTION', `retention ${textIn(stream, 'retention')}`, fix)
  }
  if (stream['hasLeader'] !== true) add('NO_LEADER', 'has no leader', 'start the servers of the cluster that are away')
  const isBehind = numberIn(stream, 'maxLag') > maxLag || numberIn(stream, 'maxSilentS') > maxSilentS
  if (stream['isCurrent'] !== true || isBehind) {
    const found = `a replica is ${numberIn(stream, 'maxLag')} behind, silent for ${Math.round(numberIn(stream, 'maxSilentS'))} s`
    add('REPLICA_BEHIND', found, 'start the server of that replica, or wait until it has caught up')
  }
  return findings
}

/** Does a stream's subject take in another, which may be a pattern itself? */
function covers(pattern: string, subject: string): boolean {
  const [wide, narrow] = [pattern.split('.'), subject.split('.')]
  const rest = wide.indexOf('>')
  const length = rest === -1 ? narrow.length : rest
  if (rest === -1 ? wide.length !== narrow.length : narrow.length <= rest) return false
  return wide.slice(0, length).every((token, i) => token === narrow[i] || (token === '*' && narrow[i] !== '>'))
}
