-- The commit of a decision. A grant is checked again against the rows as they stand under the lock; what conflicts is
-- recorded as a denial.

-- The epochs as they stand, in the order of the entry's vector. What does not exist, or is not named, has epoch 0.
CREATE FUNCTION commit_epochs(worker_named TEXT, tenant_named TEXT, credential_named TEXT) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT jsonb_build_array(
    (SELECT c.epoch FROM cell c),
    coalesce((SELECT p.epoch FROM policy_active p WHERE p.scope = 'platform'), 0),
    coalesce((SELECT t.epoch FROM tenants t WHERE t.id = tenant_named), 0),
    coalesce((SELECT i.epoch FROM credentials c JOIN institutions i ON i.id = c.institution_id
              WHERE c.id = credential_named AND c.tenant_id = tenant_named), 0),
    coalesce((SELECT w.epoch FROM workers w WHERE w.spiffe_id = worker_named), 0),
    coalesce((SELECT c.epoch FROM credentials c WHERE c.id = credential_named AND c.tenant_id = tenant_named), 0)));
END $$;

CREATE FUNCTION commit_denied(g commit_group, entry JSONB, reason TEXT, retry_at BIGINT) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  denied jsonb := commit_decided(entry, 'DENIED', 'DENIED', reason, NULL, NULL);
BEGIN
  RETURN jsonb_build_object('verdict', 'DENIED', 'reason', reason, 'retry_at', retry_at,
    'entries', jsonb_build_array(commit_append(g, denied)));
END $$;

CREATE FUNCTION commit_deny(g commit_group, r JSONB) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
  IF commit_epochs(r ->> 'worker', r ->> 'tenant', r ->> 'credential') IS DISTINCT FROM r -> 'epochs' THEN
    RETURN jsonb_build_object('verdict', 'MOVED');
  END IF;
  RETURN commit_denied(g, r -> 'entry', r ->> 'reason', (r ->> 'retry_at')::bigint);
END $$;

-- Which bound has passed: the consent's, the attendance statement's, or else the job's.
CREATE FUNCTION commit_lapsed(r JSONB, moment BIGINT) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  consented_until bigint;
BEGIN
  SELECT c.valid_until INTO consented_until FROM consents c
    WHERE c.credential_id = r ->> 'credential' AND c.tenant_id = r ->> 'tenant'
    ORDER BY (c.state = 'ACTIVE' AND c.valid_until > moment) DESC, c.requested_at DESC, c.id DESC LIMIT 1;
  IF consented_until <= moment THEN
    RETURN 'CONSENT_EXPIRED';
  END IF;
  RETURN CASE WHEN r ->> 'attendance' = 'ATTENDED' THEN 'ATTENDANCE_INVALID' ELSE 'JOB_INVALID' END;
END $$;

-- Unattended sessions of the rolling 24 hours, this one included (RTS 2018/389, Article 36(5)(b)), and the time between
-- two of them. Gives when trying again makes sense; `refused` says whether there is a refusal at all.
CREATE FUNCTION commit_frequency(r JSONB, moment BIGINT, OUT refused BOOLEAN, OUT retry_at BIGINT) LANGUAGE plpgsql AS $$
DECLARE
  sessions bigint;
  first_at bigint;
  last_at bigint;
BEGIN
  refused := false;
  IF r ->> 'attendance' = 'ATTENDED' THEN
    RETURN;
  END IF;
  SELECT count(*), min(p.at), max(p.at) INTO sessions, first_at, last_at FROM releases p
    WHERE p.credential_id = r ->> 'credential' AND p.at > moment - commit_limit('day')
      AND p.attendance = 'UNATTENDED' AND p.counted = 1;
  IF sessions >= (r ->> 'per_day')::bigint THEN
    refused := true;
    retry_at := first_at + commit_limit('day');
  ELSIF moment < last_at + commit_limit('spacing') THEN
    refused := true;
    retry_at := last_at + commit_limit('spacing');
  END IF;
END $$;

-- What a grant does to the rows.
CREATE FUNCTION commit_hold(r JSONB, granted JSONB, standing TEXT, since BIGINT, counts_as TEXT, until BIGINT) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  moment bigint := (granted ->> 'time')::bigint;
BEGIN
  IF standing = 'REPEAT' THEN
    UPDATE releases p SET answers = p.answers + 1, session_since = since
      WHERE p.worker_id = r ->> 'worker' AND p.request_id = r ->> 'request';
  ELSE
    INSERT INTO releases (tenant_id, worker_id, request_id, credential_id, owner_id, job_id, digest, seal_key_digest,
        secret_version, attendance, counted, at, entry_index, session_since, answers)
      VALUES (r ->> 'tenant', r ->> 'worker', r ->> 'request', r ->> 'credential', r ->> 'owner', r ->> 'job',
        commit_bytes(r, 'request_digest'), commit_bytes(r, 'seal_key_digest'), (r ->> 'secret_version')::bigint,
        r ->> 'attendance', CASE standing WHEN 'SESSION' THEN 0 ELSE 1 END, moment, (granted ->> 'index')::bigint, since, 1);
  END IF;
  -- A lease that is over is replaced, a live one of the same session only ever extended.
  INSERT INTO leases (credential_id, job_id, worker_id, seal_key_digest, until, since, attendance)
    VALUES (r ->> 'credential', r ->> 'job', r ->> 'worker', commit_bytes(r, 'seal_key_digest'), commit_hold.until,
      commit_hold.since, counts_as)
    ON CONFLICT (credential_id) DO UPDATE SET job_id = excluded.job_id, worker_id = excluded.worker_id,
      seal_key_digest = excluded.seal_key_digest, until = excluded.until, since = excluded.since,
      attendance = excluded.attendance;
  IF r ->> 'token' IS NOT NULL THEN
    INSERT INTO tokens_used (id, worker_id, request_id, until)
      VALUES (r ->> 'token', r ->> 'worker', r ->> 'request', (r ->> 'token_until')::bigint) ON CONFLICT DO NOTHING;
    DELETE FROM tokens_used u WHERE u.until < moment;
  END IF;
