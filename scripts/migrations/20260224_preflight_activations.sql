-- Which build was activated in which start environment, and which break-glass was used, for all machines that share this
-- database: rows that are only ever added. Safe to run again.

CREATE TABLE IF NOT EXISTS arqonbus_preflight_activations (
  artefact text NOT NULL,
  fingerprint text NOT NULL,
  certificate text NOT NULL,
  activated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (artefact, fingerprint)
);

CREATE TABLE IF NOT EXISTS arqonbus_preflight_break_glass (
  nonce text PRIMARY KEY,
  program text NOT NULL,
  signed_by text NOT NULL,
  reason text NOT NULL,
  used_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE OR REPLACE FUNCTION arqonbus_preflight_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'what was activated stays: % on % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = '42501';
END $$;

DROP TRIGGER IF EXISTS arqonbus_preflight_activations_stay ON arqonbus_preflight_activations;
CREATE TRIGGER arqonbus_preflight_activations_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON arqonbus_preflight_activations
  FOR EACH STATEMENT EXECUTE FUNCTION arqonbus_preflight_refuse();
DROP TRIGGER IF EXISTS arqonbus_preflight_break_glass_stays ON arqonbus_preflight_break_glass;
CREATE TRIGGER arqonbus_preflight_break_glass_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON arqonbus_preflight_break_glass
  FOR EACH STATEMENT EXECUTE FUNCTION arqonbus_preflight_refuse();
