-- The one way in. A group is one call in autocommit under READ COMMITTED: it takes the cell's lock, reads in later
-- statements (one that waited for the lock keeps its old snapshot), and writes. Refusals are verdicts, each of its own
-- request; anything unexpected leaves nothing of the whole group.

CREATE FUNCTION commit_step_for(g commit_group, r JSONB) RETURNS commit_step LANGUAGE plpgsql AS $$
BEGIN
  CASE r ->> 'op'
    WHEN 'NODE_STARTED', 'NODE_STOPPED', 'NODE_CERTIFIED', 'DEPOSIT_KEY_MADE', 'DEPOSIT_KEYS_DESTROYED',
      'RETIRED_KEYS_DESTROYED' THEN
      RETURN commit_step_of(NULL, '[]');
    WHEN 'NOTE' THEN RETURN commit_withdraw(g, r);
    WHEN 'ACTIVATE_POLICY' THEN RETURN commit_activate_policy(r);
    WHEN 'PUT_TENANT' THEN RETURN commit_put_tenant(g, r);
    WHEN 'PUT_SIGNING_KEY' THEN
      PERFORM commit_put_signing_key(r -> 'signing_key');
      RETURN commit_step_of(NULL, '[]');
    WHEN 'PUT_RECIPIENT' THEN
      PERFORM commit_put_recipient(r -> 'recipient');
      RETURN commit_step_of(NULL, '[]');
    WHEN 'PUT_INSTITUTION' THEN RETURN commit_put_institution(r);
    WHEN 'PUT_TEMPLATE' THEN RETURN commit_put_template(r);
    WHEN 'PUT_WORKER' THEN RETURN commit_put_worker(r);
    WHEN 'OPEN_ENROLMENT' THEN RETURN commit_open_enrolment(g, r);
    WHEN 'END_ENROLMENT' THEN RETURN commit_end_enrolment(r);
    WHEN 'COMPLETE_DEPOSIT' THEN RETURN commit_complete_deposit(g, r);
    WHEN 'REQUEST_CONSENT' THEN RETURN commit_request_consent(g, r);
    WHEN 'GRANT_CONSENT' THEN RETURN commit_grant_consent(g, r);
    WHEN 'END_CONSENT' THEN RETURN commit_end_consent(g, r);
    WHEN 'RECEIPT' THEN RETURN commit_receipt(g, r);
    WHEN 'REPORT' THEN RETURN commit_report(g, r);
    WHEN 'LOCKDOWN' THEN RETURN commit_lockdown(g, r);
    WHEN 'QUARANTINE' THEN RETURN commit_quarantine(g, r);
    WHEN 'ACCEPT_ERASURE' THEN RETURN commit_accept_erasure(g, r);
    WHEN 'KEYS_DESTROYED' THEN RETURN commit_keys_destroyed(r);
    WHEN 'CERTIFY' THEN RETURN commit_certify(r);
    WHEN 'OPEN_KEY_JOB' THEN RETURN commit_open_key_job(g, r);
    WHEN 'END_KEY_JOB' THEN RETURN commit_end_key_job(g, r);
    WHEN 'MAKE_TENANT_KEY' THEN RETURN commit_make_tenant_key(g, r);
    WHEN 'OPEN_TENANT_KEY' THEN RETURN commit_open_tenant_key(g, r);
    WHEN 'TENANT_KEY_MOVED' THEN RETURN commit_tenant_key_moved(r);
    WHEN 'COUNT_KEYS' THEN RETURN commit_count_keys(g, r);
    WHEN 'RETIRE_KEYS' THEN RETURN commit_retire_keys(g, r);
  END CASE;
END $$;

-- An operation, then its entry.
CREATE FUNCTION commit_apply(g commit_group, r JSONB) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  step commit_step := commit_step_for(g, r);
  entries jsonb := jsonb_build_array(commit_append(g, commit_follow(r -> 'entry', step.follows)));
  earlier jsonb;
