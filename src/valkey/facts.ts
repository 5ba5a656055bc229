// What a server says of itself: who it is, what it keeps, what it throws away. Read, never assumed.
import { BusError, isBusError } from '../base/errors.ts'
import { asList, asNumber, asText, asTextMap, type ValkeyReply } from './replies.ts'

export interface ServerFacts {
  /** New with each start of the server process. */
  readonly runId: string
  /** `7.0.15`; of Valkey its own number. */
  readonly version: string
  readonly product: 'redis' | 'valkey'
  readonly role: 'master' | 'replica'
  readonly connectedReplicas: number
  readonly isLoading: boolean
  readonly isCluster: boolean
  readonly isAofOn: boolean
  /** Undefined where the server does not let us read its configuration. */
  readonly fsync: 'always' | 'everysec' | 'no' | undefined
  /** The server forgoes fsync while it rewrites its files, whatever `fsync` says. */
  readonly skipsFsyncOnRewrite: boolean
  /** The last write to the append-only file worked. */
  readonly isAofHealthy: boolean
  /** Whether `WAITAOF` can prove that a write is on disk; tried only where `fsync` is not told. */
  readonly canProveFsync: boolean
  /** 0: no bound. */
  readonly maxMemory: number
  readonly evictionPolicy: string
}

type Send = (args: readonly string[]) => Promise<ValkeyReply>

export function isAtLeast(version: string, major: number, minor: number): boolean {
  const [a = 0, b = 0] = version.split('.').map(Number)
  return a > major || (a === major && b >= minor)
}

/** Rejects as `send` does; a refused CONFIG is not an error, for managed servers refuse it. */
export async function readFacts(send: Send): Promise<ServerFacts> {
  const [info, config] = await Promise.all([send(['INFO']), readConfig(send)])
  const fields = parseInfo(asText(info))
  const runId = fields.get('run_id') ?? ''
  if (runId === '') {
    throw new BusError('STORE_OPEN_FAILED', 'The server does not say its run id (INFO)', { reason: 'NO_RUN_ID' })
  }
  const valkeyVersion = fields.get('valkey_version')
  const version = valkeyVersion ?? fields.get('redis_version') ?? '0'
  const fsync = config?.get('appendfsync')
  const isAofOn = fields.get('aof_enabled') === '1'
  return {
    runId,
    version,
    product: valkeyVersion === undefined ? 'redis' : 'valkey',
    role: fields.get('role') === 'master' ? 'master' : 'replica',
    connectedReplicas: Number(fields.get('connected_slaves') ?? 0),
    isLoading: fields.get('loading') === '1',
    isCluster: fields.get('cluster_enabled') === '1',
    isAofOn,
    fsync: fsync === 'always' || fsync === 'everysec' || fsync === 'no' ? fsync : undefined,
    skipsFsyncOnRewrite: config?.get('no-appendfsync-on-rewrite') === 'yes',
    isAofHealthy: fields.get('aof_last_write_status') !== 'err',
    canProveFsync: config === undefined && isAofOn && isAtLeast(version, 7, 2) && (await canAskForDisk(send)),
    maxMemory: Number(fields.get('maxmemory') ?? 0),
    evictionPolicy: fields.get('maxmemory_policy') ?? 'noeviction',
  }
}

// `everysec` takes a second and a little more. Less than a command of history may stay unanswered.
const waitAofMs = 1_350

/** Is everything that this connection has written on the server's own disk? Waits for it, but not for ever. */
export async function isOnDisk(send: Send): Promise<boolean> {
  return asNumber(asList(await send(['WAITAOF', '1', '0', String(waitAofMs)]))[0]) >= 1
}

/** May this user ask so, and is there an append-only file to ask about? Does not wait for it. */
async function canAskForDisk(send: Send): Promise<boolean> {
  try {
    await send(['WAITAOF', '1', '0', '1'])
    return true
  } catch (error) {
    if (isRefusal(error)) return false
    throw error
  }
}

function isRefusal(error: unknown): boolean {
  return isBusError(error) && ['DENIED', 'REFUSED'].includes(String(error.details['reason']))
}

/** Undefined where it is refused or unknown. */
async function readConfig(send: Send): Promise<Map<string, string> | undefined> {
  try {
    return asTextMap(await send(['CONFIG', 'GET', 'appendfsync', 'no-appendfsync-on-rewrite']))
  } catch (error) {
    if (isRefusal(error)) return undefined
    throw error
  }
}

/** The fields of INFO; its headings are left out. */
export function parseInfo(text: string): Map<string, string> {
  const fields = new Map<string, string>()
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':')
    if (colon > 0 && !line.startsWith('#')) fields.set(line.slice(0, colon), line.slice(colon + 1))
  }
  return fields
}
