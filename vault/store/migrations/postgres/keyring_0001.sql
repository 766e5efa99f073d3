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