BEGIN
  IF r ->> 'op' = 'NODE_STARTED' THEN
    earlier := commit_earlier_lives(g);
    RETURN jsonb_build_object('verdict', 'WRITTEN', 'entries', entries || (earlier -> 'entries'), 'changes', earlier -> 'changes');
  END IF;
  RETURN jsonb_build_object('verdict', 'WRITTEN', 'entries', entries, 'changes', step.changes);
END $$;

-- Whether a group stands whose call was not answered, and what it changed. From here on it cannot come to stand.
CREATE FUNCTION commit_settle(g commit_group, r JSONB) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  doubted bytea := commit_bytes(r, 'group');
  entries jsonb;
BEGIN
  -- SECURITY: a node gives up groups of its own life, and none that is still to come: a higher fence would end it.
  PERFORM commit_reject_if(octet_length(doubted) <> 24 OR substring(doubted FROM 1 FOR 16) <> g.incarnation
    OR commit_count(doubted) NOT BETWEEN 0 AND commit_count(g.id), 'a node gives up only groups that it has sent');
  UPDATE incarnations n SET fence = greatest(n.fence, commit_count(doubted)) WHERE n.incarnation = g.incarnation;
  SELECT coalesce(jsonb_agg(jsonb_build_object('index', e."index", 'time', f.at, 'hash', encode(e.leaf_hash, 'hex'),
      'kind', f.kind, 'tenant', f.tenant, 'credential', f.credential) ORDER BY e."index"), '[]')
    INTO entries FROM ledger_entries e JOIN ledger_facets f ON f."index" = e."index" WHERE e.group_id = doubted;
  RETURN jsonb_build_object('verdict', 'SETTLED', 'stood', jsonb_build_object('entries', entries,
    'changes', coalesce((SELECT t.changes FROM told t WHERE t.group_id = doubted), '[]')));
END $$;

-- What may be refused comes back from it with nothing written.
CREATE FUNCTION commit_refusable(g commit_group, r JSONB) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
  IF r ->> 'op' <> 'INTEGRATE' THEN
    PERFORM commit_bind(r);
  END IF;
  CASE r ->> 'op'
    WHEN 'WARM' THEN RETURN commit_warm(g, r);
    WHEN 'REWRAP' THEN RETURN commit_rewrap(g, r);
    WHEN 'MOVE_KEYS' THEN RETURN commit_move_keys(g, r);
    WHEN 'INTEND' THEN RETURN commit_intend(g, r);
    WHEN 'INTEGRATE' THEN RETURN commit_integrate(r);
    ELSE RETURN commit_apply(g, r);
  END CASE;
EXCEPTION WHEN SQLSTATE 'CF001' THEN
  RETURN jsonb_build_object('verdict', 'REFUSED', 'reason', SQLERRM);
END $$;

-- Conflicts of a decision are recorded as its denial: it is never refused, and needs nothing to come back from.
CREATE FUNCTION commit_perform(g commit_group, r JSONB) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
  CASE r ->> 'op'
    WHEN 'GRANT' THEN RETURN commit_grant(g, r);
    WHEN 'DENY' THEN RETURN commit_deny(g, r);
    WHEN 'UNDELIVERED' THEN RETURN commit_undelivered(g, r);
    WHEN 'SETTLE' THEN RETURN commit_settle(g, r);
    ELSE RETURN commit_refusable(g, r);
  END CASE;
END $$;

-- The number of a group within its node's life, from its id: incarnation (16 bytes) || number.
CREATE FUNCTION commit_count(group_id BYTEA) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT ('x' || encode(substring(group_id FROM 17 FOR 8), 'hex'))::bit(64)::bigint
$$;

-- Takes the lock that orders everything in this cell; gives how long that took, in microseconds. Nothing where nobody
-- held it: then no time has passed that the node's clock did not see.
CREATE FUNCTION commit_lock() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  began timestamptz := clock_timestamp();
BEGIN
  PERFORM 1 FROM cell c FOR UPDATE SKIP LOCKED;
  IF FOUND THEN
    RETURN 0;
  END IF;
  PERFORM 1 FROM cell c FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the cell row is missing: these records were not set up by their migration';
  END IF;
  RETURN greatest(0, (extract(epoch FROM clock_timestamp() - began) * 1000000)::bigint);
