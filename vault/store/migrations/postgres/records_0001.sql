-- Records: who may do what, and the ledger that orders it. No wrapped key and no ciphertext ever stands here.
-- Instants are microseconds since 1970. Columns under a row MAC are those named in src/columns.rs. A row ended without
-- a key has no tag any more: last_tag is the digest of the one it had, tagged_state the state that one was made for.
CREATE TABLE meta (key TEXT COLLATE "C" PRIMARY KEY, value BYTEA NOT NULL);

CREATE TABLE cell (one BIGINT PRIMARY KEY CHECK (one = 1), epoch BIGINT NOT NULL);
INSERT INTO cell VALUES (1, 1);

CREATE TABLE policy_active (scope TEXT COLLATE "C" PRIMARY KEY, digest BYTEA NOT NULL, epoch BIGINT NOT NULL);

CREATE TABLE tenants (
  id TEXT COLLATE "C" PRIMARY KEY, slug TEXT COLLATE "C" NOT NULL UNIQUE, legal_name TEXT COLLATE "C" NOT NULL,
  state TEXT COLLATE "C" NOT NULL, home_region TEXT COLLATE "C" NOT NULL,
  tenant_key_id BYTEA NOT NULL, tenant_key_version BIGINT NOT NULL, tenant_key_oldest BIGINT NOT NULL,
  warm_for_us BIGINT NOT NULL, epoch BIGINT NOT NULL
);

-- Each version of a tenant's key, and where it stands. The tenant's row names the one in force, and in tenant_key_oldest the
-- oldest that something may still lie under.
CREATE TABLE tenant_key_versions (
  tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id), version BIGINT NOT NULL, key_id BYTEA NOT NULL,
  state TEXT COLLATE "C" NOT NULL, state_entry BIGINT NOT NULL, state_at BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, version)
);

-- What is to be done to keys. How far it has come, the rows of the keyring say, until it has ended.
CREATE TABLE key_jobs (
  id TEXT COLLATE "C" PRIMARY KEY, kind TEXT COLLATE "C" NOT NULL, target TEXT COLLATE "C" NOT NULL,
  from_key TEXT COLLATE "C", rate BIGINT, state TEXT COLLATE "C" NOT NULL,
  opened_at BIGINT NOT NULL, opened_entry BIGINT NOT NULL, ended_at BIGINT, moved BIGINT
);
CREATE UNIQUE INDEX key_jobs_running ON key_jobs (kind) WHERE state = 'RUNNING';

-- Signed counts of what a custodian still wraps. Retiring uses up the newest, and names its own entry there.
CREATE TABLE key_counts (
  entry_index BIGINT PRIMARY KEY, subject TEXT COLLATE "C" NOT NULL, remaining BIGINT NOT NULL, at BIGINT NOT NULL,
  statement BYTEA NOT NULL, retired_entry BIGINT
);

CREATE TABLE institutions (
  id TEXT COLLATE "C" PRIMARY KEY, name TEXT COLLATE "C" NOT NULL, country TEXT COLLATE "C" NOT NULL,
  state TEXT COLLATE "C" NOT NULL, lockout_threshold BIGINT NOT NULL,
  unattended_from BIGINT NOT NULL, unattended_to BIGINT NOT NULL, epoch BIGINT NOT NULL
);

CREATE TABLE login_templates (
  institution_id TEXT COLLATE "C" NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (institution_id, version)
);

CREATE TABLE template_fields (
  institution_id TEXT COLLATE "C" NOT NULL, version BIGINT NOT NULL, place BIGINT NOT NULL,
  field_key TEXT COLLATE "C" NOT NULL, pattern TEXT COLLATE "C" NOT NULL,
  required BIGINT NOT NULL, secret BIGINT NOT NULL, signing_factor BIGINT NOT NULL, identifies BIGINT NOT NULL,
  release_form TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (institution_id, version, place),
  FOREIGN KEY (institution_id, version) REFERENCES login_templates (institution_id, version)
);

CREATE TABLE subjects (
  id TEXT COLLATE "C" PRIMARY KEY, tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
  kind TEXT COLLATE "C" NOT NULL, external_ref TEXT COLLATE "C", state TEXT COLLATE "C" NOT NULL,
  UNIQUE (tenant_id, external_ref)
);

