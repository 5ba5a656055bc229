// The projector on a database of its own: a kept connection for each worker, which is given to nobody before the schema
// was looked at, and others for people's questions.
import type { Clock } from '../base/clock.ts'
import type { Closers } from '../base/closers.ts'
import type { Logger } from '../base/logger.ts'
import type { PostgresAddress } from '../postgres/address.ts'
import {
  type ConnectionLimits,
  keepConnection,
  type KeptConnection,
  type PostgresConnection,
} from '../postgres/connection.ts'
import { createProjector, type Outcome, type Projector } from './projector.ts'
import { requireProjectorSchema } from './schema.ts'
import { createSql, type Sql } from './sql.ts'

const laneLimits: ConnectionLimits = { connectMs: 2_000, answerMs: 30_000, statementMs: 25_000 }
const askLimits: ConnectionLimits = { connectMs: 2_000, answerMs: 10_000, statementMs: 9_000 }

export interface OpenProjectorOptions {
  readonly address: PostgresAddress
  readonly workers: number
  readonly maxDeadLetters: number
  readonly clock: Clock
  readonly logger: Logger
  /** What is opened is closed by these. */
  readonly closers: Closers
  readonly onOutcomes?: (outcomes: readonly Outcome[]) => void
}

export interface Worker {
  readonly projector: Projector
  readonly connection: KeptConnection
}

export interface OpenProjector {
  readonly workers: readonly [Worker, ...Worker[]]
  readonly sql: Sql
}

/** Rejects with STORE_OPEN_FAILED where somebody has to change something, else with STORE_UNAVAILABLE. */
export async function openProjector(options: OpenProjectorOptions): Promise<OpenProjector> {
  const { address, clock, logger, closers, maxDeadLetters, onOutcomes } = options
  async function openWorker(): Promise<Worker> {
    const connection = await keepConnection({ address, limits: laneLimits, logger, name: 'projector', prepare })
    closers.push('projector connection', () => connection.close())
    const projector = createProjector({
      query: (statement) => connection.query(statement),
      clock,
      maxDeadLetters,
      ...(onOutcomes !== undefined && { onOutcomes }),
    })
    return { projector, connection }
  }
  const workers: [Worker, ...Worker[]] = [await openWorker()]
  while (workers.length < options.workers) workers.push(await openWorker())
  const sql = createSql(address, askLimits)
  closers.push('projector questions', () => sql.close())
  return { workers, sql }
}

async function prepare(connection: PostgresConnection): Promise<void> {
  await requireProjectorSchema(connection)
  // An event is acknowledged once it is committed: a commit that a crash undoes would lose it.
  await connection.query({
    text: "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
  })
}
