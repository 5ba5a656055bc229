// The second half of the chain: what the server does with data, room and time. Only read.
import type { JsonObject } from '../../base/json.ts'
import { ErrorReply } from '../../valkey/resp.ts'
import type { CheckPorts } from '../check.ts'
import type { Report } from '../report.ts'
import { ProbeStop } from '../stops.ts'
import { listOf, numberIn, readInfo, textOf, withValkey } from './valkey-session.ts'

/** From INFO: managed services refuse CONFIG. What they leave out there is left out here. */
export async function probeEviction(ports: CheckPorts, signal: AbortSignal) {
  return await withValkey(ports, signal, async (client) => {
    const info = await readInfo(client)
    const policy = info.get('maxmemory_policy')
    const maxMemory = numberIn(info, 'maxmemory')
    return { ...(policy !== undefined && { policy }), ...(maxMemory !== undefined && { maxMemory }) }
  })
}

export async function probePersistence(ports: CheckPorts, signal: AbortSignal) {
  return await withValkey(ports, signal, async (client) => {
    const info = await readInfo(client)
    const aof = info.get('aof_enabled')
    if (aof === undefined) throw new ProbeStop('MALFORMED', 'INFO says nothing of persistence', 'read')
    const config = await client.ask(['CONFIG', 'GET', 'save'])
    const savePoints = config instanceof ErrorReply ? undefined : listOf(config)[1]
    const lastSaveS = numberIn(info, 'rdb_last_save_time')
    return {
      isAofOn: aof === '1',
      isAofWriting: info.get('aof_last_write_status') !== 'err' && info.get('aof_last_bgrewrite_status') !== 'err',
      snapshots: savePoints === undefined ? snapshotsByInfo(info) : textOf(savePoints) === '' ? 'off' : 'on',
      isSnapshotWell: info.get('rdb_last_bgsave_status') !== 'err',
      ...(lastSaveS !== undefined && { sinceSaveS: Math.max(0, Math.round(ports.clock.now() / 1_000 - lastSaveS)) }),
    }
  })
}

/** The save points stand in CONFIG alone; that it has saved since its start stands in INFO. */
function snapshotsByInfo(info: ReadonlyMap<string, string>): string {
  return (numberIn(info, 'rdb_saves') ?? 0) > 0 ? 'on' : 'untold'
}

export async function probeHeadroom(ports: CheckPorts, signal: AbortSignal) {
  return await withValkey(ports, signal, async (client) => {
    const info = await readInfo(client)
    const fields = {
      usedMemory: numberIn(info, 'used_memory'),
      maxMemory: numberIn(info, 'maxmemory'),
      clients: numberIn(info, 'connected_clients'),
      maxClients: numberIn(info, 'maxclients'),
    }
    const told = Object.entries(fields).filter((entry): entry is [string, number] => entry[1] !== undefined)
    // One of the clients is this probe.
    return { ...Object.fromEntries(told), replicas: replicasOf(info) }
  })
}

/** `slave0:ip=…,port=…,state=online,offset=…,lag=0` */
function replicasOf(info: ReadonlyMap<string, string>): { isOnline: boolean; lagS: number }[] {
  return [...info].flatMap(([name, text]) => {
    if (!/^(?:slave|replica)\d+$/.test(name)) return []
    const lag = /(?:^|,)lag=(\d+)/.exec(text)?.[1]
    return [{ isOnline: /(?:^|,)state=online(?:,|$)/.test(text), lagS: Number(lag ?? Number.MAX_SAFE_INTEGER) }]
  })
}

const samples = 5

/** The server's clock against ours at the middle of the round trip; the quickest of five knows best. */
export async function probeSkew(ports: CheckPorts, signal: AbortSignal) {
  return await withValkey(ports, signal, async (client) => {
    let best: { offsetMs: number; uncertaintyMs: number } | undefined
    for (let i = 0; i < samples; i++) {
      const startedMs = ports.clock.monotonic()
      const startedAtMs = ports.clock.now()
      const [seconds, micros] = listOf(await client.send(['TIME'])).map(Number)
      const uncertaintyMs = (ports.clock.monotonic() - startedMs) / 2
      const serverMs = Number(seconds) * 1_000 + Number(micros) / 1_000
      if (!Number.isFinite(serverMs)) throw new ProbeStop('MALFORMED', 'TIME is no time', 'read')
      if (best !== undefined && best.uncertaintyMs <= uncertaintyMs) continue
      best = { offsetMs: serverMs - (startedAtMs + uncertaintyMs), uncertaintyMs }
    }
    return best!
  })
}

const pings = 50

export async function probeLatency(ports: CheckPorts, signal: AbortSignal) {
  return await withValkey(ports, signal, async (client) => {
    const took: number[] = []
    for (let i = 0; i < pings; i++) {
      const startedMs = ports.clock.monotonic()
      await client.send(['PING'])
      took.push(ports.clock.monotonic() - startedMs)
    }
    took.sort((a, b) => a - b)
    const percentile = (share: number): number => took[Math.ceil(share * pings) - 1]!
    const green = await greenLatency(ports)
    return { samples: pings, p50Ms: percentile(0.5), p99Ms: percentile(0.99), ...(green !== undefined && { green }) }
  })
}

/** What the last green run that asked was answered, from the history in the data folder. */
async function greenLatency({ ctx }: CheckPorts): Promise<JsonObject | undefined> {
  const { lastGreen, readHistory } = await import('../replay/history.ts')
  const factsOf = ({ observations }: Report): JsonObject | undefined => {
    const answer = observations.results['dep.valkey.latency']?.answer
    return answer !== undefined && 'facts' in answer ? answer.facts : undefined
  }
  const asked = readHistory(ctx.resolution.values.dataDir).filter((run) => factsOf(run) !== undefined)
  const green = lastGreen(asked, ctx.profile)
  if (green === undefined) return undefined
  const { p50Ms = 0, p99Ms = 0 } = factsOf(green)!
  return { p50Ms, p99Ms }
}