CREATE TABLE recipients (
  id TEXT COLLATE "C" PRIMARY KEY, tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
  name TEXT COLLATE "C" NOT NULL
);

CREATE TABLE workers (spiffe_id TEXT COLLATE "C" PRIMARY KEY, state TEXT COLLATE "C" NOT NULL, epoch BIGINT NOT NULL);

CREATE TABLE worker_scopes (
  worker TEXT COLLATE "C" NOT NULL REFERENCES workers (spiffe_id), tenant TEXT COLLATE "C" NOT NULL,
  institution TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (worker, tenant, institution)
);

CREATE TABLE signing_keys (
  id TEXT COLLATE "C" PRIMARY KEY, tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
  kind TEXT COLLATE "C" NOT NULL, public_key BYTEA NOT NULL,
  not_after BIGINT NOT NULL
);

CREATE TABLE credentials (
  id TEXT COLLATE "C" PRIMARY KEY, tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
  institution_id TEXT COLLATE "C" NOT NULL, template_version BIGINT NOT NULL,
  owner_id TEXT COLLATE "C" NOT NULL REFERENCES subjects (id), state TEXT COLLATE "C" NOT NULL,
  secret_version BIGINT NOT NULL, not_before BIGINT NOT NULL,
  dedupe_tag BYTEA NOT NULL, entry_id BYTEA NOT NULL, tag BYTEA NOT NULL, epoch BIGINT NOT NULL,
  intended_version BIGINT NOT NULL,
  tagged_state TEXT COLLATE "C" NOT NULL, last_tag BYTEA NOT NULL
);
CREATE UNIQUE INDEX credentials_same_login ON credentials (tenant_id, dedupe_tag) WHERE dedupe_tag <> ''::bytea;
CREATE INDEX credentials_owner ON credentials (owner_id);

CREATE TABLE enrolments (
  id TEXT COLLATE "C" PRIMARY KEY, tenant_id TEXT COLLATE "C" NOT NULL,
  credential_id TEXT COLLATE "C" NOT NULL REFERENCES credentials (id), template_version BIGINT NOT NULL,
  intent_entry BIGINT, version BIGINT NOT NULL, expires_at BIGINT NOT NULL, state TEXT COLLATE "C" NOT NULL
);
CREATE INDEX enrolments_credential ON enrolments (credential_id);

CREATE TABLE consents (
  id TEXT COLLATE "C" PRIMARY KEY, tenant_id TEXT COLLATE "C" NOT NULL, subject_id TEXT COLLATE "C" NOT NULL,
  credential_id TEXT COLLATE "C" NOT NULL REFERENCES credentials (id),
  recipient_id TEXT COLLATE "C" NOT NULL, purpose TEXT COLLATE "C" NOT NULL, scopes TEXT COLLATE "C" NOT NULL,
  valid_from BIGINT NOT NULL, valid_until BIGINT NOT NULL,
  history_from BIGINT NOT NULL, unattended_per_day BIGINT NOT NULL, state TEXT COLLATE "C" NOT NULL,
  entry_id BYTEA NOT NULL, tag BYTEA NOT NULL,
  lapses_at BIGINT NOT NULL, notice_digest BYTEA NOT NULL, locale TEXT COLLATE "C" NOT NULL,
  evidence BYTEA NOT NULL, requested_at BIGINT NOT NULL,
  tagged_state TEXT COLLATE "C" NOT NULL, last_tag BYTEA NOT NULL
);
CREATE INDEX consents_credential ON consents (credential_id, requested_at);
CREATE INDEX consents_subject ON consents (subject_id, requested_at);

CREATE TABLE consent_events (
  consent_id TEXT COLLATE "C" NOT NULL REFERENCES consents (id), seq BIGINT NOT NULL,
  receipt_id TEXT COLLATE "C" NOT NULL UNIQUE, state TEXT COLLATE "C" NOT NULL,
  at BIGINT NOT NULL, jws TEXT COLLATE "C" NOT NULL, entry_index BIGINT NOT NULL, PRIMARY KEY (consent_id, seq)
);

CREATE TABLE tokens_used (
  id TEXT COLLATE "C" PRIMARY KEY, worker_id TEXT COLLATE "C" NOT NULL, request_id TEXT COLLATE "C" NOT NULL,
  until BIGINT NOT NULL
);