END $$;

CREATE FUNCTION commit_grant(g commit_group, r JSONB) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  entry jsonb := r -> 'entry';
  seal_key bytea := commit_bytes(r, 'seal_key_digest');
  attendance_asked text := r ->> 'attendance';
  moment bigint := commit_at(g);
  past releases%ROWTYPE;
  lease leases%ROWTYPE;
  repeats boolean;
  held boolean;
  standing text;
  frequency record;
  began bigint;
  ends bigint;
  lease_until bigint := (r ->> 'lease_until')::bigint;
  counts_as text := attendance_asked;
  granted jsonb;
BEGIN
  IF commit_epochs(r ->> 'worker', r ->> 'tenant', r ->> 'credential') IS DISTINCT FROM r -> 'epochs' THEN
    RETURN jsonb_build_object('verdict', 'MOVED');
  END IF;
  -- The answer could not leave any more, however soon the commit is done.
  IF (g.waited > (r ->> 'left')::bigint) IS NOT FALSE THEN
    RETURN commit_denied(g, entry, 'NOT_DELIVERED', NULL);
  ELSIF g.trusted IS NOT TRUE THEN
    RETURN commit_denied(g, entry, 'CLOCK_UNTRUSTED', NULL);
  ELSIF (moment >= (r ->> 'not_after')::bigint) IS NOT FALSE THEN
    RETURN commit_denied(g, entry, commit_lapsed(r, moment), NULL);
  END IF;

  SELECT p.* INTO past FROM releases p WHERE p.worker_id = r ->> 'worker' AND p.request_id = r ->> 'request';
  repeats := FOUND;
  IF repeats AND (past.outcome IS NULL AND past.digest = commit_bytes(r, 'request_digest')
      AND past.seal_key_digest = seal_key) IS NOT TRUE THEN
    RETURN commit_denied(g, entry, 'REPLAY', NULL);
  END IF;
  SELECT l.* INTO lease FROM leases l WHERE l.credential_id = r ->> 'credential' AND l.until > moment;
  held := FOUND;
  IF held AND (lease.job_id = r ->> 'job' AND lease.worker_id = r ->> 'worker' AND lease.seal_key_digest = seal_key) IS NOT TRUE THEN
    RETURN commit_denied(g, entry, 'LEASE_HELD', lease.until);
  END IF;
  IF EXISTS (SELECT 1 FROM tokens_used u WHERE u.id = r ->> 'token'
      AND NOT (u.worker_id = r ->> 'worker' AND u.request_id = r ->> 'request')) THEN
    RETURN commit_denied(g, entry, 'ATTENDANCE_INVALID', NULL);
  END IF;

  standing := CASE WHEN repeats THEN 'REPEAT' WHEN NOT held THEN 'NEW'
    WHEN attendance_asked = 'UNATTENDED' AND lease.attendance = 'ATTENDED' THEN 'COUNTED' ELSE 'SESSION' END;
  IF standing IN ('NEW', 'COUNTED') THEN
    frequency := commit_frequency(r, moment);
    IF frequency.refused IS NOT FALSE THEN
      RETURN commit_denied(g, entry, 'FREQUENCY_EXCEEDED', frequency.retry_at);
    END IF;
  END IF;
  began := CASE WHEN held THEN lease.since WHEN repeats THEN past.session_since ELSE moment END;
  ends := began + commit_limit('session');
  IF ends <= moment THEN
    -- SECURITY: without this, repeats would carry one session on for as long as the job lasts.
    RETURN commit_denied(g, entry, 'REPLAY', NULL);
  END IF;
  IF held THEN
    lease_until := greatest(lease.until, lease_until);
    counts_as := CASE lease.attendance WHEN 'UNATTENDED' THEN 'UNATTENDED' ELSE attendance_asked END;
  END IF;
  lease_until := least(lease_until, ends);

  granted := commit_append(g, commit_decided(entry, CASE WHEN repeats THEN 'REDELIVERED' ELSE 'GRANTED' END, 'GRANTED', NULL,
    lease_until, CASE WHEN repeats THEN past.entry_index END));
  PERFORM commit_hold(r, granted, standing, began, counts_as, lease_until);
  RETURN jsonb_build_object('verdict', 'GRANTED', 'lease_until', lease_until, 'entries', jsonb_build_array(granted));
END $$;
