-- Records: who may do what, and the ledger that orders it. No wrapped key and no ciphertext ever stands here.
-- Instants are microseconds since 1970. Columns under a row MAC are those named in src/columns.rs. A row ended without
-- a key has no tag any more: last_tag is the digest of the one it had, tagged_state the state that one was made for.
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;

CREATE TABLE cell (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL) STRICT;
INSERT INTO cell VALUES (1, 1);

CREATE TABLE policy_active (scope TEXT PRIMARY KEY, digest BLOB NOT NULL, epoch INTEGER NOT NULL) STRICT;

CREATE TABLE tenants (
  id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, legal_name TEXT NOT NULL, state TEXT NOT NULL, home_region TEXT NOT NULL,
  tenant_key_id BLOB NOT NULL, tenant_key_version INTEGER NOT NULL, tenant_key_oldest INTEGER NOT NULL,
  warm_for_us INTEGER NOT NULL, epoch INTEGER NOT NULL
) STRICT;

-- Each version of a tenant's key, and where it stands. The tenant's row names the one in force, and in tenant_key_oldest the
-- oldest that something may still lie under.
CREATE TABLE tenant_key_versions (
  tenant_id TEXT NOT NULL REFERENCES tenants (id), version INTEGER NOT NULL, key_id BLOB NOT NULL, state TEXT NOT NULL,
  state_entry INTEGER NOT NULL, state_at INTEGER NOT NULL, PRIMARY KEY (tenant_id, version)
) STRICT, WITHOUT ROWID;

-- What is to be done to keys. How far it has come, the rows of the keyring say, until it has ended.
CREATE TABLE key_jobs (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, target TEXT NOT NULL, from_key TEXT, rate INTEGER, state TEXT NOT NULL,
  opened_at INTEGER NOT NULL, opened_entry INTEGER NOT NULL, ended_at INTEGER, moved INTEGER
) STRICT;
CREATE UNIQUE INDEX key_jobs_running ON key_jobs (kind) WHERE state = 'RUNNING';

-- Signed counts of what a custodian still wraps. Retiring uses up the newest, and names its own entry there.
CREATE TABLE key_counts (
  entry_index INTEGER PRIMARY KEY, subject TEXT NOT NULL, remaining INTEGER NOT NULL, at INTEGER NOT NULL, statement BLOB NOT NULL,
  retired_entry INTEGER
) STRICT;

CREATE TABLE institutions (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL, state TEXT NOT NULL, lockout_threshold INTEGER NOT NULL,
  unattended_from INTEGER NOT NULL, unattended_to INTEGER NOT NULL, epoch INTEGER NOT NULL
) STRICT;

