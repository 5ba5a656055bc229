// Which servers stand behind addresses, by what they say of themselves: two addresses, names and tunnels apart, can be
// one server (preflight 5, 27).
import { findPostgresUrl } from '../../config/load.ts'
import type { JsonObject } from '../../base/json.ts'
import { createRuleContext } from '../../rules/context.ts'
import { isExplicit } from '../../rules/explicit.ts'
import type { RuleContext } from '../../rules/rule.ts'
import type { CheckPorts } from '../check.ts'
import { addressOf as natsAddressOf, serversOf } from '../nats/nats-facts.ts'
import { toStop as toNatsStop } from '../nats/nats-probes.ts'
import { addressOf as postgresAddressOf, look, textIn } from '../postgres/look.ts'
import { sha256 } from '../runtime/host.ts'
import { ProbeStop } from '../stops.ts'
import { addressOf as valkeyAddressOf, readInfo, withValkey } from '../valkey/valkey-session.ts'

/** `{service, server, identity}`; `{service, server, code, observed}` where it could not be read. */
export type Identity = JsonObject

const stepMs = 2_000

/** Hashed: enough to compare, nothing to look for. */
const hashed = (service: string, id: string): string => sha256(`${service} ${id}`).slice(0, 'sha256:'.length + 16)

async function identityOf(service: string, server: string, read: () => Promise<string>): Promise<Identity> {
  try {
    return { service, server, identity: hashed(service, await read()) }
  } catch (error) {
    const { code, observed } =
      error instanceof ProbeStop ? error.stopped : { code: 'THREW', observed: error instanceof Error ? error.name : '' }
    return { service, server, code, observed }
  }
}

/** One for each store and each NATS server that the configuration names, in a fixed order. Never rejects. */
export async function readIdentities(ports: CheckPorts, signal: AbortSignal): Promise<Identity[]> {
  const { ctx, runId } = ports
  const looks: Promise<Identity>[] = []
  if (ctx.resolution.values.valkeyUrl !== undefined) {
    const read = async (): Promise<string> =>
      await withValkey(ports, signal, async (client) => {
        const id = (await readInfo(client, 'server')).get('run_id')
        if (id === undefined) throw new ProbeStop('MALFORMED', 'INFO names no run_id', 'read')
        return id
      })
    looks.push(identityOf('valkey', 'ARQONBUS_VALKEY_URL', read))
  }
  if (findPostgresUrl(ctx.resolution) !== undefined) {
    // Of the cluster: a restart leaves it as it is, and a standby has that of its primary.
    const read = async (): Promise<string> =>
      await look(ports, async ({ ask }) =>
        textIn(await ask('SELECT system_identifier::text AS id FROM pg_control_system()'), 'id'),
      )
    looks.push(identityOf('postgres', 'ARQONBUS_POSTGRES_URL', read))
  }
  if (isExplicit(ctx, 'natsUrl')) {
    const { probeNats } = await import('../../link/nats-probe.ts')
    for (const server of natsServers(ctx)) {
      const read = async (): Promise<string> => {
        const options = { name: `arqon-preflight-${runId}`, timeoutMs: stepMs }
        const probe = await probeNats(server, options).catch((error: unknown) => {
          throw toNatsStop(error)
        })
        probe.close()
        return probe.greeting.id
      }
      looks.push(identityOf('nats', natsAddressOf(server), read))
    }
  }
  return await Promise.all(looks)
}

/** A list that cannot be read is found by the rules. */
function natsServers(ctx: RuleContext): ReturnType<typeof serversOf> {
  try {
    return serversOf(ctx)
  } catch {
    return []
  }
}

/** Of the servers that a suite's environment offers to it. */
export async function readDisposable(
  ports: CheckPorts,
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Identity[]> {
  const named = {
    ARQONBUS_VALKEY_URL: env['ARQONBUS_TEST_VALKEY_URL'],
    ARQONBUS_POSTGRES_URL: env['ARQONBUS_TEST_POSTGRES_URL'],
    NATS_URL: env['ARQONBUS_TEST_NATS_URL'],
  }
  const given = Object.entries(named).filter(([, value]) => value !== undefined)
  if (given.length === 0) return []
  return await readIdentities({ ...ports, ctx: createRuleContext(Object.fromEntries(given)) }, signal)
}

/** A usual port of this machine: whoever writes that may mean any server. */
const saysNothing = /^(?:localhost|127(?:\.\d+){3}|\[::1\]):(?:6379|5432|4222)$/

/** Texts that only somebody who means the judged servers writes: `host:port`, or the path of a socket. */
export async function telltales({ ctx }: Pick<CheckPorts, 'ctx'>): Promise<string[]> {
  const shown: string[] = []
  const quietly = async (read: () => Promise<string> | string): Promise<void> => {
    try {
      shown.push(await read())
    } catch {
      // No address: the rules say so.
    }
  }
  if (ctx.resolution.values.valkeyUrl !== undefined) await quietly(() => valkeyAddressOf({ ctx }).shown)
  if (findPostgresUrl(ctx.resolution) !== undefined) {
    await quietly(async () => (await postgresAddressOf(ctx)).shown)
  }
  if (isExplicit(ctx, 'natsUrl')) shown.push(...natsServers(ctx).map(natsAddressOf))
  // Several hosts of one address are shown with commas, a database behind a slash.
  const places = shown.flatMap((text) =>
    text.startsWith('/') ? [text] : text.split(/[,/]/).filter((part) => /:\d+$/.test(part)),
  )
  return [...new Set(places)].filter((place) => !saysNothing.test(place)).sort()
}
