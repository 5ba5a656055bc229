-- History: append-only records per stream (tenant, room, channel), the ids remembered for dedup, and the functions that
-- append and trim. Safe to run again, by `arqonbus migrate up` or by psql -f.

-- One row: what names this data, and the life of the server it was last opened on. `min_epoch` raises all streams.
CREATE TABLE IF NOT EXISTS arqonbus_history (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  identity uuid NOT NULL DEFAULT gen_random_uuid(),
  life text NOT NULL DEFAULT '',
  min_epoch bigint NOT NULL DEFAULT 1
);
INSERT INTO arqonbus_history DEFAULT VALUES ON CONFLICT DO NOTHING;

-- Rows that every append updates leave room on their page, so that no index has to change.
CREATE TABLE IF NOT EXISTS arqonbus_tenants (
  tenant_row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant text COLLATE "C" NOT NULL UNIQUE,
  remembered bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS arqonbus_streams (
  stream_row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_row bigint NOT NULL,
  room text COLLATE "C" NOT NULL,
  channel text COLLATE "C" NOT NULL,
  epoch bigint NOT NULL,
  first bigint NOT NULL DEFAULT 1,
  last bigint NOT NULL DEFAULT 0,
  bytes bigint NOT NULL DEFAULT 0,
  UNIQUE (tenant_row, room, channel)
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS arqonbus_records (
  stream_row bigint NOT NULL,
  sequence bigint NOT NULL,
  at_ms bigint NOT NULL,
  id text COLLATE "C" NOT NULL,
  sender text COLLATE "C" NOT NULL,
  frame bytea NOT NULL,
  PRIMARY KEY (stream_row, sequence)
);
-- Frames are small or compressed by their sender: trying to compress them again costs more than it saves.
ALTER TABLE arqonbus_records ALTER COLUMN frame SET STORAGE EXTERNAL;
CREATE INDEX IF NOT EXISTS arqonbus_records_by_time ON arqonbus_records (stream_row, at_ms, sequence);

CREATE TABLE IF NOT EXISTS arqonbus_remembered (
  stream_row bigint NOT NULL,
  id text COLLATE "C" NOT NULL,
  tenant_row bigint NOT NULL,
  sequence bigint NOT NULL,
  at_ms bigint NOT NULL,
  hash bytea NOT NULL,
  PRIMARY KEY (stream_row, id)
);
CREATE INDEX IF NOT EXISTS arqonbus_remembered_by_age ON arqonbus_remembered (tenant_row, at_ms);

CREATE TABLE IF NOT EXISTS arqonbus_probe (
  name text PRIMARY KEY,
  at_ms bigint NOT NULL
);

-- Deletes at most `p_at_most` ids of a tenant that are past the window, oldest first; says how many. The caller holds
-- the tenant's row, whose count it lowers.
CREATE OR REPLACE FUNCTION arqonbus_forget(p_tenant_row bigint, p_cutoff_ms bigint, p_at_most int) RETURNS int
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  v_gone int;
BEGIN
  DELETE FROM arqonbus_remembered WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM arqonbus_remembered
    WHERE tenant_row = p_tenant_row AND at_ms <= p_cutoff_ms ORDER BY at_ms LIMIT p_at_most));
  GET DIAGNOSTICS v_gone = ROW_COUNT;
  IF v_gone > 0 THEN
    UPDATE arqonbus_tenants SET remembered = remembered - v_gone WHERE tenant_row = p_tenant_row;
  END IF;
  RETURN v_gone;
END $$;

-- The same for the background: takes the tenant's row first, as an append does.
CREATE OR REPLACE FUNCTION arqonbus_forget_some(p_tenant_row bigint, p_cutoff_ms bigint, p_at_most int) RETURNS int
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM arqonbus_tenants WHERE tenant_row = p_tenant_row FOR NO KEY UPDATE;
  RETURN arqonbus_forget(p_tenant_row, p_cutoff_ms, p_at_most);
END $$;

