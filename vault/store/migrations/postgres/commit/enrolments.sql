-- Operations on enrolment sessions: opening one, ending it, and making a deposited login visible.

CREATE FUNCTION commit_end_sessions(credential_named TEXT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE enrolments e SET state = 'ENDED' WHERE e.credential_id = credential_named AND e.state = 'OPEN';
END $$;

-- Writes the deciding columns of a login with the MAC made for this entry.
CREATE FUNCTION commit_rewrite(login JSONB, r JSONB) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE credentials c SET template_version = (login ->> 'template_version')::bigint, state = login ->> 'state',
      secret_version = (login ->> 'secret_version')::bigint, not_before = (login ->> 'not_before')::bigint,
      dedupe_tag = commit_bytes(login, 'dedupe_tag'), entry_id = commit_bytes(r, 'entry_id'), tag = commit_bytes(r, 'tag'),
      epoch = c.epoch + 1, tagged_state = login ->> 'state', last_tag = decode('', 'hex')
    WHERE c.id = login ->> 'id';
END $$;

CREATE FUNCTION commit_add_subject(subject JSONB, login JSONB) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM commit_refuse_if(subject ->> 'id' <> login ->> 'owner' OR subject ->> 'tenant' <> login ->> 'tenant'
    OR subject ->> 'state' <> 'ACTIVE', 'WRONG_STATE');
  INSERT INTO subjects (id, tenant_id, kind, external_ref, state)
    VALUES (subject ->> 'id', subject ->> 'tenant', subject ->> 'kind', subject ->> 'external_ref', subject ->> 'state')
    ON CONFLICT DO NOTHING;
  -- The id or the reference is taken: the caller reads again and names the subject that exists.
  PERFORM commit_refuse_if(NOT FOUND, 'WRONG_STATE');
END $$;

CREATE FUNCTION commit_add_credential(login JSONB, r JSONB) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM commit_refuse_if(r ->> 'tag' IS NULL OR login ->> 'state' <> 'ENROLLING' OR (login ->> 'secret_version')::bigint <> 0
    OR login ->> 'dedupe_tag' <> '' OR (login ->> 'not_before')::bigint <> 0, 'WRONG_STATE');
  INSERT INTO credentials (id, tenant_id, institution_id, template_version, owner_id, state, secret_version, not_before,
      dedupe_tag, entry_id, tag, epoch, intended_version, tagged_state, last_tag)
    VALUES (login ->> 'id', login ->> 'tenant', login ->> 'institution', (login ->> 'template_version')::bigint, login ->> 'owner',
      'ENROLLING', 0, 0, decode('', 'hex'), commit_bytes(r, 'entry_id'), commit_bytes(r, 'tag'), 1, 0, 'ENROLLING',
      decode('', 'hex'))
    ON CONFLICT DO NOTHING;
  PERFORM commit_refuse_if(NOT FOUND, 'WRONG_STATE');
END $$;

-- Whose login it is and where it works never change; and nothing is entered anew into one that ended.
CREATE FUNCTION commit_same_login(known credentials, login JSONB) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM commit_refuse_if(known.owner_id <> login ->> 'owner' OR known.institution_id <> login ->> 'institution'
    OR known.tenant_id <> login ->> 'tenant' OR known.state NOT IN ('ENROLLING', 'ACTIVE', 'SECRET_REJECTED'), 'WRONG_STATE');
END $$;

CREATE FUNCTION commit_open_enrolment(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  login jsonb := r -> 'credential';
  known credentials%ROWTYPE;
  owner_state text;
BEGIN
  PERFORM commit_refuse_if(NOT EXISTS (SELECT 1 FROM tenants t WHERE t.id = login ->> 'tenant'), 'NOT_FOUND');
  IF r ? 'subject' THEN
    PERFORM commit_add_subject(r -> 'subject', login);
  END IF;
  SELECT s.state INTO owner_state FROM subjects s WHERE s.id = login ->> 'owner' AND s.tenant_id = login ->> 'tenant';
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  PERFORM commit_refuse_if(owner_state <> 'ACTIVE', 'WRONG_STATE');
  -- A template without fields is none.
  PERFORM commit_refuse_if(NOT EXISTS (SELECT 1 FROM template_fields f WHERE f.institution_id = login ->> 'institution'
    AND f.version = (login ->> 'template_version')::bigint), 'NOT_FOUND');
  SELECT c.* INTO known FROM credentials c WHERE c.id = login ->> 'id' AND c.tenant_id = login ->> 'tenant';
  IF FOUND THEN
    PERFORM commit_same_login(known, login);
  ELSE
    PERFORM commit_add_credential(login, r);
  END IF;
  PERFORM commit_refuse_if((r ->> 'expires_at')::bigint <= commit_at(g), 'WRONG_STATE');
  PERFORM commit_end_sessions(login ->> 'id');
  INSERT INTO enrolments (id, tenant_id, credential_id, template_version, intent_entry, version, expires_at, state)
    VALUES (r ->> 'enrolment', login ->> 'tenant', login ->> 'id', (login ->> 'template_version')::bigint, NULL, 0,
      (r ->> 'expires_at')::bigint, 'OPEN')
    ON CONFLICT DO NOTHING;
  PERFORM commit_refuse_if(NOT FOUND, 'WRONG_STATE');
  RETURN commit_step_of(NULL, '[]');
END $$;

CREATE FUNCTION commit_end_enrolment(r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  session enrolments%ROWTYPE;
BEGIN
  SELECT e.* INTO session FROM enrolments e WHERE e.id = r ->> 'enrolment' AND e.tenant_id = r ->> 'tenant';
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  PERFORM commit_refuse_if(session.state <> 'OPEN', 'WRONG_STATE');
  PERFORM commit_end_sessions(session.credential_id);
  UPDATE credentials c SET state = 'DISCARDED', epoch = c.epoch + 1
    WHERE c.id = session.credential_id AND c.state = 'ENROLLING' AND c.secret_version = 0;
  IF FOUND THEN
    PERFORM commit_set_credential_aside(session.credential_id);
  END IF;
  RETURN commit_step_of(session.intent_entry, '[]');
END $$;

CREATE FUNCTION commit_complete_deposit(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  login jsonb := r -> 'credential';
  session enrolments%ROWTYPE;
  known credentials%ROWTYPE;
BEGIN
  SELECT e.* INTO session FROM enrolments e WHERE e.id = r ->> 'enrolment' AND e.tenant_id = login ->> 'tenant';
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  SELECT c.* INTO known FROM credentials c WHERE c.id = login ->> 'id' AND c.tenant_id = login ->> 'tenant';
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  PERFORM commit_same_login(known, login);
  PERFORM commit_refuse_if(session.state <> 'OPEN' OR session.expires_at <= commit_at(g)
    OR session.credential_id <> login ->> 'id' OR session.intent_entry IS NULL
    OR session.version <> (login ->> 'secret_version')::bigint
    OR session.template_version <> (login ->> 'template_version')::bigint OR login ->> 'state' <> 'ACTIVE', 'WRONG_STATE');
  -- The institution locked it meanwhile: the MAC was made for a row without that lock, so it is to be made anew.
  PERFORM commit_refuse_if(known.not_before <> (login ->> 'not_before')::bigint, 'CONSENT_CHANGED');
  PERFORM commit_refuse_if(EXISTS (SELECT 1 FROM credentials c WHERE c.tenant_id = login ->> 'tenant'
    AND c.dedupe_tag = commit_bytes(login, 'dedupe_tag') AND octet_length(c.dedupe_tag) > 0 AND c.id <> login ->> 'id'),
    'DUPLICATE_LOGIN');
  PERFORM commit_rewrite(login, r);
  UPDATE enrolments e SET state = 'COMPLETED' WHERE e.id = session.id;
  RETURN commit_step_of(session.intent_entry, '[]');
END $$;
