// What the router and the HTTP server tell an audit log: commands of administrators, and attempts across tenants.
import type { BusError } from '../base/errors.ts'
import type { JsonObject } from '../base/json.ts'
import type { Client } from '../session/client.ts'
import type { Permission } from './command.ts'

export interface AuditRecord {
  readonly tenant: string
  readonly subject: string
  readonly clientId?: string
  readonly action: string
  /** `done`, or the code of the refusal. */
  readonly outcome: string
  readonly details?: Readonly<Record<string, string | number | boolean>>
}

/** Takes note and returns at once; never throws. */
export interface Audit {
  record(entry: AuditRecord): void
}

export const noAudit: Audit = { record() {} }

const who = ({ id, identity }: Client) => ({ tenant: identity.tenant, subject: identity.subject, clientId: id })

/** An attempt across tenants; every other refusal is none of an audit's. */
export function auditRefusal(audit: Audit, client: Client, error: BusError, command?: string): void {
  if (error.code !== 'TENANT_MISMATCH') return
  const details = command === undefined ? {} : { command }
  audit.record({ ...who(client), action: 'refused.TENANT_MISMATCH', outcome: error.code, details })
}

/** Those of the projector that change something. */
const changing: readonly string[] = ['project_event', 'dlq.replay', 'backfill'].map(
  (tail) => `op.continuum.projector.${tail}`,
)

/** A command that manages channels or changes the projection, with the place it names and how it ended. */
export function auditCommand(
  audit: Audit,
  client: Client,
  command: { readonly name: string; readonly permission: Permission; readonly args: JsonObject },
  outcome: string,
): void {
  if (command.permission !== 'channel_management' && !changing.includes(command.name)) return
  const { room, channel, tenant_id: named } = command.args
  const details: Record<string, string> = {}
  for (const [key, value] of Object.entries({ room, channel, named })) {
    if (typeof value === 'string') details[key] = value
  }
  audit.record({ ...who(client), action: `command.${command.name}`, outcome, details })
}
