-- Keyring: wrapped keys and the integrator's compare-and-swap row. No ciphertext of a login ever stands here.
CREATE TABLE meta (key TEXT COLLATE "C" PRIMARY KEY, value BYTEA NOT NULL);

-- A tenant key may be wrapped anew: its shares of the newest wrapping are CURRENT, those before CLOSED until nothing
-- needs them, then RETIRED, then gone. `proven` is when every share of a wrapping was opened and gave the key; 0 for never.
CREATE TABLE tenant_keys (
  tenant_id TEXT COLLATE "C" NOT NULL, version BIGINT NOT NULL, wrapping BIGINT NOT NULL,
  custodian_id TEXT COLLATE "C" NOT NULL, share BIGINT NOT NULL, share_count BIGINT NOT NULL,
  wrapped BYTEA NOT NULL, mechanism TEXT COLLATE "C" NOT NULL, custodian_key TEXT COLLATE "C" NOT NULL,
  custody_set TEXT COLLATE "C" NOT NULL, state TEXT COLLATE "C" NOT NULL, state_at BIGINT NOT NULL, proven BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, version, wrapping, custodian_id, share)
);

-- What older rows need of the key that they were made under, wrapped under a version that came later: it goes with that one.
CREATE TABLE row_keys (
  tenant_id TEXT COLLATE "C" NOT NULL, version BIGINT NOT NULL, kind TEXT COLLATE "C" NOT NULL, wrapped BYTEA NOT NULL,
  PRIMARY KEY (tenant_id, version, kind)
);

-- Versions of a tenant's key below this one take no new rows.
CREATE TABLE closed_keys (tenant_id TEXT COLLATE "C" PRIMARY KEY, below BIGINT NOT NULL, at BIGINT NOT NULL);

-- Custodians that wrap nothing any more, each with the key that is meant; where that is empty, all of its keys.
CREATE TABLE retired_custodians (
  custodian_id TEXT COLLATE "C" NOT NULL, custodian_key TEXT COLLATE "C" NOT NULL, at BIGINT NOT NULL,
  PRIMARY KEY (custodian_id, custodian_key)
);

-- Who works on a row of a job, and until when the others leave it alone.
CREATE TABLE key_claims (item TEXT COLLATE "C" PRIMARY KEY, holder BYTEA NOT NULL, until BIGINT NOT NULL);

-- Rows a job could not move, and why. Gone once they are moved.
CREATE TABLE key_failures (
  job TEXT COLLATE "C" NOT NULL, item TEXT COLLATE "C" NOT NULL, cause TEXT COLLATE "C" NOT NULL, at BIGINT NOT NULL,
  PRIMARY KEY (job, item)
);

-- How many owners' keys a job has brought under their tenants' next keys.
CREATE TABLE key_moves (job TEXT COLLATE "C" PRIMARY KEY, moved BIGINT NOT NULL);

CREATE TABLE subject_keys (
  owner_id TEXT COLLATE "C" NOT NULL, version BIGINT NOT NULL, tenant_id TEXT COLLATE "C" NOT NULL,
  tenant_key_version BIGINT NOT NULL, wrapped BYTEA NOT NULL,
  PRIMARY KEY (owner_id, version)
);
CREATE INDEX subject_keys_under ON subject_keys (tenant_id, tenant_key_version, owner_id, version);

CREATE TABLE data_keys (
  credential_id TEXT COLLATE "C" NOT NULL, class TEXT COLLATE "C" NOT NULL, version BIGINT NOT NULL,
  owner_id TEXT COLLATE "C" NOT NULL, subject_key_version BIGINT NOT NULL,
  wrapped BYTEA NOT NULL, PRIMARY KEY (credential_id, class, version)
);
CREATE INDEX data_keys_owner ON data_keys (owner_id);

