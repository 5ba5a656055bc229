-- The audit log: rows that are only ever added, each with a hash over the one before it and itself, and the head of the
-- chain in a second place, so that a tail that was cut off is missed. Safe to run again.

CREATE TABLE IF NOT EXISTS arqonbus_audit (
  sequence bigint PRIMARY KEY,
  entry_id text NOT NULL UNIQUE,
  at_ms bigint NOT NULL,
  tenant text NOT NULL,
  subject text NOT NULL,
  client_id text NOT NULL,
  action text NOT NULL,
  outcome text NOT NULL,
  details text NOT NULL,
  previous_hash text NOT NULL,
  hash text NOT NULL
);

-- Its one row is also the lock under which rows are added: several processes write one chain.
CREATE TABLE IF NOT EXISTS arqonbus_audit_head (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  sequence bigint NOT NULL DEFAULT 0,
  hash text NOT NULL DEFAULT repeat('0', 64)
);
INSERT INTO arqonbus_audit_head DEFAULT VALUES ON CONFLICT DO NOTHING;

CREATE OR REPLACE FUNCTION arqonbus_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit log only grows: % on % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = '42501';
END $$;

CREATE OR REPLACE FUNCTION arqonbus_audit_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.sequence <= OLD.sequence THEN
    RAISE EXCEPTION 'the head of the audit log only moves forward' USING ERRCODE = '42501';
  END IF;
  RETURN NEW;
END $$;

DROP TRIGGER IF EXISTS arqonbus_audit_only_grows ON arqonbus_audit;
CREATE TRIGGER arqonbus_audit_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON arqonbus_audit
  FOR EACH STATEMENT EXECUTE FUNCTION arqonbus_audit_refuse();
DROP TRIGGER IF EXISTS arqonbus_audit_head_stays ON arqonbus_audit_head;
CREATE TRIGGER arqonbus_audit_head_stays BEFORE DELETE OR TRUNCATE ON arqonbus_audit_head
  FOR EACH STATEMENT EXECUTE FUNCTION arqonbus_audit_refuse();
DROP TRIGGER IF EXISTS arqonbus_audit_head_forward ON arqonbus_audit_head;
CREATE TRIGGER arqonbus_audit_head_forward BEFORE UPDATE ON arqonbus_audit_head
  FOR EACH ROW EXECUTE FUNCTION arqonbus_audit_forward();
