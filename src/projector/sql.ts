// Statements for people: on connections made when they are needed, each used by one caller at a time, with limits of
// their own, so that nobody's question holds up the lane.
import type { PostgresAddress } from '../postgres/address.ts'
import {
  type ConnectionLimits,
  openConnection,
  type PostgresConnection,
  type Row,
  type Statement,
} from '../postgres/connection.ts'

type Query = (statement: Statement) => Promise<readonly Row[]>

export interface Sql {
  readonly query: Query
  /** Rolled back when `work` rejects. */
  transaction<T>(work: (query: Query) => Promise<T>): Promise<T>
  close(): Promise<void>
}

/** At most `maxConnections` at once; who comes later waits. */
export function createSql(address: PostgresAddress, limits: ConnectionLimits, maxConnections = 2): Sql {
  const idle: PostgresConnection[] = []
  const waiting: (() => void)[] = []
  let free = maxConnections
  let isClosed = false

  async function withConnection<T>(work: (connection: PostgresConnection) => Promise<T>): Promise<T> {
    if (free > 0) free--
    else await new Promise<void>((resolve) => waiting.push(resolve))
    let connection = idle.pop()
    try {
      if (connection?.isAlive !== true) connection = await openConnection({ address, limits })
      return await work(connection)
    } finally {
      if (connection !== undefined) {
        if (isClosed || !connection.isAlive) await connection.close()
        else idle.push(connection)
      }
      const next = waiting.shift()
      if (next === undefined) free++
      else next()
    }
  }

  return {
    query: (statement) => withConnection((connection) => connection.query(statement)),
    transaction: (work) =>
      withConnection(async (connection) => {
        await connection.query({ text: 'BEGIN' })
        try {
          const result = await work((statement) => connection.query(statement))
          await connection.query({ text: 'COMMIT' })
          return result
        } catch (error) {
          if (connection.isAlive) await connection.query({ text: 'ROLLBACK' }).catch(() => undefined)
          throw error
        }
      }),
    async close() {
      isClosed = true
      await Promise.all(idle.splice(0).map((connection) => connection.close()))
    },
  }
}