CREATE TABLE deposit_keys (
  id TEXT COLLATE "C" PRIMARY KEY, tenant_id TEXT COLLATE "C" NOT NULL, tenant_key_version BIGINT NOT NULL,
  suite BIGINT NOT NULL, public BYTEA NOT NULL, wrapped_private BYTEA NOT NULL,
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
CREATE TRIGGER tenant_keys_written_once BEFORE TRUNCATE OR UPDATE OF tenant_id, version, wrapping, custodian_id, share, share_count,
    wrapped, mechanism, custodian_key, custody_set ON tenant_keys
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- A share is put with the newest wrapping, as one that was never opened: the next one of its key, or one of those that
-- are put together.
CREATE FUNCTION refuse_older() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, cofre, pg_temp AS $$
DECLARE
  newest bigint;
  beside record;
BEGIN
  SELECT max(k.wrapping) INTO newest FROM tenant_keys k WHERE k.tenant_id = NEW.tenant_id AND k.version = NEW.version;
  SELECT count(*) AS shares, bool_and(k.state = 'CURRENT' AND k.proven = 0 AND k.custody_set = NEW.custody_set
      AND k.share_count = NEW.share_count) AS alike INTO beside
    FROM tenant_keys k WHERE k.tenant_id = NEW.tenant_id AND k.version = NEW.version AND k.wrapping = NEW.wrapping;
  IF NEW.state <> 'CURRENT' OR NEW.proven <> 0 OR (NEW.wrapping <> coalesce(newest, 0) + 1
      AND (newest IS NULL OR NEW.wrapping <> newest OR NOT beside.alike OR beside.shares >= NEW.share_count)) THEN
    RAISE EXCEPTION 'table %: a share is put with the newest wrapping of its key, and is not proven yet', TG_TABLE_NAME
      USING ERRCODE = 'restrict_violation';
  END IF;
  -- A version that takes no new rows goes on as long as it opens old ones, and never comes back.
  IF EXISTS (SELECT FROM closed_keys c WHERE c.tenant_id = NEW.tenant_id AND c.below > NEW.version)
      AND NOT EXISTS (SELECT FROM tenant_keys k WHERE k.tenant_id = NEW.tenant_id AND k.version = NEW.version AND k.state = 'CURRENT') THEN
    RAISE EXCEPTION 'table %: a version that was retired gets no share', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
  END IF;
  -- SECURITY: what a custodian that was retired wraps would be lost with it, whoever puts it.
  IF EXISTS (SELECT FROM retired_custodians r WHERE r.custodian_id = NEW.custodian_id AND r.custodian_key IN ('', NEW.custodian_key)) THEN
    RAISE EXCEPTION 'table %: a custodian, or a key of one, that was retired wraps nothing any more', TG_TABLE_NAME
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER tenant_keys_newest BEFORE INSERT ON tenant_keys FOR EACH ROW EXECUTE FUNCTION refuse_older();
-- Of a wrapped share nothing changes but where it stands, and that only forward.
CREATE FUNCTION refuse_step_back() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, cofre, pg_temp AS $$
BEGIN
  -- SECURITY: nobody has opened anything later than now, by the clock of this server.
  IF NEW.proven > OLD.proven THEN
    NEW.proven := greatest(OLD.proven, least(NEW.proven, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint));
  END IF;
  IF NEW.proven < OLD.proven OR (OLD.state, NEW.state) NOT IN (('CURRENT', 'CURRENT'), ('CURRENT', 'CLOSED'), ('CLOSED', 'RETIRED'),
      ('CURRENT', 'RETIRED')) THEN
    RAISE EXCEPTION 'table %: a share only goes from CURRENT to CLOSED to RETIRED', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
  END IF;
  -- SECURITY: none is closed that no newer one stands for, and none is retired before that one was opened.
  IF NEW.state <> OLD.state AND (OLD.state, NEW.state) <> ('CURRENT', 'RETIRED') AND EXISTS (SELECT FROM tenant_keys n
      WHERE n.tenant_id = OLD.tenant_id AND n.version = OLD.version AND n.wrapping > OLD.wrapping AND n.state = 'CURRENT'
        AND (NEW.state = 'CLOSED' OR n.proven > 0)) THEN
    NULL;
  -- SECURITY: else a version is retired as a whole: it takes no new rows, nothing lies under it, and one that does take
  -- them was opened. Whoever puts a row was there before the version was closed, or is refused.
  ELSIF NEW.state <> OLD.state AND (NEW.state <> 'RETIRED'
      OR NOT EXISTS (SELECT FROM closed_keys c JOIN tenant_keys n ON n.tenant_id = c.tenant_id AND n.version >= c.below
        WHERE c.tenant_id = OLD.tenant_id AND c.below > OLD.version AND n.state = 'CURRENT' AND n.proven > 0)
      -- The lowest version from there on is what an index gives, however many rows there are.
      OR (SELECT min(s.tenant_key_version) FROM subject_keys s WHERE s.tenant_id = OLD.tenant_id
        AND s.tenant_key_version >= OLD.version) IS NOT DISTINCT FROM OLD.version
      OR (SELECT d.suite FROM deposit_keys d WHERE d.tenant_id = OLD.tenant_id AND d.tenant_key_version = OLD.version
        ORDER BY d.not_after LIMIT 1) IS NOT NULL) THEN
    RAISE EXCEPTION 'table %: nothing newer stands for this share', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
  END IF;
  -- SECURITY: how long a retired share was kept is not for a serving role to say.
  NEW.state_at := CASE WHEN NEW.state = OLD.state THEN OLD.state_at WHEN NEW.state = 'RETIRED' THEN
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint ELSE NEW.state_at END;
  RETURN NEW;
END $$;
CREATE TRIGGER tenant_keys_forward BEFORE UPDATE ON tenant_keys FOR EACH ROW EXECUTE FUNCTION refuse_step_back();
-- SECURITY: what may still be needed is not deleted, whoever asks: only what was retired thirty days ago, by the clock of
-- this server.
CREATE FUNCTION refuse_unretired() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, cofre, pg_temp AS $$
BEGIN
  IF OLD.state <> 'RETIRED' OR OLD.state_at > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - 2592000000000 THEN
    RAISE EXCEPTION 'table %: only a share that was retired thirty days ago is deleted', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN OLD;
END $$;
CREATE TRIGGER tenant_keys_kept BEFORE DELETE ON tenant_keys FOR EACH ROW EXECUTE FUNCTION refuse_unretired();

-- Versions are closed to new rows for good, and never the newest: something has to take them.
CREATE FUNCTION refuse_opening() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, cofre, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('rows under keys of ' || NEW.tenant_id, 0));
  IF NOT EXISTS (SELECT FROM tenant_keys k WHERE k.tenant_id = NEW.tenant_id AND k.version >= NEW.below AND k.state = 'CURRENT')
      OR (TG_OP = 'UPDATE' AND (NEW.tenant_id, NEW.below > OLD.below) IS DISTINCT FROM (OLD.tenant_id, true)) THEN
    RAISE EXCEPTION 'table %: versions are only closed, and one that is in force stays open', TG_TABLE_NAME
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER closed_keys_growing BEFORE INSERT OR UPDATE ON closed_keys FOR EACH ROW EXECUTE FUNCTION refuse_opening();
CREATE TRIGGER closed_keys_kept BEFORE DELETE OR TRUNCATE ON closed_keys FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- SECURITY: no row comes under a version that takes none. Whoever closes one takes the lock alone: what was begun before is
-- there by then, and what comes later finds it closed.
CREATE FUNCTION refuse_closed() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, cofre, pg_temp AS $$
DECLARE
  under record;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'table %: rows come under a key in READ COMMITTED alone', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
  END IF;
  FOR under IN SELECT DISTINCT p.tenant_id, p.tenant_key_version AS version FROM put p LOOP
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('rows under keys of ' || under.tenant_id, 0));
    -- In a statement of its own, which sees what was committed before the lock was had.
    IF EXISTS (SELECT FROM closed_keys c WHERE c.tenant_id = under.tenant_id AND c.below > under.version)
        OR (TG_OP = 'UPDATE' AND NOT EXISTS (SELECT FROM tenant_keys k WHERE k.tenant_id = under.tenant_id
          AND k.version = under.version AND k.state = 'CURRENT')) THEN
      RAISE EXCEPTION 'table %: this version of the tenant key takes no new rows', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
  END LOOP;
  RETURN NULL;