-- One batch of appends: sequence, dedup and records in one transaction. Locks first the tenants in the order of their
-- names, then the streams in the order of their rows, and only then reads what is remembered: a statement's snapshot is
-- older than the locks it waited for.
--
-- Streams are given once each (`p_stream_tenants`: place of the tenant in `p_tenants`), appends by the place of their
-- stream; an id comes once per stream. `p_known_*` is the newest position acknowledged before, 0 for none: a stream that
-- is behind it was rolled back, and gets a new epoch. `sequences` answers each append: above 0 stored, below 0 that of
-- the earlier append of the same id, 0 the window is full. `hashes` holds what the earlier one had, where there was one.
CREATE OR REPLACE FUNCTION arqonbus_append(
  p_tenants text[], p_stream_tenants int[], p_rooms text[], p_channels text[],
  p_known_epochs bigint[], p_known_lasts bigint[],
  p_streams int[], p_ids text[], p_hashes bytea[], p_senders text[], p_at_ms bigint[], p_sizes int[], p_frames bytea[],
  p_now_ms bigint, p_window_ms bigint, p_max_ids bigint, p_new_epoch bigint,
  OUT stream_rows bigint[], OUT epochs bigint[], OUT sequences bigint[], OUT hashes bytea[]
) LANGUAGE plpgsql
-- A plan made while the tables were small must not read all of them when they are large. Ruling ways out makes plans
-- look dear, for which Postgres would compile them anew each time (jit).
SET jit = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  v_cutoff bigint := p_now_ms - p_window_ms;
  v_min_epoch bigint;
  v_tenant_rows bigint[];
  v_remembered bigint[];
  v_added bigint[] := array_fill(0::bigint, ARRAY[cardinality(p_tenants)]);
  v_wanted int[];
  v_before bigint[];
  v_lasts bigint[];
  v_bytes bigint[] := array_fill(0::bigint, ARRAY[cardinality(p_rooms)]);
  v_earlier bigint[];
  v_earlier_ms bigint[];
  v_stream int;
  v_tenant int;
  v_stored int := 0;