CREATE TABLE releases (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id TEXT COLLATE "C" NOT NULL,
  worker_id TEXT COLLATE "C" NOT NULL, request_id TEXT COLLATE "C" NOT NULL,
  credential_id TEXT COLLATE "C" NOT NULL,
  owner_id TEXT COLLATE "C" NOT NULL, job_id TEXT COLLATE "C" NOT NULL, digest BYTEA NOT NULL,
  seal_key_digest BYTEA NOT NULL, secret_version BIGINT NOT NULL,
  attendance TEXT COLLATE "C" NOT NULL, counted BIGINT NOT NULL, at BIGINT NOT NULL, entry_index BIGINT NOT NULL,
  outcome TEXT COLLATE "C",
  session_since BIGINT NOT NULL, answers BIGINT NOT NULL,
  UNIQUE (worker_id, request_id)
);
CREATE INDEX releases_credential ON releases (credential_id, at);
CREATE INDEX releases_entry ON releases (entry_index);
CREATE INDEX releases_open ON releases (at) WHERE outcome IS NULL AND answers > 0;

CREATE TABLE leases (
  credential_id TEXT COLLATE "C" PRIMARY KEY, job_id TEXT COLLATE "C" NOT NULL, worker_id TEXT COLLATE "C" NOT NULL,
  seal_key_digest BYTEA NOT NULL, until BIGINT NOT NULL,
  since BIGINT NOT NULL, attendance TEXT COLLATE "C" NOT NULL
);
CREATE INDEX leases_worker ON leases (worker_id);

CREATE TABLE lockdowns (
  scope_kind TEXT COLLATE "C" NOT NULL, scope_id TEXT COLLATE "C" NOT NULL, PRIMARY KEY (scope_kind, scope_id)
);

CREATE TABLE erasures (
  id TEXT COLLATE "C" PRIMARY KEY, tenant_id TEXT COLLATE "C" NOT NULL, subject_id TEXT COLLATE "C" NOT NULL UNIQUE,
  state TEXT COLLATE "C" NOT NULL, accepted BIGINT NOT NULL,
  certificate BYTEA, horizon BIGINT
);

CREATE TABLE ledger_head (one BIGINT PRIMARY KEY CHECK (one = 1), size BIGINT NOT NULL, last_time BIGINT NOT NULL);
INSERT INTO ledger_head VALUES (1, 0, 0);

CREATE TABLE ledger_entries (
  "index" BIGINT PRIMARY KEY, bytes BYTEA NOT NULL, leaf_hash BYTEA NOT NULL, group_id BYTEA NOT NULL,
  incarnation BYTEA NOT NULL
);
CREATE INDEX ledger_entries_group ON ledger_entries (group_id);

CREATE TABLE ledger_facets (
  "index" BIGINT PRIMARY KEY, at BIGINT NOT NULL, kind TEXT COLLATE "C" NOT NULL, tenant TEXT COLLATE "C",
  credential TEXT COLLATE "C", owner TEXT COLLATE "C", caller TEXT COLLATE "C",
  reason TEXT COLLATE "C", follows BIGINT
);
CREATE INDEX ledger_facets_credential ON ledger_facets (credential) WHERE credential IS NOT NULL;
CREATE INDEX ledger_facets_tenant ON ledger_facets (tenant) WHERE tenant IS NOT NULL;
CREATE INDEX ledger_facets_owner ON ledger_facets (owner) WHERE owner IS NOT NULL;
CREATE INDEX ledger_facets_kind ON ledger_facets (kind);
CREATE INDEX ledger_facets_follows ON ledger_facets (follows) WHERE follows IS NOT NULL;

CREATE TABLE ledger_tiles (
  level BIGINT NOT NULL, n BIGINT NOT NULL, width BIGINT NOT NULL, hashes BYTEA NOT NULL, PRIMARY KEY (level, n)
);
CREATE TABLE ledger_checkpoints (size BIGINT PRIMARY KEY, note TEXT COLLATE "C" NOT NULL);

-- What is written once stays as it was written, whoever asks. Nobody has to be trusted not to change it by mistake;
-- the owner of the tables can still take these triggers away.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'table %: no % of what was written once', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER meta_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON meta
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_entries_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_facets_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_facets
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_checkpoints_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_checkpoints
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER consent_events_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON consent_events
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
