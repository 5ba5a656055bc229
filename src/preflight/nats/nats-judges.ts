// What the facts of the NATS checks mean. Pure.
import type { JsonObject } from '../../base/json.ts'
import type { Finding } from '../../rules/rule.ts'
import { type CheckResult, failed, judgeAll, type JudgePorts } from '../check.ts'
import { stops } from '../stops.ts'
import { numberIn, textIn } from '../json-fields.ts'
import { neededPayload } from './nats-facts.ts'
import type { PubSubFacts } from './nats-probes.ts'
import { rightsOf } from './rights.ts'

const variable = 'NATS_URL'
const finding = (code: string, found: string, fix: string): Finding => ({ code, variable, found, fix })

interface Servers {
  readonly servers: readonly JsonObject[]
}

export function judgeConnect({ servers }: Servers, { policy }: JudgePorts): CheckResult {
  const missing = servers.filter((server) => server['isReached'] !== true)
  const reached = servers.length - missing.length
  if (reached === 0 && missing.length === 0) {
    return { status: 'error', code: 'BAD_FACTS', observed: 'no server was tried', class: 'unknown' }
  }
  const isEnough = policy.natsServers === 'any' && reached > 0
  const [first] = missing
  if (first === undefined || isEnough) {
    return judgeAll([], `${reached} of ${servers.length} servers take us`, { all: missing.length === 0 })
  }
  const meaningOf = (server: JsonObject): (typeof stops)[string] => stops[textIn(server, 'code')] ?? stops['THREW']!
  const wordsOf = (server: JsonObject): string =>
    `${textIn(server, 'server')}: ${textIn(server, 'step')}: ${textIn(server, 'observed')}`
  const refused = missing.find((server) => meaningOf(server).status === 'fail')
  if (refused === undefined) {
    const { class: fault } = meaningOf(first)
    return { status: 'error', code: textIn(first, 'code'), observed: missing.map(wordsOf).join('; '), class: fault }
  }
  const [worst, ...others] = [refused, ...missing.filter((server) => server !== refused)].map((server) =>
    finding(textIn(server, 'code'), wordsOf(server), meaningOf(server).fix),
  )
  return { status: 'fail', findings: [worst!, ...others], class: meaningOf(refused).class }
}

/** JetStream's key-value API as we use it is of 2.9. */
const minVersion = [2, 9] as const

export function judgeIdentity({ servers }: Servers, { ctx }: JudgePorts): CheckResult {
  if (servers.length === 0) return { status: 'error', code: 'BAD_FACTS', observed: 'no server spoke', class: 'unknown' }
  const needed = neededPayload(ctx)
  const findings = servers.flatMap((server) => judgeServer(server, needed, ctx.profile === 'prod'))
  const many = new Set(servers.map((server) => textIn(server, 'id')))
  const clusters = new Set(servers.map((server) => textIn(server, 'cluster')))
  if (many.size > 1 && (clusters.size > 1 || clusters.has(''))) {
    const names = servers.map((server) => `${textIn(server, 'server')}: ${textIn(server, 'cluster') || 'none'}`)
    findings.push(
      finding(
        'NOT_ONE_CLUSTER',
        `clusters differ: ${names.join(', ')}`,
        'name servers of one cluster: what is published at one has to arrive at all (cluster { name, routes })',
      ),
    )
  }
  const versions = [...new Set(servers.map((server) => textIn(server, 'version')))].sort()
  return judgeAll(findings, versions.join(', '), { versions })
}

function judgeServer(server: JsonObject, needed: number, isProd: boolean): Finding[] {
  const where = textIn(server, 'server')
  const maxPayload = numberIn(server, 'maxPayload')
  const findings: Finding[] = []
  const add = (code: string, found: string, fix: string): void => {
    findings.push(finding(code, `${where} ${found}`, fix))
  }
  if (!isNewEnough(textIn(server, 'version'))) {
    add('TOO_OLD', `is version ${textIn(server, 'version')}`, 'run nats-server 2.9 or later')
  }
  if (maxPayload < needed) {
    const room = `takes ${maxPayload} bytes a message, and ${needed} are needed`
    add('PAYLOAD_TOO_SMALL', room, 'raise max_payload to ARQONBUS_MAX_MESSAGE_SIZE + 16384, or lower that limit')
  }
  if (server['isLeaving'] === true) add('LEAVING', 'is about to end (lame duck)', 'name another server, or wait for it')
  if (isProd && server['isAuthRequired'] !== true) {
    add('NO_AUTH', 'lets everybody in', 'give nats-server users with the permissions of docs/link.md')
  }
  if (isProd && server['isTlsRequired'] !== true) {
    add('NO_TLS', 'lets clients in without TLS', 'give nats-server a tls block, so that it asks every client for it')
  }
  return findings
}

