// op.continuum.projector.*: the Continuum projection of one's own tenant, for admins (original-contract 4.4). An
// operator who names no tenant works for all.
import { BusError, invalid } from '../../base/errors.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../../base/json.ts'
import { limitOf, optionalFlag, optionalText, requiredText } from '../args.ts'
import type { Command, CommandCall, CommandPorts } from '../command.ts'
import type { ProjectorPort } from '../projector-port.ts'

const pageLimit = { min: 1, max: 500, default: 100 }
const limitHelp = '1 to 500, default 100'
const afterHelp = '`next` of the page before'
const tenantHelp = 'of operators only: one tenant, instead of all'

function requirePort({ projector }: CommandPorts): ProjectorPort {
  if (projector === undefined) {
    const message = 'The projector is off at this bus; set ARQONBUS_PROJECTOR_ENABLED=true and ARQONBUS_POSTGRES_URL'
    throw new BusError('FEATURE_DISABLED', message)
  }
  return projector
}

function scopeOf({ client, request, args, tenant }: CommandCall): string | undefined {
  const isForAll =
    client.identity.role === 'operator' && (args['tenant_id'] ?? request.metadata['tenant_id']) === undefined
  return isForAll ? undefined : tenant
}

function eventOf(value: JsonValue | undefined): JsonObject {
  if (isJsonObject(value)) return value
  throw invalid('BAD_ARGUMENT', 'event must be an object', { field: 'event' })
}

export const projectorStatus: Command = {
  summary: 'How many episodes, events and dead letters there are',
  args: { tenant_id: tenantHelp },
  permission: 'admin',
  async run(call, ports) {
    const data = await requirePort(ports).status(scopeOf(call))
    return { message: 'Projector', data }
  },
}

export const projectEvent: Command = {
  summary: 'Project one episode event; one that is not as it has to be becomes a dead letter',
  args: { event: 'the event, an object; of the tenant of the token' },
  permission: 'admin',
  async run(call, ports) {
    const port = requirePort(ports)
    const event = eventOf(call.args['event'])
    const scope = scopeOf(call)
    const named = event['tenant_id']
    if (scope !== undefined && typeof named === 'string' && named !== scope) throw new BusError('TENANT_MISMATCH')
    const data = await port.project(event, scope)
    return { message: 'Judged', data }
  },
}

export const projectorGet: Command = {
  summary: 'One episode as it is now, deleted ones included',
  args: { agent_id: 'whose', episode_id: 'which', tenant_id: 'of operators: whose tenant' },
  permission: 'admin',
  async run(call, ports) {
    const port = requirePort(ports)
    const tenant = scopeOf(call)
    if (tenant === undefined) throw invalid('MISSING_ARGUMENT', 'tenant_id is missing', { field: 'tenant_id' })
    const [agent, episode] = [requiredText(call.args, 'agent_id'), requiredText(call.args, 'episode_id')]
    const data = await port.find({ tenant, agent, episode })
    return { message: data['found'] === true ? 'Found' : 'Not found', data }
  },
}

export const projectorList: Command = {
  summary: 'Episodes, the newest update first',
  args: { agent_id: 'one agent only', limit: limitHelp, after: afterHelp, tenant_id: tenantHelp },
  permission: 'admin',
  async run(call, ports) {
    const port = requirePort(ports)
    const { args } = call
    const limit = limitOf(args, 'limit', pageLimit)
    const agent = optionalText(args, 'agent_id')
    const data = await port.list({ tenant: scopeOf(call), agent, limit, after: optionalText(args, 'after') })
    return { message: 'Episodes', data }
  },
}

export const deadLetterList: Command = {
  summary: 'Dead letters, newest first',
  args: { limit: limitHelp, after: afterHelp, tenant_id: tenantHelp },
  permission: 'admin',
  async run(call, ports) {
    const port = requirePort(ports)
    const limit = limitOf(call.args, 'limit', pageLimit)
    const data = await port.deadLetters(scopeOf(call), limit, optionalText(call.args, 'after'))
    return { message: 'Dead letters', data }
  },
}

export const deadLetterReplay: Command = {
  summary: 'Judge a dead letter again and project it; one that is still refused stays',
  args: {
    dlq_id: 'which',
    event: 'in place of what it holds: the event as it should have been',
    tenant_id: tenantHelp,
  },
  permission: 'admin',
  async run(call, ports) {
    const port = requirePort(ports)
    const id = requiredText(call.args, 'dlq_id')
    const given = call.args['event']
    const edited = given === undefined || given === null ? undefined : eventOf(given)
    const data = await port.replay(id, scopeOf(call), edited)
    return { message: data['replayed'] === true ? 'Replayed' : 'Not replayed', data }
  },
}

export const projectorBackfill: Command = {
  summary: 'Rebuild, from the event log, the episodes that have an event in a range of at most 31 days',
  args: {
    from_ts: 'RFC 3339 time of an event, inclusive',
    to_ts: 'the same, the end',
    agent_id: 'one agent only',
    dry_run: '`true`: say what would change; default false',
    tenant_id: tenantHelp,
  },
  permission: 'admin',
  async run(call, ports) {
    const port = requirePort(ports)
    const { args } = call
    const [from, to] = [requiredText(args, 'from_ts'), requiredText(args, 'to_ts')]
    const dryRun = optionalFlag(args, 'dry_run', false)
    const data = await port.backfill({ tenant: scopeOf(call), agent: optionalText(args, 'agent_id'), from, to, dryRun })
    return { message: dryRun ? 'What would change' : 'Rebuilt', data }
  },
}
