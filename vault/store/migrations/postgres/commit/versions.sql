-- Operations on versions of a tenant's key. The keys themselves, and what lies under them, are in the keyring; here is which
-- version is in force, and which were.

CREATE FUNCTION commit_make_tenant_key(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  made bigint := (r ->> 'key_version')::bigint;
BEGIN
  PERFORM commit_refuse_if(NOT EXISTS (SELECT 1 FROM tenants t WHERE t.id = r ->> 'tenant'), 'NOT_FOUND');
  PERFORM commit_rotates(r ->> 'job', r ->> 'tenant');
  PERFORM commit_refuse_if(EXISTS (SELECT 1 FROM tenant_key_versions v WHERE v.tenant_id = r ->> 'tenant' AND v.version >= made), 'WRONG_STATE');
  INSERT INTO tenant_key_versions (tenant_id, version, key_id, state, state_entry, state_at)
    VALUES (r ->> 'tenant', made, commit_bytes(r, 'key_id'), 'MADE', commit_next_index(), commit_at(g));
  RETURN commit_step_of(NULL, '[]');
END $$;

-- What was made and not opened is closed with those that were: it stays behind the one in force.
CREATE FUNCTION commit_open_tenant_key(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  tenant tenants%ROWTYPE := commit_served(g, r ->> 'tenant');
  made tenant_key_versions%ROWTYPE;
BEGIN
  PERFORM commit_rotates(r ->> 'job', tenant.id);
  SELECT v.* INTO made FROM tenant_key_versions v WHERE v.tenant_id = tenant.id AND v.version = (r ->> 'key_version')::bigint;
  PERFORM commit_refuse_if(NOT FOUND, 'WRONG_STATE');
  PERFORM commit_refuse_if(made.state <> 'MADE' OR made.version <= tenant.tenant_key_version, 'WRONG_STATE');
  PERFORM commit_says_key(r -> 'entry', made.key_id, made.version);
  UPDATE tenant_key_versions v SET state = CASE v.version WHEN made.version THEN 'CURRENT' ELSE 'CLOSED' END,
      state_entry = commit_next_index(), state_at = commit_at(g)
    WHERE v.tenant_id = tenant.id AND v.state IN ('MADE', 'CURRENT');
  UPDATE tenants t SET tenant_key_id = made.key_id, tenant_key_version = made.version, epoch = t.epoch + 1 WHERE t.id = tenant.id;
  RETURN commit_step_of(NULL, '[]');
END $$;

CREATE FUNCTION commit_tenant_key_moved(r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  tenant tenants%ROWTYPE;
BEGIN
  SELECT t.* INTO tenant FROM tenants t WHERE t.id = r ->> 'tenant';
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  PERFORM commit_rotates(r ->> 'job', tenant.id);
  PERFORM commit_refuse_if(tenant.tenant_key_version <> (r ->> 'key_version')::bigint, 'WRONG_STATE');
  PERFORM commit_says_key(r -> 'entry', tenant.tenant_key_id, tenant.tenant_key_version);
  UPDATE tenants t SET tenant_key_oldest = tenant.tenant_key_version WHERE t.id = tenant.id;
  RETURN commit_step_of(NULL, '[]');
END $$;