END $$;

-- Starts a group: the node's life is known, the group was not given up, and its time is settled. Runs after the lock.
CREATE FUNCTION commit_begin(asked JSONB, waited BIGINT) RETURNS commit_group LANGUAGE plpgsql AS $$
DECLARE
  g commit_group;
  life incarnations%ROWTYPE;
BEGIN
  g.id := commit_bytes(asked, 'group');
  g.incarnation := substring(g.id FROM 1 FOR 16);
  g.node := asked ->> 'node';
  g.waited := commit_begin.waited;
  g.now := (asked ->> 'now')::bigint + g.waited / 1000 * 1000;
  g.outcomes := asked -> 'outcomes';
  IF octet_length(g.id) IS DISTINCT FROM 24 OR coalesce(g.node, '') = '' OR g.now IS NULL THEN
    RAISE EXCEPTION 'a group needs an id of 24 bytes, a node and the node''s time';
  END IF;
  PERFORM commit_reject_if(g.now < 0 OR g.now - (SELECT b.ahead FROM clock_bound b)
    > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    'the clock of this node is too far ahead of the database server''s: set both by the same source');
  g.trusted := (SELECT h.last_time - g.now <= commit_limit('clock') FROM ledger_head h);
  SELECT n.* INTO life FROM incarnations n WHERE n.incarnation = g.incarnation;
  IF NOT FOUND THEN
    INSERT INTO incarnations (incarnation, node, started, fence, proof)
      VALUES (g.incarnation, g.node, g.now, 0, sha256(commit_bytes(asked, 'life')));
  ELSIF life.node <> g.node OR commit_count(g.id) <= life.fence THEN
    RAISE EXCEPTION USING ERRCODE = 'CF003', MESSAGE = 'this group was given up by its node';
  ELSE
    PERFORM commit_reject_if(life.proof <> sha256(commit_bytes(asked, 'life')), 'this life is another node''s');
  END IF;
  RETURN g;
END $$;

-- What other nodes have to hear is kept for a while, and announced.
CREATE FUNCTION commit_tell(g commit_group, entries JSONB, changes JSONB) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF jsonb_array_length(changes) = 0 AND NOT entries @> '[{"kind": "REPORTED"}]' THEN
    RETURN;
  END IF;
  INSERT INTO told (first_index, at, group_id, entries, changes)
    VALUES ((entries -> 0 ->> 'index')::bigint, commit_at(g), g.id, entries, changes);
  DELETE FROM told t WHERE t.at < commit_at(g) - commit_limit('told');
  PERFORM pg_notify('cofre_changes', entries -> 0 ->> 'index');
END $$;

CREATE FUNCTION cofre_commit(asked JSONB) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
-- SECURITY: without pg_temp named last, a caller's temporary tables would be found before ours.
SET search_path = pg_catalog, cofre, pg_temp AS $$
DECLARE
  waited bigint;
  g commit_group;
  r jsonb;
  verdict jsonb;
  verdicts jsonb := '[]';
  entries jsonb := '[]';
  changes jsonb := '[]';
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'a commit needs READ COMMITTED: under another isolation level it would decide on old rows';
  END IF;
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  waited := commit_lock();
  g := commit_begin(asked, waited);
  FOR r IN SELECT q.value FROM jsonb_array_elements(asked -> 'requests') q LOOP
    verdict := commit_perform(g, r);
    entries := entries || coalesce(verdict -> 'entries', '[]');
    changes := changes || coalesce(verdict -> 'changes', '[]');
    verdicts := verdicts || jsonb_build_array(verdict);
  END LOOP;
  PERFORM commit_tell(g, entries, changes);
  RETURN verdicts;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA cofre FROM PUBLIC;
