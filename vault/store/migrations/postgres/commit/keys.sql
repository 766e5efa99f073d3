-- Operations on jobs over keys. The rows they move are in the keyring; here is what was ordered, counted and ended.

-- One job of a kind at a time: two that move the same rows to two places would never end.
CREATE FUNCTION commit_open_key_job(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
BEGIN
  IF r ->> 'kind' = 'ROTATE' THEN
    -- Whose keys: those of all, or of a tenant that is there. It has no place to move away from.
    PERFORM commit_refuse_if(r ->> 'from_key' IS NOT NULL, 'BAD_REQUEST');
    PERFORM commit_refuse_if(r ->> 'target' <> 'all' AND NOT EXISTS (SELECT 1 FROM tenants t WHERE t.id = r ->> 'target'), 'NOT_FOUND');
  END IF;
  PERFORM commit_refuse_if(coalesce((r ->> 'rate')::bigint, 1) NOT BETWEEN 1 AND commit_limit('key_rate'), 'BAD_REQUEST');
  INSERT INTO key_jobs (id, kind, target, from_key, rate, state, opened_at, opened_entry)
    VALUES (r ->> 'id', r ->> 'kind', r ->> 'target', r ->> 'from_key', (r ->> 'rate')::bigint, 'RUNNING', commit_at(g),
      commit_next_index())
    ON CONFLICT DO NOTHING;
  PERFORM commit_refuse_if(NOT FOUND, 'WRONG_STATE');
  RETURN commit_step_of(NULL, '[]');
END $$;

CREATE FUNCTION commit_end_key_job(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  job key_jobs%ROWTYPE;
BEGIN
  SELECT j.* INTO job FROM key_jobs j WHERE j.id = r ->> 'id';
  PERFORM commit_refuse_if(NOT FOUND, 'NOT_FOUND');
  PERFORM commit_refuse_if(job.state <> 'RUNNING', 'WRONG_STATE');
  UPDATE key_jobs j SET state = r ->> 'to', ended_at = commit_at(g), moved = (r ->> 'moved')::bigint WHERE j.id = job.id;
  RETURN commit_step_of(job.opened_entry, '[]');
END $$;

CREATE FUNCTION commit_count_keys(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO key_counts (subject, remaining, at, statement, entry_index)
    VALUES (r ->> 'subject', (r ->> 'remaining')::bigint, commit_at(g), commit_bytes(r, 'statement'), commit_next_index());
  RETURN commit_step_of(NULL, '[]');
END $$;

-- Needs a count of zero, the newest, that no earlier retirement used up, and no rewrap under way; of versions of tenants'
-- keys, no rotation either. The count stays.
CREATE FUNCTION commit_retire_keys(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  counted key_counts%ROWTYPE;
  of_versions boolean := r ->> 'subject' = 'tenant keys';
BEGIN
  SELECT c.* INTO counted FROM key_counts c WHERE c.subject = r ->> 'subject' ORDER BY c.entry_index DESC LIMIT 1;
  PERFORM commit_refuse_if(NOT FOUND, 'WRONG_STATE');
  PERFORM commit_refuse_if(counted.remaining > 0 OR counted.retired_entry IS NOT NULL
    OR EXISTS (SELECT 1 FROM key_jobs j WHERE j.state = 'RUNNING' AND (j.kind = 'REWRAP' OR of_versions)), 'WRONG_STATE');
  UPDATE key_counts c SET retired_entry = commit_next_index() WHERE c.entry_index = counted.entry_index;
  RETURN commit_step_of(counted.entry_index, '[]');
END $$;