BEGIN
  IF EXISTS (SELECT FROM unnest(p_tenants) t WHERE NOT EXISTS (SELECT FROM arqonbus_tenants x WHERE x.tenant = t)) THEN
    INSERT INTO arqonbus_tenants (tenant) SELECT t FROM unnest(p_tenants) t ORDER BY t COLLATE "C" ON CONFLICT DO NOTHING;
  END IF;
  SELECT array_agg(l.tenant_row ORDER BY l.place), array_agg(l.remembered ORDER BY l.place)
    INTO v_tenant_rows, v_remembered
    FROM (SELECT t.tenant_row, t.remembered, p.place FROM unnest(p_tenants) WITH ORDINALITY p(tenant, place)
          JOIN arqonbus_tenants t ON t.tenant = p.tenant ORDER BY t.tenant FOR NO KEY UPDATE OF t) l;
  SELECT min_epoch INTO STRICT v_min_epoch FROM arqonbus_history;

  IF EXISTS (SELECT FROM unnest(p_stream_tenants, p_rooms, p_channels) p(tenant, room, channel)
             WHERE NOT EXISTS (SELECT FROM arqonbus_streams s WHERE s.tenant_row = v_tenant_rows[p.tenant]
                               AND s.room = p.room AND s.channel = p.channel)) THEN
    INSERT INTO arqonbus_streams (tenant_row, room, channel, epoch)
      SELECT v_tenant_rows[p.tenant], p.room, p.channel, p_new_epoch
      FROM unnest(p_stream_tenants, p_rooms, p_channels) p(tenant, room, channel)
      ON CONFLICT DO NOTHING;
  END IF;
  SELECT array_agg(l.stream_row ORDER BY l.place), array_agg(l.last ORDER BY l.place),
         array_agg(CASE WHEN l.epoch < l.known_epoch OR (l.epoch = l.known_epoch AND l.last < l.known_last)
                        THEN greatest(p_new_epoch, l.known_epoch + 1) ELSE l.epoch END ORDER BY l.place)
    INTO stream_rows, v_lasts, epochs
    FROM (SELECT s.stream_row, s.last, greatest(s.epoch, v_min_epoch) AS epoch, p.known_epoch, p.known_last, p.place
          FROM unnest(p_stream_tenants, p_rooms, p_channels, p_known_epochs, p_known_lasts)
               WITH ORDINALITY p(tenant, room, channel, known_epoch, known_last, place)
          JOIN arqonbus_streams s
            ON s.tenant_row = v_tenant_rows[p.tenant] AND s.room = p.room AND s.channel = p.channel
          ORDER BY s.stream_row FOR NO KEY UPDATE OF s) l;
  v_before := v_lasts;

  -- Only a window that could overflow is cleared of what is past it here; otherwise the background does it.
  SELECT array_agg(n ORDER BY t) INTO v_wanted FROM (
    SELECT t, count(s.stream) AS n FROM generate_series(1, cardinality(p_tenants)) t
    LEFT JOIN unnest(p_streams) s(stream) ON p_stream_tenants[s.stream] = t GROUP BY t) w;
  FOR v_tenant IN 1 .. cardinality(p_tenants) LOOP
    IF v_remembered[v_tenant] + v_wanted[v_tenant] > p_max_ids THEN
      v_remembered[v_tenant] := v_remembered[v_tenant]
        - arqonbus_forget(v_tenant_rows[v_tenant], v_cutoff, greatest(2 * v_wanted[v_tenant], 2000));
    END IF;
  END LOOP;

  SELECT array_agg(coalesce(e.sequence, 0) ORDER BY p.place), array_agg(coalesce(e.at_ms, 0) ORDER BY p.place),
         CASE WHEN count(e.sequence) FILTER (WHERE e.at_ms > v_cutoff) > 0
              THEN array_agg(coalesce(e.hash, '') ORDER BY p.place) END
    INTO v_earlier, v_earlier_ms, hashes
    FROM unnest(p_streams, p_ids) WITH ORDINALITY p(stream, id, place)
    LEFT JOIN arqonbus_remembered e ON e.stream_row = stream_rows[p.stream] AND e.id = p.id;

  sequences := v_earlier;
  FOR i IN 1 .. cardinality(p_streams) LOOP
    v_stream := p_streams[i];
    IF v_earlier[i] > 0 AND v_earlier_ms[i] > v_cutoff THEN
      sequences[i] := -v_earlier[i];
      CONTINUE;
    END IF;
    v_tenant := p_stream_tenants[v_stream];
    IF v_remembered[v_tenant] + v_added[v_tenant] >= p_max_ids AND v_earlier[i] = 0 THEN
      sequences[i] := 0;
      CONTINUE;
    END IF;
    -- One that is past the window is replaced: as many are remembered as before.
    IF v_earlier[i] = 0 THEN v_added[v_tenant] := v_added[v_tenant] + 1; END IF;
    v_lasts[v_stream] := v_lasts[v_stream] + 1;
    v_bytes[v_stream] := v_bytes[v_stream] + p_sizes[i];
    sequences[i] := v_lasts[v_stream];
    v_stored := v_stored + 1;
  END LOOP;

  IF v_stored > 0 THEN
    INSERT INTO arqonbus_records (stream_row, sequence, at_ms, id, sender, frame)
      SELECT stream_rows[p.stream], p.sequence, p.at_ms, p.id, p.sender, p.frame
      FROM unnest(p_streams, sequences, p_at_ms, p_ids, p_senders, p_frames) p(stream, sequence, at_ms, id, sender, frame)
      WHERE p.sequence > 0;
    INSERT INTO arqonbus_remembered AS r (stream_row, id, tenant_row, sequence, at_ms, hash)
      SELECT stream_rows[p.stream], p.id, v_tenant_rows[p_stream_tenants[p.stream]], p.sequence, p_now_ms, p.hash
      FROM unnest(p_streams, sequences, p_ids, p_hashes) p(stream, sequence, id, hash) WHERE p.sequence > 0
      ON CONFLICT (stream_row, id) DO UPDATE
        SET sequence = excluded.sequence, at_ms = excluded.at_ms, hash = excluded.hash;
    UPDATE arqonbus_tenants t SET remembered = t.remembered + p.added
      FROM unnest(v_tenant_rows, v_added) p(tenant_row, added) WHERE t.tenant_row = p.tenant_row AND p.added > 0;
  END IF;
  UPDATE arqonbus_streams s SET last = p.last, bytes = s.bytes + p.bytes, epoch = p.epoch
    FROM unnest(stream_rows, v_before, v_lasts, v_bytes, epochs) p(stream_row, before, last, bytes, epoch)
    WHERE s.stream_row = p.stream_row AND (p.last > p.before OR p.epoch > s.epoch);