CREATE TABLE login_templates (
  institution_id TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (institution_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE template_fields (
  institution_id TEXT NOT NULL, version INTEGER NOT NULL, place INTEGER NOT NULL, field_key TEXT NOT NULL, pattern TEXT NOT NULL,
  required INTEGER NOT NULL, secret INTEGER NOT NULL, signing_factor INTEGER NOT NULL, identifies INTEGER NOT NULL,
  release_form TEXT NOT NULL,
  PRIMARY KEY (institution_id, version, place),
  FOREIGN KEY (institution_id, version) REFERENCES login_templates (institution_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE subjects (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL REFERENCES tenants (id), kind TEXT NOT NULL, external_ref TEXT, state TEXT NOT NULL,
  UNIQUE (tenant_id, external_ref)
) STRICT;

CREATE TABLE recipients (id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL REFERENCES tenants (id), name TEXT NOT NULL) STRICT;

CREATE TABLE workers (spiffe_id TEXT PRIMARY KEY, state TEXT NOT NULL, epoch INTEGER NOT NULL) STRICT;

CREATE TABLE worker_scopes (
  worker TEXT NOT NULL REFERENCES workers (spiffe_id), tenant TEXT NOT NULL, institution TEXT NOT NULL,
  PRIMARY KEY (worker, tenant, institution)
) STRICT, WITHOUT ROWID;

CREATE TABLE signing_keys (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL REFERENCES tenants (id), kind TEXT NOT NULL, public_key BLOB NOT NULL,
  not_after INTEGER NOT NULL
) STRICT;

CREATE TABLE credentials (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL REFERENCES tenants (id), institution_id TEXT NOT NULL, template_version INTEGER NOT NULL,
  owner_id TEXT NOT NULL REFERENCES subjects (id), state TEXT NOT NULL, secret_version INTEGER NOT NULL, not_before INTEGER NOT NULL,
  dedupe_tag BLOB NOT NULL, entry_id BLOB NOT NULL, tag BLOB NOT NULL, epoch INTEGER NOT NULL, intended_version INTEGER NOT NULL,
  tagged_state TEXT NOT NULL, last_tag BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX credentials_same_login ON credentials (tenant_id, dedupe_tag) WHERE dedupe_tag <> x'';
CREATE INDEX credentials_owner ON credentials (owner_id);

CREATE TABLE enrolments (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, credential_id TEXT NOT NULL REFERENCES credentials (id), template_version INTEGER NOT NULL,
  intent_entry INTEGER, version INTEGER NOT NULL, expires_at INTEGER NOT NULL, state TEXT NOT NULL
) STRICT;
CREATE INDEX enrolments_credential ON enrolments (credential_id);

CREATE TABLE consents (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, subject_id TEXT NOT NULL, credential_id TEXT NOT NULL REFERENCES credentials (id),
  recipient_id TEXT NOT NULL, purpose TEXT NOT NULL, scopes TEXT NOT NULL, valid_from INTEGER NOT NULL, valid_until INTEGER NOT NULL,
  history_from INTEGER NOT NULL, unattended_per_day INTEGER NOT NULL, state TEXT NOT NULL, entry_id BLOB NOT NULL, tag BLOB NOT NULL,
  lapses_at INTEGER NOT NULL, notice_digest BLOB NOT NULL, locale TEXT NOT NULL, evidence BLOB NOT NULL, requested_at INTEGER NOT NULL,
  tagged_state TEXT NOT NULL, last_tag BLOB NOT NULL
) STRICT;
CREATE INDEX consents_credential ON consents (credential_id, requested_at);
CREATE INDEX consents_subject ON consents (subject_id, requested_at);

CREATE TABLE consent_events (
  consent_id TEXT NOT NULL REFERENCES consents (id), seq INTEGER NOT NULL, receipt_id TEXT NOT NULL UNIQUE, state TEXT NOT NULL,
  at INTEGER NOT NULL, jws TEXT NOT NULL, entry_index INTEGER NOT NULL, PRIMARY KEY (consent_id, seq)
) STRICT;

CREATE TABLE tokens_used (id TEXT PRIMARY KEY, worker_id TEXT NOT NULL, request_id TEXT NOT NULL, until INTEGER NOT NULL) STRICT;

CREATE TABLE releases (
  id INTEGER PRIMARY KEY, tenant_id TEXT NOT NULL, worker_id TEXT NOT NULL, request_id TEXT NOT NULL, credential_id TEXT NOT NULL,
  owner_id TEXT NOT NULL, job_id TEXT NOT NULL, digest BLOB NOT NULL, seal_key_digest BLOB NOT NULL, secret_version INTEGER NOT NULL,
  attendance TEXT NOT NULL, counted INTEGER NOT NULL, at INTEGER NOT NULL, entry_index INTEGER NOT NULL, outcome TEXT,
  session_since INTEGER NOT NULL, answers INTEGER NOT NULL,
  UNIQUE (worker_id, request_id)
) STRICT;
CREATE INDEX releases_credential ON releases (credential_id, at);
CREATE INDEX releases_entry ON releases (entry_index);
CREATE INDEX releases_open ON releases (at) WHERE outcome IS NULL AND answers > 0;

CREATE TABLE leases (
  credential_id TEXT PRIMARY KEY, job_id TEXT NOT NULL, worker_id TEXT NOT NULL, seal_key_digest BLOB NOT NULL, until INTEGER NOT NULL,
  since INTEGER NOT NULL, attendance TEXT NOT NULL
) STRICT;
CREATE INDEX leases_worker ON leases (worker_id);

CREATE TABLE lockdowns (scope_kind TEXT NOT NULL, scope_id TEXT NOT NULL, PRIMARY KEY (scope_kind, scope_id)) STRICT;

CREATE TABLE erasures (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, subject_id TEXT NOT NULL UNIQUE, state TEXT NOT NULL, accepted INTEGER NOT NULL,
  certificate BLOB, horizon INTEGER
) STRICT;

CREATE TABLE ledger_head (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, last_time INTEGER NOT NULL) STRICT;
INSERT INTO ledger_head VALUES (1, 0, 0);

CREATE TABLE ledger_entries (
  "index" INTEGER PRIMARY KEY, bytes BLOB NOT NULL, leaf_hash BLOB NOT NULL, group_id BLOB NOT NULL, incarnation BLOB NOT NULL
) STRICT;
CREATE INDEX ledger_entries_group ON ledger_entries (group_id);

CREATE TABLE ledger_facets (
  "index" INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, tenant TEXT, credential TEXT, owner TEXT, caller TEXT,
  reason TEXT, follows INTEGER
) STRICT;
CREATE INDEX ledger_facets_credential ON ledger_facets (credential) WHERE credential IS NOT NULL;
CREATE INDEX ledger_facets_tenant ON ledger_facets (tenant) WHERE tenant IS NOT NULL;
CREATE INDEX ledger_facets_owner ON ledger_facets (owner) WHERE owner IS NOT NULL;
CREATE INDEX ledger_facets_kind ON ledger_facets (kind);
CREATE INDEX ledger_facets_follows ON ledger_facets (follows) WHERE follows IS NOT NULL;

CREATE TABLE ledger_tiles (level INTEGER NOT NULL, n INTEGER NOT NULL, width INTEGER NOT NULL, hashes BLOB NOT NULL, PRIMARY KEY (level, n)) STRICT;
CREATE TABLE ledger_checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT;
