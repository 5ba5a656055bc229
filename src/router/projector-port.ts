// What answers the commands op.continuum.projector.*: the projection of episodes, wherever it is kept.
import type { JsonObject } from '../base/json.ts'

/** `tenant` absent: for all of them. */
export interface ProjectorPort {
  status(tenant: string | undefined): Promise<JsonObject>
  project(event: JsonObject, tenant: string | undefined): Promise<JsonObject>
  find(key: { tenant: string; agent: string; episode: string }): Promise<JsonObject>
  list(query: {
    tenant: string | undefined
    agent: string | undefined
    limit: number
    after: string | undefined
  }): Promise<JsonObject>
  deadLetters(tenant: string | undefined, limit: number, after: string | undefined): Promise<JsonObject>
  replay(id: string, tenant: string | undefined, edited: JsonObject | undefined): Promise<JsonObject>
  backfill(query: {
    tenant: string | undefined
    agent: string | undefined
    from: string
    to: string
    dryRun: boolean
  }): Promise<JsonObject>
}
