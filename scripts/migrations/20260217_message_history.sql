-- The table that readers of earlier systems know, filled in the background where ARQONBUS_POSTGRES_MIRROR is on, and how
-- far each stream has been copied. Safe to run again, and beside a table that is there already.
CREATE TABLE IF NOT EXISTS arqonbus_message_history (
  id bigserial PRIMARY KEY,
  message_id text NOT NULL UNIQUE,
  room text NOT NULL,
  channel text NOT NULL,
  sender text,
  stored_at timestamptz NOT NULL DEFAULT now(),
  envelope jsonb NOT NULL,
  envelope_proto bytea
);
ALTER TABLE arqonbus_message_history ADD COLUMN IF NOT EXISTS envelope_proto bytea;
CREATE INDEX IF NOT EXISTS idx_arqonbus_room_channel_stored_at
  ON arqonbus_message_history (room, channel, stored_at DESC);
CREATE INDEX IF NOT EXISTS idx_arqonbus_stored_at ON arqonbus_message_history (stored_at DESC);

CREATE TABLE IF NOT EXISTS arqonbus_mirrored (
  stream_row bigint PRIMARY KEY,
  epoch bigint NOT NULL,
  sequence bigint NOT NULL
);
