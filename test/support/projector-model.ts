// Episode events for tests, and a plain model of what the projection has to be after any number of them: the newest of
// each episode by (source time, event id), every event once.

export interface TestEvent {
  event_id: string
  event_type: string
  tenant_id: string
  agent_id: string
  episode_id: string
  source_ts: string
  schema_version: number
  payload: { content_ref: string; tags: string[]; metadata: object; summary?: string; embedding_ref?: string }
}

export function makeEvent(n: number, more: Partial<TestEvent> = {}): TestEvent {
  return {
    event_id: `event-${n}`,
    event_type: 'episode.updated',
    tenant_id: 'acme',
    agent_id: `agent-${n % 7}`,
    episode_id: `episode-${n % 50}`,
    source_ts: timeAt(n),
    schema_version: 1,
    payload: {
      content_ref: `sqlite://store/${n}`,
      tags: ['a', `tag-${n}`],
      metadata: { n, nested: { deep: [1, 2.5, null, true] } },
      summary: `summary ${n}`,
    },
    ...more,
  }
}

/** Microseconds after a fixed moment. */
export const timeAt = (micros: number): string =>
  `2026-02-20T10:${String(Math.floor(micros / 60_000_000) % 60).padStart(2, '0')}:${String(Math.floor(micros / 1_000_000) % 60).padStart(2, '0')}.${String(micros % 1_000_000).padStart(6, '0')}Z`

export const toBytes = (event: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(event))

const compareBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))

/** Rows as `projectionRows` reads them, by key. */
export function modelRows(events: Iterable<TestEvent>): Record<string, unknown>[] {
  const seen = new Set<string>()
  const newest = new Map<string, TestEvent>()
  for (const event of events) {
    const { tenant_id, agent_id, episode_id, event_id } = event
    const identity = JSON.stringify([tenant_id, agent_id, event_id])
    if (seen.has(identity)) continue
    seen.add(identity)
    const key = JSON.stringify([tenant_id, agent_id, episode_id])
    const before = newest.get(key)
    const isNewer =
      before === undefined ||
      event.source_ts > before.source_ts ||
      (event.source_ts === before.source_ts && compareBytes(event_id, before.event_id) > 0)
    if (isNewer) newest.set(key, event)
  }
  return [...newest.values()].map(toRow).sort(byKey)
}

function toRow({ tenant_id, agent_id, episode_id, event_type, event_id, source_ts, payload }: TestEvent) {
  return {
    tenant_id,
    agent_id,
    episode_id,
    event_type,
    content_ref: payload.content_ref,
    summary: payload.summary ?? null,
    tags: payload.tags,
    embedding_ref: payload.embedding_ref ?? null,
    metadata: payload.metadata,
    last_event_id: event_id,
    last_event_ts: source_ts,
    deleted: event_type === 'episode.deleted',
  }
}

const keyOf = (row: Record<string, unknown>): string =>
  JSON.stringify([row['tenant_id'], row['agent_id'], row['episode_id']])
export const byKey = (a: Record<string, unknown>, b: Record<string, unknown>): number =>
  compareBytes(keyOf(a), keyOf(b))

export const projectionRows = `SELECT tenant_id, agent_id, episode_id, event_type, content_ref, summary, tags,
  embedding_ref, metadata, last_event_id,
  to_char(last_event_ts AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS last_event_ts, deleted
  FROM arqonbus_continuum_projection`