END $$;
CREATE TRIGGER subject_keys_written_once BEFORE TRUNCATE OR UPDATE OF owner_id, version, tenant_id ON subject_keys
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER subject_keys_upward BEFORE UPDATE ON subject_keys FOR EACH ROW
  WHEN (NEW.tenant_key_version <= OLD.tenant_key_version) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER subject_keys_open AFTER INSERT ON subject_keys REFERENCING NEW TABLE AS put
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed();
CREATE TRIGGER subject_keys_moved AFTER UPDATE ON subject_keys REFERENCING NEW TABLE AS put
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed();
CREATE TRIGGER data_keys_written_once BEFORE UPDATE OR TRUNCATE ON data_keys
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER deposit_keys_written_once BEFORE TRUNCATE OR UPDATE OF id, tenant_id, suite, public, not_before, not_after,
    signature ON deposit_keys FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER deposit_keys_upward BEFORE UPDATE ON deposit_keys FOR EACH ROW
  WHEN (NEW.tenant_key_version <= OLD.tenant_key_version) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER deposit_keys_open AFTER INSERT ON deposit_keys REFERENCING NEW TABLE AS put
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed();
CREATE TRIGGER deposit_keys_moved AFTER UPDATE ON deposit_keys REFERENCING NEW TABLE AS put
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed();
CREATE TRIGGER row_keys_written_once BEFORE UPDATE OR TRUNCATE ON row_keys FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- What a version carries comes with it, before it was opened by anybody, and goes after its last share.
CREATE FUNCTION refuse_carried() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, cofre, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF (SELECT coalesce(bool_or(k.state <> 'CURRENT' OR k.proven > 0), true) FROM tenant_keys k
        WHERE k.tenant_id = NEW.tenant_id AND k.version = NEW.version) THEN
      RAISE EXCEPTION 'table %: what a version carries is put with it', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF EXISTS (SELECT FROM tenant_keys k WHERE k.tenant_id = OLD.tenant_id AND k.version = OLD.version) THEN
    RAISE EXCEPTION 'table %: what a version carries goes after its shares', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN OLD;
END $$;
CREATE TRIGGER row_keys_carried BEFORE INSERT OR DELETE ON row_keys FOR EACH ROW EXECUTE FUNCTION refuse_carried();
CREATE TRIGGER retired_custodians_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON retired_custodians
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER destroyed_written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON destroyed
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER integrator_written_once BEFORE DELETE OR TRUNCATE ON integrator
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
