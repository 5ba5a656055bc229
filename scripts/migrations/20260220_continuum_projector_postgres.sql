-- The Continuum projector: the three tables that others read (names, columns, keys and indexes are theirs), and beside
-- them what exactness needs: the raw bytes of dead letters, and how far each source was read. Safe to run again.

CREATE TABLE IF NOT EXISTS arqonbus_continuum_projection (
  tenant_id text NOT NULL,
  agent_id text NOT NULL,
  episode_id text NOT NULL,
  event_type text NOT NULL,
  content_ref text NOT NULL,
  summary text,
  tags jsonb NOT NULL DEFAULT '[]'::jsonb,
  embedding_ref text,
  metadata jsonb NOT NULL DEFAULT '{}'::jsonb,
  last_event_id text NOT NULL,
  last_event_ts timestamptz NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted boolean NOT NULL DEFAULT false,
  PRIMARY KEY (tenant_id, agent_id, episode_id)
);

CREATE TABLE IF NOT EXISTS arqonbus_continuum_projection_events (
  tenant_id text NOT NULL,
  agent_id text NOT NULL,
  event_id text NOT NULL,
  episode_id text NOT NULL,
  event_type text NOT NULL,
  source_ts timestamptz NOT NULL,
  event jsonb NOT NULL,
  projected_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, agent_id, event_id)
);
CREATE INDEX IF NOT EXISTS idx_arqonbus_cont_proj_events_source_ts
  ON arqonbus_continuum_projection_events (source_ts DESC);
CREATE INDEX IF NOT EXISTS idx_arqonbus_cont_proj_events_episode
  ON arqonbus_continuum_projection_events (tenant_id, agent_id, episode_id, source_ts DESC);

CREATE TABLE IF NOT EXISTS arqonbus_continuum_projection_dlq (
  dlq_id text PRIMARY KEY,
  reason text NOT NULL,
  event jsonb NOT NULL,
  queued_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS idx_arqonbus_cont_proj_dlq_queued_at
  ON arqonbus_continuum_projection_dlq (queued_at DESC);

-- Pages of the newest rows of a tenant.
CREATE INDEX IF NOT EXISTS arqonbus_continuum_projection_by_update
  ON arqonbus_continuum_projection (tenant_id, updated_at DESC, agent_id, episode_id);

-- What a dead letter was, byte for byte: `event` above is {} where that is no JSON of Postgres. Goes with its row.
CREATE TABLE IF NOT EXISTS arqonbus_continuum_projection_dlq_raw (
  dlq_id text PRIMARY KEY REFERENCES arqonbus_continuum_projection_dlq (dlq_id) ON DELETE CASCADE,
  raw bytea NOT NULL,
  code text NOT NULL,
  -- Whose it is: of the channel or command it came by, else as it says itself; empty where nobody can tell.
  tenant_id text NOT NULL,
  source text NOT NULL,
  attempts integer NOT NULL,
  first_seen timestamptz NOT NULL DEFAULT now(),
  last_seen timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS arqonbus_continuum_projection_dlq_raw_by_tenant
  ON arqonbus_continuum_projection_dlq_raw (tenant_id, last_seen DESC, dlq_id);

-- How far a source was read; moves with the effects of what was read, in one transaction.
CREATE TABLE IF NOT EXISTS arqonbus_continuum_projection_checkpoint (
  source text PRIMARY KEY,
  epoch bigint NOT NULL,
  sequence bigint NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now()
);

-- A rebuild in the making: its rows, and where it stands, so that it goes on where it was stopped. One at a time.
CREATE TABLE IF NOT EXISTS arqonbus_continuum_projection_shadow (
  tenant_id text NOT NULL,
  agent_id text NOT NULL,
  episode_id text NOT NULL,
  event_type text NOT NULL,
  content_ref text NOT NULL,
  summary text,
  tags jsonb NOT NULL,
  embedding_ref text,
  metadata jsonb NOT NULL,
  last_event_id text NOT NULL,
  last_event_ts timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  deleted boolean NOT NULL,
  PRIMARY KEY (tenant_id, agent_id, episode_id)
);

CREATE TABLE IF NOT EXISTS arqonbus_continuum_projection_backfill (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  filter jsonb NOT NULL,
  -- The episode done last; nulls before the first.
  tenant_id text,
  agent_id text,
  episode_id text,
  events bigint NOT NULL DEFAULT 0,
  episodes bigint NOT NULL DEFAULT 0,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What came in while a rebuild ran: rows lie in the order of this, so that a coarse index is enough.
CREATE INDEX IF NOT EXISTS arqonbus_continuum_projection_events_by_arrival
  ON arqonbus_continuum_projection_events USING brin (projected_at);
