-- Grants whose answer did not leave, or of which nobody knows whether it did. Each gets an OUTCOME entry, and the lease
-- it opened ends, so that a retry works at once. They stay counted, because the ledger says granted.

-- Whether the grant at this index has its outcome.
CREATE FUNCTION commit_closed(granted_at BIGINT) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  RETURN EXISTS (SELECT 1 FROM ledger_facets f WHERE f.follows = granted_at AND f.kind = 'OUTCOME');
END $$;

-- The release that was granted at this index, be it for the first time or again.
CREATE FUNCTION commit_granted(granted_at BIGINT) RETURNS releases LANGUAGE plpgsql AS $$
DECLARE
  release releases%ROWTYPE;
BEGIN
  SELECT p.* INTO release FROM releases p WHERE p.entry_index = coalesce(
    (SELECT f.follows FROM ledger_facets f WHERE f."index" = granted_at AND f.kind = 'REDELIVERED'), granted_at);
  RETURN release;
END $$;

-- The entry that says what became of a grant. `name` says which of the two ways there are.
CREATE FUNCTION commit_outcome(g commit_group, name TEXT, release releases, granted_at BIGINT) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  entry jsonb := g.outcomes -> name;
BEGIN
  PERFORM commit_reject_if(entry #>> '{facets,kind}' IS DISTINCT FROM 'OUTCOME', 'what became of a grant is an outcome');
  entry := commit_set_bytes(entry, 'id', uuid_send(gen_random_uuid()));
  entry := commit_set_bytes(entry, 'tenant', convert_to(release.tenant_id, 'UTF8'));
  entry := commit_set_bytes(entry, 'credential', convert_to(release.credential_id, 'UTF8'));
  entry := commit_set_bytes(entry, 'owner', convert_to(release.owner_id, 'UTF8'));
  entry := commit_set_bytes(entry, 'job', convert_to(release.job_id, 'UTF8'));
  entry := jsonb_set(entry, '{facets}', (entry -> 'facets') || jsonb_build_object('tenant', release.tenant_id,
    'credential', release.credential_id, 'owner', release.owner_id));
  RETURN commit_append(g, commit_follow(entry, granted_at));
END $$;

-- One answer less of this release; without any left in its session, the lease ends. Gives the changes to tell.
CREATE FUNCTION commit_take_back(g commit_group, release releases) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  ended leases%ROWTYPE;
BEGIN
  UPDATE releases p SET answers = greatest(p.answers - 1, 0) WHERE p.id = release.id;
  DELETE FROM leases l WHERE l.credential_id = release.credential_id AND l.job_id = release.job_id
      AND l.worker_id = release.worker_id AND l.since = release.session_since
      AND NOT EXISTS (SELECT 1 FROM releases p WHERE p.credential_id = release.credential_id AND p.job_id = release.job_id
        AND p.worker_id = release.worker_id AND p.session_since = release.session_since AND p.answers > 0)
    RETURNING l.* INTO ended;
  IF FOUND AND ended.until > commit_at(g) THEN
    RETURN jsonb_build_array(commit_lease_ended(ended.credential_id, ended.job_id, ended.worker_id));
  END IF;
  RETURN '[]';
END $$;

-- Takes the answer of a grant for one that never leaves, once. An index that is no grant's changes nothing.
CREATE FUNCTION commit_withdraw(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
DECLARE
  granted_at bigint := (r ->> 'withdraws')::bigint;
  release releases%ROWTYPE;
  changes jsonb := '[]';
BEGIN
  IF granted_at IS NOT NULL AND NOT commit_closed(granted_at) THEN
    release := commit_granted(granted_at);
    IF release.id IS NOT NULL THEN
      changes := commit_take_back(g, release);
    END IF;
  END IF;
  RETURN commit_step_of(NULL, changes);
END $$;

-- Records that nobody will deliver these grants; nothing where an outcome stands already.
CREATE FUNCTION commit_undelivered(g commit_group, r JSONB) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  granted_at bigint;
  release releases%ROWTYPE;
  entries jsonb := '[]';
  changes jsonb := '[]';
BEGIN
  FOR granted_at IN SELECT i.value::bigint FROM jsonb_array_elements_text(r -> 'grants') i LOOP
    release := commit_granted(granted_at);
    IF release.id IS NOT NULL AND NOT commit_closed(granted_at) THEN
      entries := entries || commit_outcome(g, 'undelivered', release, granted_at);
      changes := changes || commit_take_back(g, release);
    END IF;
  END LOOP;
  RETURN jsonb_build_object('verdict', 'DONE', 'entries', entries, 'changes', changes);
END $$;

-- Grants of earlier lives of this node without report or outcome: nobody knows whether their answers left. Other nodes
-- answer for their own.
CREATE FUNCTION commit_earlier_lives(g commit_group) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  granted_at bigint;
  release releases%ROWTYPE;
  entries jsonb := '[]';
  changes jsonb := '[]';
BEGIN
  FOR granted_at IN
    SELECT f."index" FROM releases p
      JOIN ledger_facets f ON f."index" = p.entry_index OR (f.follows = p.entry_index AND f.kind = 'REDELIVERED')
      JOIN ledger_entries e ON e."index" = f."index"
      JOIN incarnations n ON n.incarnation = e.incarnation
    WHERE p.outcome IS NULL AND p.answers > 0 AND p.at > commit_at(g) - commit_limit('look_back')
      AND n.node = g.node AND e.incarnation <> g.incarnation AND NOT commit_closed(f."index")
    ORDER BY f."index" DESC LIMIT commit_limit('at_once')
  LOOP
    release := commit_granted(granted_at);
    entries := entries || commit_outcome(g, 'unknown', release, granted_at);
    changes := changes || commit_take_back(g, release);
  END LOOP;
  RETURN jsonb_build_object('entries', entries, 'changes', changes);
END $$;
