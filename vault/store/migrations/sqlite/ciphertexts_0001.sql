-- Ciphertexts: sealed fields, immutable per version. No key, wrapped or not, ever stands here.
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;

CREATE TABLE sealed_fields (
  credential_id TEXT NOT NULL, class TEXT NOT NULL, version INTEGER NOT NULL, field_key TEXT NOT NULL, place INTEGER NOT NULL,
  sealed BLOB NOT NULL, PRIMARY KEY (credential_id, class, version, field_key)
) STRICT, WITHOUT ROWID;
