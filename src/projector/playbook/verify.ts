// Is the projection what the event log makes of it? Looks, and writes nothing.
import type { Clock } from '../../base/clock.ts'
import type { PostgresAddress } from '../../postgres/address.ts'
import { openConnection, slowLimits } from '../../postgres/connection.ts'
import { backfill } from '../backfill.ts'
import { requireProjectorSchema } from '../schema.ts'
import { differing, type Digests, digestSettings, type LaneTable, readDigests } from './digests.ts'

export interface Verification {
  readonly ok: boolean
  readonly tables: Digests
  /** Tables that differ from a manifest; absent where none was given. */
  readonly differing?: readonly LaneTable[]
  /** Episodes that have events and no row. */
  readonly orphanEpisodes: number
  /** Rows that do not show the newest event of their episode as it is in the log: stale, or changed by hand. */
  readonly staleRows: number
  /** Rows without any event. */
  readonly rowsWithoutEvents: number
  /** Rows so far ahead of the server's clock that nothing later would take their place. */
  readonly frozenRows: number
}

export async function verifyProjection(
  address: PostgresAddress,
  { clock, expected, signal }: { clock: Clock; expected?: Digests | undefined; signal?: AbortSignal },
): Promise<Verification> {
  const connection = await openConnection({ address, limits: slowLimits })
  try {
    await requireProjectorSchema(connection)
    await connection.query({ text: digestSettings })
    const tables = await readDigests((statement) => connection.query(statement))
    const [frozen] = await connection.query({
      text: `SELECT count(*) AS n FROM arqonbus_continuum_projection WHERE last_event_ts > now() + interval '5 minutes'`,
    })
    const compared = await backfill({ address, clock, filter: {}, dryRun: true, ...(signal && { signal }) })
    const different = expected === undefined ? undefined : differing(expected, tables)
    const found = {
      orphanEpisodes: compared.inserted,
      staleRows: compared.updated,
      rowsWithoutEvents: compared.removed,
      frozenRows: Number(frozen?.['n']),
    }
    const isRight = Object.values(found).every((count) => count === 0)
    return {
      ok: isRight && (different?.length ?? 0) === 0,
      tables,
      ...(different !== undefined && { differing: different }),
      ...found,
    }
  } finally {
    await connection.close()
  }
}