function isNewEnough(version: string): boolean {
  const match = /^(\d+)\.(\d+)\./.exec(version)
  if (match === null) return false
  const [major, minor] = [Number(match[1]), Number(match[2])]
  return major > minVersion[0] || (major === minVersion[0] && minor >= minVersion[1])
}

export function judgePubSub({ proof, received, isEqual }: PubSubFacts): CheckResult {
  if (received === 0) {
    const fix = 'look at the routes between the servers of NATS_URL: what is published at one has to arrive at all'
    return failed('NOT_RECEIVED', variable, 'published, and never received', fix)
  }
  if (received > 1) {
    const fix = 'look for a subject mapping or a loop of routes that doubles messages'
    return failed('DOUBLED', variable, `received ${received} times`, fix)
  }
  if (proof === 'loop' && isEqual !== true) {
    const fix = 'look at what stands between: something rewrites messages'
    return failed('ALTERED', variable, 'received, and not as it was sent', fix)
  }
  const words = proof === 'loop' ? 'received once, byte for byte' : 'taken; this user may hear nothing that it may say'
  return judgeAll([], words, { proof })
}

export interface PermissionFacts {
  readonly isAuthRequired: boolean
  /** Has the user a list of rights at all? */
  readonly isRestricted: boolean
  /** Names of rights.ts. */
  readonly allowed: readonly string[]
}

/**
 * A user without any list of rights is a finding in production only, and one of a server that asks nobody for a user is
 * that of dep.nats.identity: there is nobody to whom rights could be given.
 */
export function judgePermissions(
  { isAuthRequired, isRestricted, allowed }: PermissionFacts,
  { ctx }: JudgePorts,
): CheckResult {
  const { needed, forbidden, nobodys } = rightsOf(ctx, '')
  const findings = needed
    .filter(({ name }) => !allowed.includes(name))
    .map(({ name }) =>
      finding('DENIED', `the user of NATS_URL may not ${name}`, `grant it: ${name} (docs/link.md has the whole list)`),
    )
  const isProd = ctx.profile === 'prod'
  const isJudged = isAuthRequired && (isRestricted || isProd)
  const tooMuch = (isProd ? [...forbidden, ...nobodys] : forbidden).filter(
    ({ name }) => isJudged && allowed.includes(name),
  )
  for (const { name } of tooMuch) {
    const fix = `take it away: ${name}; allow only what docs/link.md lists`
    findings.push(finding('TOO_MUCH', `the user of NATS_URL may ${name}`, fix))
  }
  return judgeAll(
    findings,
    isRestricted ? 'what is needed, and not what is forbidden' : 'the user has no list of rights',
  )
}

const dayMs = 86_400_000
/** A JWT has to be good for longer. */
const leastDays = 7

export function judgeCredential(
  { credentials }: { readonly credentials: readonly JsonObject[] },
  { now }: JudgePorts,
): CheckResult {
  if (credentials.length === 0) return { status: 'error', code: 'BAD_FACTS', observed: 'no JWT', class: 'unknown' }
  const ending = credentials.filter((one) => typeof one['expires'] === 'number')
  const findings = ending.flatMap((one): Finding[] => {
    const leftMs = numberIn(one, 'expires') * 1_000 - now
    if (leftMs > leastDays * dayMs) return []
    const fix = 'have a JWT issued that is good for longer, and put it into NATS_URL'
    const where = textIn(one, 'server')
    if (leftMs <= 0) return [finding('EXPIRED', `the JWT for ${where} has ended`, fix)]
    return [finding('EXPIRES_SOON', `the JWT for ${where} has ${Math.floor(leftMs / dayMs)} days left`, fix)]
  })
  return judgeAll(findings, `${ending.length} of ${credentials.length} end, none of them soon`, { left: '>7d' })
}
