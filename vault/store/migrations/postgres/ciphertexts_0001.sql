-- Ciphertexts: sealed fields, immutable per version. No key, wrapped or not, ever stands here.
CREATE TABLE meta (key TEXT COLLATE "C" PRIMARY KEY, value BYTEA NOT NULL);

CREATE TABLE sealed_fields (
  credential_id TEXT COLLATE "C" NOT NULL, class TEXT COLLATE "C" NOT NULL, version BIGINT NOT NULL,
  field_key TEXT COLLATE "C" NOT NULL, place BIGINT NOT NULL,
  sealed BYTEA NOT NULL, PRIMARY KEY (credential_id, class, version, field_key)
);
