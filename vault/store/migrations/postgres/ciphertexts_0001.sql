-- Ciphertexts: sealed fields, immutable per version. No key, wrapped or not, ever stands here.
CREATE TABLE meta (key TEXT COLLATE "C" PRIMARY KEY, value BYTEA NOT NULL);

CREATE TABLE sealed_fields (
  credential_id TEXT COLLATE "C" NOT NULL, class TEXT COLLATE "C" NOT NULL, version BIGINT NOT NULL,
  field_key TEXT COLLATE "C" NOT NULL, place BIGINT NOT NULL,
  sealed BYTEA NOT NULL, PRIMARY KEY (credential_id, class, version, field_key)
);

-- What is written once stays as it was written, whoever asks. Nobody has to be trusted not to change it by mistake;
-- the owner of the tables can still take these triggers away.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'table %: no % of what was written once', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER meta_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON meta
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER sealed_fields_written_once BEFORE UPDATE OR TRUNCATE ON sealed_fields
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
