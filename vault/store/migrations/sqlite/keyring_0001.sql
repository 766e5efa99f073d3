-- Keyring: wrapped keys and the integrator's compare-and-swap row. No ciphertext of a login ever stands here.
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;

-- A tenant key may be wrapped anew: its shares of the newest wrapping are CURRENT, those before CLOSED until nothing
-- needs them, then RETIRED, then gone. `proven` is when every share of a wrapping was opened and gave the key; 0 for never.
CREATE TABLE tenant_keys (
  tenant_id TEXT NOT NULL, version INTEGER NOT NULL, wrapping INTEGER NOT NULL, custodian_id TEXT NOT NULL, share INTEGER NOT NULL,
  share_count INTEGER NOT NULL, wrapped BLOB NOT NULL, mechanism TEXT NOT NULL, custodian_key TEXT NOT NULL,
  custody_set TEXT NOT NULL, state TEXT NOT NULL, state_at INTEGER NOT NULL, proven INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, version, wrapping, custodian_id, share)
) STRICT, WITHOUT ROWID;

-- What older rows need of the key that they were made under, wrapped under a version that came later: it goes with that one.
CREATE TABLE row_keys (
  tenant_id TEXT NOT NULL, version INTEGER NOT NULL, kind TEXT NOT NULL, wrapped BLOB NOT NULL, PRIMARY KEY (tenant_id, version, kind)
) STRICT, WITHOUT ROWID;

-- Versions of a tenant's key below this one take no new rows.
CREATE TABLE closed_keys (tenant_id TEXT PRIMARY KEY, below INTEGER NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Custodians that wrap nothing any more, each with the key that is meant; where that is empty, all of its keys.
CREATE TABLE retired_custodians (
  custodian_id TEXT NOT NULL, custodian_key TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (custodian_id, custodian_key)
) STRICT, WITHOUT ROWID;

-- Who works on a row of a job, and until when the others leave it alone.
CREATE TABLE key_claims (item TEXT PRIMARY KEY, holder BLOB NOT NULL, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Rows a job could not move, and why. Gone once they are moved.
CREATE TABLE key_failures (
  job TEXT NOT NULL, item TEXT NOT NULL, cause TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (job, item)
) STRICT, WITHOUT ROWID;

-- How many owners' keys a job has brought under their tenants' next keys.
CREATE TABLE key_moves (job TEXT PRIMARY KEY, moved INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE subject_keys (
  owner_id TEXT NOT NULL, version INTEGER NOT NULL, tenant_id TEXT NOT NULL, tenant_key_version INTEGER NOT NULL, wrapped BLOB NOT NULL,
  PRIMARY KEY (owner_id, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX subject_keys_under ON subject_keys (tenant_id, tenant_key_version, owner_id, version);

CREATE TABLE data_keys (
  credential_id TEXT NOT NULL, class TEXT NOT NULL, version INTEGER NOT NULL, owner_id TEXT NOT NULL, subject_key_version INTEGER NOT NULL,
  wrapped BLOB NOT NULL, PRIMARY KEY (credential_id, class, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX data_keys_owner ON data_keys (owner_id);

CREATE TABLE deposit_keys (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, tenant_key_version INTEGER NOT NULL, suite INTEGER NOT NULL, public BLOB NOT NULL,
  wrapped_private BLOB NOT NULL, not_before INTEGER NOT NULL, not_after INTEGER NOT NULL, signature BLOB NOT NULL
) STRICT;
CREATE INDEX deposit_keys_tenant ON deposit_keys (tenant_id, not_after);

-- What was destroyed stays destroyed: a tombstoned owner or key is never put again.
CREATE TABLE destroyed (kind TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, entry_index INTEGER NOT NULL, PRIMARY KEY (kind, id)) STRICT, WITHOUT ROWID;

CREATE TABLE integrator (one INTEGER PRIMARY KEY CHECK (one = 1), generation INTEGER NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL) STRICT;
