-- Operations on consents. Whatever changes one moves the epoch of the login it covers; ending one ends the leases of that
-- login too, and needs no MAC.

CREATE FUNCTION commit_request_consent(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  asked jsonb := r -> 'consent';
  login credentials%ROWTYPE;
  named_by text;
BEGIN
  SELECT c.* INTO login FROM credentials c WHERE c.id = asked ->> 'credential' AND c.tenant_id = asked ->> 'tenant';
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  PERFORM commit_refuse_if(login.state NOT IN ('ENROLLING', 'ACTIVE', 'SECRET_REJECTED'), 'WRONG_STATE');
  SELECT p.tenant_id INTO named_by FROM recipients p WHERE p.id = asked ->> 'recipient';
  PERFORM commit_refuse_if(NOT FOUND OR named_by <> asked ->> 'tenant' OR login.owner_id <> asked ->> 'subject', 'NOT_FOUND');
  PERFORM commit_refuse_if(asked ->> 'state' <> 'AWAITING_AUTHORISATION' OR (r ->> 'lapses_at')::bigint <= commit_at(g), 'WRONG_STATE');
  INSERT INTO consents (id, tenant_id, subject_id, credential_id, recipient_id, purpose, scopes, valid_from, valid_until,
      history_from, unattended_per_day, state, entry_id, tag, lapses_at, notice_digest, locale, evidence, requested_at,
      tagged_state, last_tag)
    VALUES (asked ->> 'id', asked ->> 'tenant', asked ->> 'subject', asked ->> 'credential', asked ->> 'recipient',
      asked ->> 'purpose', asked ->> 'scopes', (asked ->> 'valid_from')::bigint, (asked ->> 'valid_until')::bigint,
      (asked ->> 'history_from')::bigint, (asked ->> 'unattended_per_day')::bigint, asked ->> 'state',
      commit_bytes(r, 'entry_id'), commit_bytes(r, 'tag'), (r ->> 'lapses_at')::bigint, commit_bytes(r, 'notice_digest'),
      r ->> 'locale', decode('', 'hex'), commit_at(g), asked ->> 'state', decode('', 'hex'))
    ON CONFLICT DO NOTHING;
  PERFORM commit_refuse_if(NOT FOUND, 'WRONG_STATE');
  PERFORM commit_move_credential(asked ->> 'credential');
  RETURN commit_step_of(NULL, '[]');
END $$;

-- Keeps a receipt as the next one of its consent.
CREATE FUNCTION commit_keep_receipt(g commit_group, consent_named TEXT, receipt_named TEXT, place BIGINT, attested TEXT, content TEXT)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM commit_refuse_if(NOT EXISTS (SELECT 1 FROM consents c WHERE c.id = consent_named), 'NOT_FOUND');
  PERFORM commit_refuse_if(place <> 1 + (SELECT coalesce(max(e.seq), 0) FROM consent_events e WHERE e.consent_id = consent_named),
    'WRONG_STATE');
  INSERT INTO consent_events (consent_id, seq, receipt_id, state, at, jws, entry_index)
    VALUES (consent_named, place, receipt_named, attested, commit_at(g), content, commit_next_index()) ON CONFLICT DO NOTHING;
  PERFORM commit_refuse_if(NOT FOUND, 'WRONG_STATE');
END $$;

CREATE FUNCTION commit_grant_consent(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  asked jsonb := r -> 'consent';
  starts bigint := (asked ->> 'valid_from')::bigint;
  ends bigint := (asked ->> 'valid_until')::bigint;
  moment bigint := commit_at(g);
  awaited consents%ROWTYPE;
  login_state text;
BEGIN
  PERFORM commit_refuse_if(NOT g.trusted, 'CLOCK_UNTRUSTED');
  SELECT c.* INTO awaited FROM consents c WHERE c.id = asked ->> 'id' AND c.tenant_id = asked ->> 'tenant';
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  -- What was shown is what is granted: only the instants may be narrowed.
  PERFORM commit_refuse_if(asked ->> 'state' <> 'ACTIVE' OR asked ->> 'subject' <> awaited.subject_id
    OR asked ->> 'credential' <> awaited.credential_id OR asked ->> 'recipient' <> awaited.recipient_id
    OR asked ->> 'purpose' <> awaited.purpose OR asked ->> 'scopes' <> awaited.scopes
    OR (asked ->> 'history_from')::bigint <> awaited.history_from
    OR (asked ->> 'unattended_per_day')::bigint <> awaited.unattended_per_day
    OR starts < awaited.valid_from OR ends > awaited.valid_until, 'WRONG_STATE');
  PERFORM commit_refuse_if(awaited.state <> 'AWAITING_AUTHORISATION' OR moment >= awaited.lapses_at OR moment >= ends, 'WRONG_STATE');
  SELECT c.state INTO login_state FROM credentials c WHERE c.id = awaited.credential_id AND c.tenant_id = awaited.tenant_id;
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  PERFORM commit_refuse_if(login_state NOT IN ('ENROLLING', 'ACTIVE', 'SECRET_REJECTED')
    OR EXISTS (SELECT 1 FROM consents c WHERE c.credential_id = awaited.credential_id AND c.state = 'ACTIVE'
      AND c.valid_until > moment AND c.id <> awaited.id), 'WRONG_STATE');
  UPDATE consents c SET state = 'ACTIVE', valid_from = starts, valid_until = ends, entry_id = commit_bytes(r, 'entry_id'),
      tag = commit_bytes(r, 'tag'), evidence = commit_bytes(r, 'evidence'), tagged_state = 'ACTIVE', last_tag = decode('', 'hex')
    WHERE c.id = awaited.id;
  PERFORM commit_keep_receipt(g, awaited.id, r ->> 'receipt',
    1 + (SELECT coalesce(max(e.seq), 0) FROM consent_events e WHERE e.consent_id = awaited.id), 'ACTIVE', r ->> 'jws');
  PERFORM commit_move_credential(awaited.credential_id);
  RETURN commit_step_of(NULL, '[]');
END $$;

CREATE FUNCTION commit_end_consent(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  ends_as text := r ->> 'to';
  known consents%ROWTYPE;
BEGIN
  SELECT c.* INTO known FROM consents c WHERE c.id = r ->> 'consent' AND c.tenant_id = r ->> 'tenant';
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  PERFORM commit_refuse_if(known.state NOT IN ('ACTIVE', 'AWAITING_AUTHORISATION'), 'WRONG_STATE');
  -- Only time expires a consent; before that, only a withdrawal ends it.
  PERFORM commit_refuse_if(ends_as = 'EXPIRED'
    AND commit_at(g) < CASE known.state WHEN 'ACTIVE' THEN known.valid_until ELSE known.lapses_at END, 'WRONG_STATE');
  UPDATE consents c SET state = ends_as WHERE c.id = known.id;
  PERFORM commit_set_consent_aside(known.id);
  PERFORM commit_move_credential(known.credential_id);
  RETURN commit_step_of(NULL, jsonb_build_array(jsonb_build_object('change', 'CONSENT_ENDED', 'consent', known.id,
    'credential', known.credential_id, 'state', ends_as)) || commit_end_leases(g, ARRAY[known.credential_id]));
END $$;

CREATE FUNCTION commit_receipt(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
BEGIN
  PERFORM commit_keep_receipt(g, r ->> 'consent', r ->> 'receipt', (r ->> 'seq')::bigint, r ->> 'state', r ->> 'jws');
  RETURN commit_step_of(NULL, '[]');
END $$;