END $$;

-- Removes from the old end of the given streams what is over a bound, at most `p_at_most` records in all; answers the
-- streams that may have more. The newest record leaves only by age. Streams in the order of their rows, as an append.
CREATE OR REPLACE FUNCTION arqonbus_trim(
  p_streams bigint[], p_max_records bigint, p_max_bytes bigint, p_cutoff_ms bigint, p_at_most int,
  OUT removed int, OUT unfinished bigint[]
) LANGUAGE plpgsql
SET jit = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  v_stream arqonbus_streams;
  v_record record;
  v_upto bigint;
  v_bytes bigint;
  v_row bigint;
BEGIN
  removed := 0;
  unfinished := '{}';
  FOR v_row IN SELECT s FROM unnest(p_streams) s ORDER BY s LOOP
    IF removed >= p_at_most THEN
      unfinished := unfinished || v_row;
      CONTINUE;
    END IF;
    -- Most have nothing to give: they are left without a lock.
    SELECT s.* INTO v_stream FROM arqonbus_streams s WHERE s.stream_row = v_row AND s.last >= s.first
      AND (s.last - s.first + 1 > p_max_records OR s.bytes > p_max_bytes
        OR EXISTS (SELECT FROM arqonbus_records r
                   WHERE r.stream_row = v_row AND r.sequence = s.first AND r.at_ms < p_cutoff_ms));
    CONTINUE WHEN NOT FOUND;
    SELECT * INTO v_stream FROM arqonbus_streams WHERE stream_row = v_row FOR NO KEY UPDATE;
    v_upto := v_stream.first - 1;
    v_bytes := v_stream.bytes;
    FOR v_record IN
      SELECT sequence, at_ms, octet_length(frame) AS size FROM arqonbus_records
      WHERE stream_row = v_row AND sequence >= v_stream.first ORDER BY sequence LIMIT p_at_most - removed
    LOOP
      EXIT WHEN v_record.at_ms >= p_cutoff_ms AND (v_record.sequence = v_stream.last
        OR (v_stream.last - v_upto <= p_max_records AND v_bytes <= p_max_bytes));
      v_upto := v_record.sequence;
      v_bytes := v_bytes - v_record.size;
    END LOOP;
    CONTINUE WHEN v_upto < v_stream.first;
    DELETE FROM arqonbus_records WHERE stream_row = v_row AND sequence BETWEEN v_stream.first AND v_upto;
    UPDATE arqonbus_streams SET first = v_upto + 1, bytes = v_bytes WHERE stream_row = v_row;
    removed := removed + (v_upto - v_stream.first + 1)::int;
    unfinished := unfinished || v_row;
  END LOOP;
END $$;

-- Records above a sequence, ascending, until the frames together exceed the bytes; at least one.
CREATE OR REPLACE FUNCTION arqonbus_read(p_stream_row bigint, p_after bigint, p_limit int, p_max_bytes bigint)
RETURNS TABLE (sequence bigint, at_ms bigint, id text, sender text, frame bytea)
LANGUAGE plpgsql STABLE
SET jit = off SET enable_seqscan = off SET enable_sort = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_bytes bigint := 0;
  v_count int := 0;
BEGIN
  FOR sequence, at_ms, id, sender, frame IN
    SELECT r.sequence, r.at_ms, r.id, r.sender, r.frame FROM arqonbus_records r
    WHERE r.stream_row = p_stream_row AND r.sequence > p_after ORDER BY r.sequence LIMIT p_limit
  LOOP
    v_bytes := v_bytes + octet_length(frame);
    EXIT WHEN v_count > 0 AND v_bytes > p_max_bytes;
    v_count := v_count + 1;
    RETURN NEXT;
  END LOOP;
END $$;
