-- Operations that take something away: reports, stop buttons, quarantine, erasure. None of them needs a key.

-- Any change to a login, its consents or its parties: decisions made before it are void.
CREATE FUNCTION commit_move_credential(credential_named TEXT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE credentials c SET epoch = c.epoch + 1 WHERE c.id = credential_named;
END $$;

-- What a MAC becomes when its row is ended without a key. Without this, who edits the state back would have a row whose
-- MAC is true again. A row ended before has none any more, and keeps the digest it has.
CREATE FUNCTION commit_aside(tag BYTEA) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT sha256(convert_to('cofre/v1/row/aside', 'UTF8') || tag)
$$;

CREATE FUNCTION commit_set_consent_aside(consent_named TEXT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE consents c SET last_tag = commit_aside(c.tag), tag = decode('', 'hex')
    WHERE c.id = consent_named AND octet_length(c.tag) > 0;
END $$;

CREATE FUNCTION commit_set_credential_aside(credential_named TEXT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE credentials c SET last_tag = commit_aside(c.tag), tag = decode('', 'hex')
    WHERE c.id = credential_named AND octet_length(c.tag) > 0;
END $$;

CREATE FUNCTION commit_lease_ended(credential TEXT, job TEXT, worker TEXT) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_build_object('change', 'LEASE_ENDED', 'credential', credential, 'job', job, 'worker', worker)
$$;

-- Ends the leases of these logins, and tells of those that were live.
CREATE FUNCTION commit_end_leases(g commit_group, logins TEXT[]) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  moment bigint := commit_at(g);
  changes jsonb;
BEGIN
  WITH ended AS (DELETE FROM leases l WHERE l.credential_id = ANY (logins) RETURNING l.*)
  SELECT coalesce(jsonb_agg(commit_lease_ended(e.credential_id, e.job_id, e.worker_id) ORDER BY e.credential_id)
      FILTER (WHERE e.until > moment), '[]')
    INTO changes FROM ended e;
  RETURN changes;
END $$;

-- Nothing but `not_before` may change, and only to later.
CREATE FUNCTION commit_lock_login(g commit_group, tenant_named TEXT, r JSONB) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  asked jsonb := r -> 'lock';
  opens_at bigint := (asked ->> 'not_before')::bigint;
  login credentials%ROWTYPE;
BEGIN
  SELECT c.* INTO login FROM credentials c WHERE c.id = r ->> 'credential' AND c.tenant_id = tenant_named;
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  -- However wrong the report: the login is not lost for longer than this.
  PERFORM commit_refuse_if(opens_at > commit_at(g) + commit_limit('lock'), 'WRONG_STATE');
  PERFORM commit_refuse_if(login.state <> 'ACTIVE' OR opens_at < login.not_before
    OR asked ->> 'id' <> login.id OR asked ->> 'tenant' <> login.tenant_id OR asked ->> 'institution' <> login.institution_id
    OR asked ->> 'owner' <> login.owner_id OR asked ->> 'state' <> login.state
    OR (asked ->> 'template_version')::bigint <> login.template_version
    OR (asked ->> 'secret_version')::bigint <> login.secret_version
    OR commit_bytes(asked, 'dedupe_tag') <> login.dedupe_tag, 'WRONG_STATE');
  PERFORM commit_rewrite(asked, r);
END $$;

CREATE FUNCTION commit_report(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  newest releases%ROWTYPE;
  leased_until bigint;
BEGIN
  SELECT p.* INTO newest FROM releases p WHERE p.credential_id = r ->> 'credential' AND p.job_id = r ->> 'job'
    ORDER BY p.id DESC LIMIT 1;
  PERFORM commit_refuse_if(NOT FOUND OR newest.worker_id <> r ->> 'worker', 'NOT_FOUND');
  SELECT l.until INTO leased_until FROM leases l WHERE l.credential_id = newest.credential_id
    AND l.job_id = newest.job_id AND l.worker_id = newest.worker_id;
  -- A worker speaks of a login only while it holds it, and shortly after. Where another session or a stop button took
  -- the lease away, the longest lease a grant can open counts from the grant.
  PERFORM commit_refuse_if(newest.outcome IS NOT NULL OR commit_at(g)
    > coalesce(leased_until, newest.at + commit_limit('lease')) + commit_limit('report'), 'WRONG_STATE');
  UPDATE releases p SET outcome = r ->> 'outcome' WHERE p.credential_id = r ->> 'credential' AND p.job_id = r ->> 'job'
    AND p.worker_id = r ->> 'worker' AND p.outcome IS NULL;
  DELETE FROM leases l WHERE l.credential_id = r ->> 'credential' AND l.job_id = r ->> 'job' AND l.worker_id = r ->> 'worker';
  IF r ->> 'outcome' = 'WRONG_SECRET' THEN
    -- A secret entered anew since then was not tried yet.
    UPDATE credentials c SET state = 'SECRET_REJECTED', epoch = c.epoch + 1
      WHERE c.id = r ->> 'credential' AND c.state = 'ACTIVE' AND c.secret_version = newest.secret_version;
    IF FOUND THEN
      PERFORM commit_set_credential_aside(r ->> 'credential');
    END IF;
  END IF;
  IF r ? 'lock' THEN
    PERFORM commit_lock_login(g, newest.tenant_id, r);
  END IF;
  RETURN commit_step_of(newest.entry_index, '[]');
END $$;

CREATE FUNCTION commit_lockdown(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  scope text := r ->> 'scope';
  stopped text := r ->> 'id';
  logins text[];
BEGIN
  INSERT INTO lockdowns (scope_kind, scope_id) VALUES (scope, stopped) ON CONFLICT DO NOTHING;
  UPDATE cell c SET epoch = c.epoch + 1;
  logins := CASE scope
    WHEN 'PLATFORM' THEN ARRAY(SELECT l.credential_id FROM leases l)
    WHEN 'TENANT' THEN ARRAY(SELECT c.id FROM credentials c JOIN leases l ON l.credential_id = c.id WHERE c.tenant_id = stopped)
    WHEN 'INSTITUTION' THEN
      ARRAY(SELECT c.id FROM credentials c JOIN leases l ON l.credential_id = c.id WHERE c.institution_id = stopped)
    ELSE ARRAY[stopped] END;
  RETURN commit_step_of(NULL, jsonb_build_array(jsonb_build_object('change', 'LOCKDOWN', 'scope', scope, 'id', stopped))
    || commit_end_leases(g, logins));
END $$;

CREATE FUNCTION commit_quarantine(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  distrusted text := r ->> 'worker';
BEGIN
  UPDATE workers w SET state = 'QUARANTINED', epoch = w.epoch + 1 WHERE w.spiffe_id = distrusted;
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  RETURN commit_step_of(NULL, jsonb_build_array(jsonb_build_object('change', 'WORKER_QUARANTINED', 'worker', distrusted))
    || commit_end_leases(g, ARRAY(SELECT l.credential_id FROM leases l WHERE l.worker_id = distrusted)));
END $$;

-- A login that is being erased: its consents end, its lease ends, and its dedupe tag no longer speaks of it.
CREATE FUNCTION commit_end_login(g commit_group, credential_named TEXT) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  consent_ended text;
  changes jsonb := '[]';
BEGIN
  UPDATE credentials c SET state = 'ERASING', dedupe_tag = decode('', 'hex'), epoch = c.epoch + 1 WHERE c.id = credential_named;
  PERFORM commit_set_credential_aside(credential_named);
  FOR consent_ended IN UPDATE consents c SET state = 'REVOKED'
      WHERE c.credential_id = credential_named AND c.state IN ('ACTIVE', 'AWAITING_AUTHORISATION') RETURNING c.id
  LOOP
    PERFORM commit_set_consent_aside(consent_ended);
    changes := changes || jsonb_build_object('change', 'CONSENT_ENDED', 'consent', consent_ended,
      'credential', credential_named, 'state', 'REVOKED');
  END LOOP;
  RETURN changes || commit_end_leases(g, ARRAY[credential_named]);
END $$;

CREATE FUNCTION commit_accept_erasure(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  person_state text;
  login record;
  ended jsonb := '[]';
  changes jsonb := '[]';
BEGIN
  SELECT s.state INTO person_state FROM subjects s WHERE s.id = r ->> 'subject' AND s.tenant_id = r ->> 'tenant';
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  PERFORM commit_refuse_if(person_state <> 'ACTIVE', 'WRONG_STATE');
  FOR login IN SELECT c.id, c.state FROM credentials c WHERE c.owner_id = r ->> 'subject' AND c.tenant_id = r ->> 'tenant'
      ORDER BY c.id
  LOOP
    IF login.state <> 'DISCARDED' THEN
      changes := changes || commit_end_login(g, login.id);
      ended := ended || to_jsonb(login.id);
    END IF;
    PERFORM commit_end_sessions(login.id);
  END LOOP;
  UPDATE subjects s SET state = 'ERASING' WHERE s.id = r ->> 'subject';
  INSERT INTO erasures (id, tenant_id, subject_id, state, accepted, certificate, horizon)
    VALUES (r ->> 'erasure', r ->> 'tenant', r ->> 'subject', 'ACCEPTED', commit_next_index(), NULL, NULL)
    ON CONFLICT DO NOTHING;
  PERFORM commit_refuse_if(NOT FOUND, 'WRONG_STATE');
  RETURN commit_step_of(NULL, changes
    || jsonb_build_object('change', 'ERASURE_ACCEPTED', 'subject', r ->> 'subject', 'credentials', ended));
END $$;

-- The erasure, where it stands as it has to.
CREATE FUNCTION commit_erasure(erasure_named TEXT, state_needed TEXT) RETURNS erasures LANGUAGE plpgsql AS $$
DECLARE
  known erasures%ROWTYPE;
BEGIN
  SELECT e.* INTO known FROM erasures e WHERE e.id = erasure_named;
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  PERFORM commit_refuse_if(known.state <> state_needed, 'WRONG_STATE');
  RETURN known;
END $$;

CREATE FUNCTION commit_keys_destroyed(r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  known erasures%ROWTYPE := commit_erasure(r ->> 'erasure', 'ACCEPTED');
BEGIN
  UPDATE erasures e SET state = 'KEYS_DESTROYED' WHERE e.id = known.id;
  RETURN commit_step_of(known.accepted, '[]');
END $$;

CREATE FUNCTION commit_certify(r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  known erasures%ROWTYPE := commit_erasure(r ->> 'erasure', 'KEYS_DESTROYED');
BEGIN
  UPDATE erasures e SET state = 'CERTIFIED', certificate = commit_bytes(r, 'certificate'), horizon = (r ->> 'horizon')::bigint
    WHERE e.id = known.id;
  UPDATE credentials c SET state = 'ERASED', epoch = c.epoch + 1 WHERE c.owner_id = known.subject_id AND c.state = 'ERASING';
  -- What tied the id to a person goes with the erasure.
  UPDATE subjects s SET state = 'ERASED', external_ref = NULL WHERE s.id = known.subject_id;
  RETURN commit_step_of(known.accepted, '[]');
END $$;
