-- Operations on registered parties: tenants, institutions, templates, workers, the policy set; and what the integrator
-- keeps. Registering anew bumps the epoch of what was registered.

CREATE FUNCTION commit_activate_policy(r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
BEGIN
  -- The same set activated again, as at each start, moves nothing.
  INSERT INTO policy_active AS p (scope, digest, epoch) VALUES ('platform', commit_bytes(r, 'digest'), 1)
    ON CONFLICT (scope) DO UPDATE SET digest = excluded.digest, epoch = p.epoch + 1 WHERE p.digest <> excluded.digest;
  RETURN commit_step_of(NULL, '[]');
END $$;

-- The tenant must exist; what belongs to it moves its epoch.
CREATE FUNCTION commit_belongs(tenant_named TEXT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE tenants t SET epoch = t.epoch + 1 WHERE t.id = tenant_named;
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
END $$;

CREATE FUNCTION commit_put_signing_key(signer JSONB) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  known signing_keys%ROWTYPE;
BEGIN
  PERFORM commit_belongs(signer ->> 'tenant');
  SELECT k.* INTO known FROM signing_keys k WHERE k.id = signer ->> 'id';
  IF FOUND THEN
    PERFORM commit_refuse_if(known.tenant_id <> signer ->> 'tenant' OR known.kind <> signer ->> 'kind'
      OR known.public_key <> commit_bytes(signer, 'public_key'), 'WRONG_STATE');
  END IF;
  INSERT INTO signing_keys (id, tenant_id, kind, public_key, not_after)
    VALUES (signer ->> 'id', signer ->> 'tenant', signer ->> 'kind', commit_bytes(signer, 'public_key'), (signer ->> 'not_after')::bigint)
    ON CONFLICT (id) DO UPDATE SET not_after = excluded.not_after;
END $$;

CREATE FUNCTION commit_put_recipient(recipient JSONB) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM commit_belongs(recipient ->> 'tenant');
  PERFORM commit_refuse_if(EXISTS (SELECT 1 FROM recipients p WHERE p.id = recipient ->> 'id'
    AND p.tenant_id <> recipient ->> 'tenant'), 'WRONG_STATE');
  INSERT INTO recipients (id, tenant_id, name) VALUES (recipient ->> 'id', recipient ->> 'tenant', recipient ->> 'name')
    ON CONFLICT (id) DO UPDATE SET name = excluded.name;
END $$;

CREATE FUNCTION commit_put_tenant(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  tenant jsonb := r -> 'tenant';
  key_id bytea := commit_bytes(tenant, 'tenant_key_id');
  key_version bigint := (tenant ->> 'key_version')::bigint;
  first_put boolean;
BEGIN
  PERFORM commit_refuse_if(EXISTS (SELECT 1 FROM tenants t WHERE (t.slug = tenant ->> 'slug') <> (t.id = tenant ->> 'id')), 'WRONG_STATE');
  first_put := NOT EXISTS (SELECT 1 FROM tenants t WHERE t.id = tenant ->> 'id');
  -- SECURITY: only a rotation replaces a key. Whoever read the tenant before one would bring the old key back.
  PERFORM commit_refuse_if(EXISTS (SELECT 1 FROM tenants t WHERE t.id = tenant ->> 'id'
    AND (t.tenant_key_id, t.tenant_key_version) IS DISTINCT FROM (key_id, key_version)), 'WRONG_STATE');
  INSERT INTO tenants AS t (id, slug, legal_name, state, home_region, tenant_key_id, tenant_key_version, tenant_key_oldest,
      warm_for_us, epoch)
    VALUES (tenant ->> 'id', tenant ->> 'slug', tenant ->> 'legal_name', tenant ->> 'state', tenant ->> 'home_region',
      key_id, key_version, key_version, (tenant ->> 'warm_for')::bigint, 1)
    ON CONFLICT (id) DO UPDATE SET legal_name = excluded.legal_name, state = excluded.state, home_region = excluded.home_region,
      warm_for_us = excluded.warm_for_us, epoch = t.epoch + 1;
  IF first_put THEN
    INSERT INTO tenant_key_versions (tenant_id, version, key_id, state, state_entry, state_at)
      VALUES (tenant ->> 'id', key_version, key_id, 'CURRENT', commit_next_index(), commit_at(g));
  END IF;
  PERFORM commit_put_signing_key(k.value) FROM jsonb_array_elements(r -> 'signing_keys') k;
  PERFORM commit_put_recipient(p.value) FROM jsonb_array_elements(r -> 'recipients') p;
  RETURN commit_step_of(NULL, '[]');
END $$;

CREATE FUNCTION commit_put_institution(r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO institutions AS i (id, name, country, state, lockout_threshold, unattended_from, unattended_to, epoch)
    VALUES (r ->> 'id', r ->> 'name', r ->> 'country', r ->> 'state', (r ->> 'lockout_threshold')::bigint,
      (r ->> 'unattended_from')::bigint, (r ->> 'unattended_to')::bigint, 1)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, country = excluded.country, state = excluded.state,
      lockout_threshold = excluded.lockout_threshold, unattended_from = excluded.unattended_from,
      unattended_to = excluded.unattended_to, epoch = i.epoch + 1;
  RETURN commit_step_of(NULL, '[]');
END $$;

CREATE FUNCTION commit_put_template(r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  institution_named text := r ->> 'institution';
  version_put bigint := (r ->> 'version')::bigint;
BEGIN
  PERFORM commit_refuse_if(NOT EXISTS (SELECT 1 FROM institutions i WHERE i.id = institution_named), 'NOT_FOUND');
  PERFORM commit_refuse_if(jsonb_array_length(r -> 'fields') = 0, 'BAD_REQUEST');
  PERFORM commit_refuse_if(version_put <> 1 + (SELECT coalesce(max(t.version), 0) FROM login_templates t
    WHERE t.institution_id = institution_named), 'WRONG_STATE');
  INSERT INTO login_templates (institution_id, version) VALUES (institution_named, version_put);
  INSERT INTO template_fields (institution_id, version, place, field_key, pattern, required, secret, signing_factor, identifies, release_form)
    SELECT institution_named, version_put, f.place - 1, f.field ->> 'key', f.field ->> 'pattern', (f.field ->> 'required')::bigint,
      (f.field ->> 'secret')::bigint, (f.field ->> 'signing_factor')::bigint, (f.field ->> 'identifies')::bigint, f.field ->> 'form'
    FROM jsonb_array_elements(r -> 'fields') WITH ORDINALITY f (field, place);
  UPDATE institutions i SET epoch = i.epoch + 1 WHERE i.id = institution_named;
  RETURN commit_step_of(NULL, '[]');
END $$;

CREATE FUNCTION commit_put_worker(r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  worker_put text := r ->> 'worker';
BEGIN
  -- SECURITY: registering anew never lifts a quarantine, whatever was read before it was committed.
  INSERT INTO workers AS w (spiffe_id, state, epoch) VALUES (worker_put, r ->> 'state', 1)
    ON CONFLICT (spiffe_id) DO UPDATE SET
      state = CASE w.state WHEN 'QUARANTINED' THEN w.state ELSE excluded.state END, epoch = w.epoch + 1;
  DELETE FROM worker_scopes s WHERE s.worker = worker_put;
  INSERT INTO worker_scopes (worker, tenant, institution)
    SELECT worker_put, s.value ->> 0, s.value ->> 1 FROM jsonb_array_elements(r -> 'scopes') s ON CONFLICT DO NOTHING;
  RETURN commit_step_of(NULL, '[]');
END $$;

-- Tiles only ever grow, and a checkpoint covers nothing the ledger does not hold.
CREATE FUNCTION commit_integrate(r JSONB) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
  PERFORM commit_refuse_if(r ? 'size' AND ((r ->> 'size')::bigint NOT BETWEEN 0 AND commit_next_index()
    OR octet_length(r ->> 'note') NOT BETWEEN 1 AND commit_limit('note')), 'WRONG_STATE');
  PERFORM commit_refuse_if(jsonb_array_length(r -> 'tiles') > commit_limit('tiles'), 'WRONG_STATE');
  PERFORM commit_refuse_if(EXISTS (SELECT FROM jsonb_array_elements(r -> 'tiles') f
    WHERE ((f.value ->> 'level')::bigint BETWEEN 0 AND 7 AND (f.value ->> 'width')::bigint BETWEEN 1 AND 256
      AND (f.value ->> 'n')::bigint >= 0
      AND octet_length(commit_bytes(f.value, 'hashes')) = 32 * (f.value ->> 'width')::bigint) IS NOT TRUE), 'WRONG_STATE');
  INSERT INTO ledger_tiles AS t (level, n, width, hashes)
    SELECT (f.value ->> 'level')::bigint, (f.value ->> 'n')::bigint, (f.value ->> 'width')::bigint, commit_bytes(f.value, 'hashes')
    FROM jsonb_array_elements(r -> 'tiles') f
    ON CONFLICT (level, n) DO UPDATE SET width = excluded.width, hashes = excluded.hashes WHERE t.width < excluded.width;
  IF r ? 'size' THEN
    INSERT INTO ledger_checkpoints (size, note) VALUES ((r ->> 'size')::bigint, r ->> 'note') ON CONFLICT (size) DO NOTHING;
  END IF;
  RETURN jsonb_build_object('verdict', 'DONE');
END $$;
