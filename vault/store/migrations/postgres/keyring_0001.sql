-- Keyring: wrapped keys and the integrator's compare-and-swap row. No ciphertext of a login ever stands here.
CREATE TABLE meta (key TEXT COLLATE "C" PRIMARY KEY, value BYTEA NOT NULL);

CREATE TABLE tenant_keys (
  tenant_id TEXT COLLATE "C" NOT NULL, version BIGINT NOT NULL, custodian_id TEXT COLLATE "C" NOT NULL,
  share BIGINT NOT NULL, share_count BIGINT NOT NULL,
  wrapped BYTEA NOT NULL, mechanism TEXT COLLATE "C" NOT NULL, custodian_key TEXT COLLATE "C" NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant_id, version, custodian_id, share)
);

CREATE TABLE subject_keys (
  owner_id TEXT COLLATE "C" NOT NULL, version BIGINT NOT NULL, tenant_id TEXT COLLATE "C" NOT NULL,
  tenant_key_version BIGINT NOT NULL, wrapped BYTEA NOT NULL,
  PRIMARY KEY (owner_id, version)
);

CREATE TABLE data_keys (
  credential_id TEXT COLLATE "C" NOT NULL, class TEXT COLLATE "C" NOT NULL, version BIGINT NOT NULL,
  owner_id TEXT COLLATE "C" NOT NULL, subject_key_version BIGINT NOT NULL,
  wrapped BYTEA NOT NULL, PRIMARY KEY (credential_id, class, version)
);
CREATE INDEX data_keys_owner ON data_keys (owner_id);

CREATE TABLE deposit_keys (
  id TEXT COLLATE "C" PRIMARY KEY, tenant_id TEXT COLLATE "C" NOT NULL, suite BIGINT NOT NULL,
  public BYTEA NOT NULL, wrapped_private BYTEA NOT NULL,
  not_before BIGINT NOT NULL, not_after BIGINT NOT NULL, signature BYTEA NOT NULL
);
CREATE INDEX deposit_keys_tenant ON deposit_keys (tenant_id, not_after);

-- What was destroyed stays destroyed: a tombstoned owner or key is never put again.
CREATE TABLE destroyed (
  kind TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, at BIGINT NOT NULL, entry_index BIGINT NOT NULL,
  PRIMARY KEY (kind, id)
);

CREATE TABLE integrator (
  one BIGINT PRIMARY KEY CHECK (one = 1), generation BIGINT NOT NULL, size BIGINT NOT NULL, root BYTEA NOT NULL
);

-- What is written once stays as it was written, whoever asks. Nobody has to be trusted not to change it by mistake;
-- the owner of the tables can still take these triggers away.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'table %: no % of what was written once', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER meta_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON meta
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER tenant_keys_written_once BEFORE UPDATE OR TRUNCATE ON tenant_keys
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER subject_keys_written_once BEFORE UPDATE OR TRUNCATE ON subject_keys
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER data_keys_written_once BEFORE UPDATE OR TRUNCATE ON data_keys
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER deposit_keys_written_once BEFORE UPDATE OR TRUNCATE ON deposit_keys
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER destroyed_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON destroyed
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER integrator_written_once BEFORE DELETE OR TRUNCATE ON integrator
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
