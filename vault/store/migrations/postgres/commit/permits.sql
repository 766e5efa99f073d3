-- Permits that are not releases: to warm a tenant key, to wrap it anew, to move what lies under it, and to seal a deposit.

-- The widest scopes first: whether a stop button is pressed that concerns this tenant, institution or login.
CREATE FUNCTION commit_locked_down(tenant_named TEXT, institution_named TEXT, credential_named TEXT) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  RETURN EXISTS (SELECT 1 FROM lockdowns l WHERE l.scope_kind = 'PLATFORM'
    OR (l.scope_kind = 'TENANT' AND l.scope_id = tenant_named)
    OR (l.scope_kind = 'INSTITUTION' AND l.scope_id = institution_named)
    OR (l.scope_kind = 'CREDENTIAL' AND l.scope_id = credential_named));
END $$;

-- The tenant, where nothing keeps its keys from being opened.
CREATE FUNCTION commit_served(g commit_group, tenant_named TEXT) RETURNS tenants LANGUAGE plpgsql AS $$
DECLARE
  tenant tenants%ROWTYPE;
BEGIN
  PERFORM commit_refuse_if(NOT g.trusted, 'CLOCK_UNTRUSTED');
  SELECT t.* INTO tenant FROM tenants t WHERE t.id = tenant_named;
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  PERFORM commit_refuse_if(commit_locked_down(tenant_named, NULL, NULL), 'LOCKDOWN');
  RETURN tenant;
END $$;

-- Refuses where the tenant's keys are not to be opened, or its key has no such version and id in one of these states.
CREATE FUNCTION commit_key_known(g commit_group, r JSONB, key_version BIGINT, key_id BYTEA, states TEXT[]) RETURNS tenants
LANGUAGE plpgsql AS $$
DECLARE
  tenant tenants%ROWTYPE := commit_served(g, r ->> 'tenant');
BEGIN
  PERFORM commit_refuse_if(NOT EXISTS (SELECT 1 FROM tenant_key_versions v WHERE v.tenant_id = tenant.id
    AND v.version = commit_key_known.key_version AND v.key_id = commit_key_known.key_id AND v.state = ANY (states)), 'INTEGRITY_FAILURE');
  RETURN tenant;
END $$;

-- Refuses where this job does not rotate this tenant's key, or does not any more.
CREATE FUNCTION commit_rotates(job_named TEXT, tenant_named TEXT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM commit_refuse_if(NOT EXISTS (SELECT 1 FROM key_jobs j WHERE j.id = job_named AND j.kind = 'ROTATE'
    AND j.state = 'RUNNING' AND j.target IN ('all', tenant_named)), 'WRONG_STATE');
END $$;

-- The entry names the key that will be opened, the job it is opened for and where that moves it. The shares of a version
-- that was made and not opened yet are moved once it was.
CREATE FUNCTION commit_rewrap(g commit_group, r JSONB) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  running key_jobs%ROWTYPE;
BEGIN
  PERFORM commit_key_known(g, r, (r ->> 'key_version')::bigint, commit_bytes(r, 'key_id'), '{CURRENT,CLOSED}');
  SELECT j.* INTO running FROM key_jobs j WHERE j.id = r ->> 'job';
  PERFORM commit_refuse_if(NOT FOUND OR running.kind <> 'REWRAP' OR running.state <> 'RUNNING'
    OR running.target IS DISTINCT FROM r ->> 'target', 'WRONG_STATE');
  PERFORM commit_says(r -> 'entry', 'reference', running.id || ' ' || running.target);
  RETURN jsonb_build_object('verdict', 'WRITTEN', 'entries', jsonb_build_array(commit_append(g, r -> 'entry')));
END $$;

CREATE FUNCTION commit_move_keys(g commit_group, r JSONB) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  tenant tenants%ROWTYPE;
BEGIN
  tenant := commit_key_known(g, r, (r ->> 'from_version')::bigint, commit_bytes(r, 'from_id'), '{CLOSED}');
  PERFORM commit_refuse_if(tenant.tenant_key_version <> (r ->> 'key_version')::bigint
    OR tenant.tenant_key_id <> commit_bytes(r, 'key_id'), 'INTEGRITY_FAILURE');
  PERFORM commit_refuse_if((r ->> 'count')::bigint < 1, 'BAD_REQUEST');
  PERFORM commit_rotates(r ->> 'job', tenant.id);
  RETURN jsonb_build_object('verdict', 'WRITTEN', 'entries', jsonb_build_array(commit_append(g, r -> 'entry')));
END $$;

CREATE FUNCTION commit_warm(g commit_group, r JSONB) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
  PERFORM commit_key_known(g, r, (r ->> 'key_version')::bigint, commit_bytes(r, 'key_id'), '{MADE,CURRENT,CLOSED}');
  RETURN jsonb_build_object('verdict', 'WRITTEN', 'entries', jsonb_build_array(commit_append(g, r -> 'entry')));
END $$;

CREATE FUNCTION commit_intend(g commit_group, r JSONB) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  tenant tenants%ROWTYPE := commit_served(g, r ->> 'tenant');
  session enrolments%ROWTYPE;
  login credentials%ROWTYPE;
  version_given bigint;
  intent jsonb;
BEGIN
  SELECT e.* INTO session FROM enrolments e WHERE e.id = r ->> 'enrolment' AND e.tenant_id = r ->> 'tenant';
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  PERFORM commit_refuse_if(session.state <> 'OPEN' OR session.expires_at <= commit_at(g), 'WRONG_STATE');
  SELECT c.* INTO login FROM credentials c WHERE c.id = session.credential_id AND c.tenant_id = r ->> 'tenant';
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  PERFORM commit_refuse_if(login.state NOT IN ('ENROLLING', 'ACTIVE', 'SECRET_REJECTED'), 'WRONG_STATE');
  PERFORM commit_refuse_if(commit_locked_down(r ->> 'tenant', login.institution_id, login.id), 'LOCKDOWN');
  -- A version no intent was given before: keys and ciphertexts of an intent that failed stay in nobody's way.
  UPDATE credentials c SET intended_version = greatest(c.intended_version, c.secret_version) + 1 WHERE c.id = login.id
    RETURNING c.intended_version INTO STRICT version_given;
  intent := commit_append(g, commit_set_number(r -> 'entry', 'secret_version', version_given));
  UPDATE enrolments e SET intent_entry = (intent ->> 'index')::bigint, version = version_given WHERE e.id = session.id;
  RETURN jsonb_build_object('verdict', 'INTENDED', 'owner', login.owner_id, 'credential', login.id, 'version', version_given,
    'template_version', session.template_version, 'key_id', encode(tenant.tenant_key_id, 'hex'),
    'entries', jsonb_build_array(intent));
END $$;
