-- The commit on PostgreSQL, first part: what it keeps beside the records, and the shapes its functions pass around.
-- The parts of this folder are one migration. Only cofre_commit (dispatch.sql) may be called from outside, so none of
-- the others sets a search path: they run under the one that cofre_commit pins.

-- The lives of the nodes that commit here. A group whose number is not above the fence was given up by its node: it
-- is refused should it arrive after all.
-- `proof` is the SHA-256 of what the node shows with each of its groups: who can read this table cannot show it.
CREATE TABLE incarnations (
  incarnation BYTEA PRIMARY KEY, node TEXT COLLATE "C" NOT NULL, started BIGINT NOT NULL, fence BIGINT NOT NULL,
  proof BYTEA NOT NULL
);

-- How far a node's clock may be ahead of the server's, in microseconds. Times in the ledger only ever increase, so one
-- call from the far future would be the last. The owner's to change, and nobody else's.
CREATE TABLE clock_bound (one BIGINT PRIMARY KEY CHECK (one = 1), ahead BIGINT NOT NULL CHECK (ahead >= 0));
INSERT INTO clock_bound VALUES (1, 10000000);

-- What every node has to hear, by the ledger index of its first entry. A notification only says that something is here.
CREATE TABLE told (
  first_index BIGINT PRIMARY KEY, at BIGINT NOT NULL, group_id BYTEA NOT NULL, entries JSONB NOT NULL, changes JSONB NOT NULL
);
CREATE INDEX told_at ON told (at);
CREATE INDEX told_group ON told (group_id);

-- One group in the making. `now` is the node's clock with the wait for the lock added, `waited` that wait in
-- microseconds, `outcomes` the entries to make for grants that nobody delivered.
CREATE TYPE commit_group AS (
  id BYTEA, incarnation BYTEA, node TEXT, now BIGINT, trusted BOOLEAN, waited BIGINT, outcomes JSONB
);

-- What an operation came to: the entry it follows up, if any, and the changes to tell.
CREATE TYPE commit_step AS (follows BIGINT, changes JSONB);

-- Ends a request with a verdict: nothing of it stays.
CREATE FUNCTION commit_refuse(reason TEXT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'CF001', MESSAGE = reason;
END $$;

CREATE FUNCTION commit_refuse_if(refused BOOLEAN, reason TEXT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  -- What is not known to be in order is not in order.
  IF refused IS NOT FALSE THEN
    PERFORM commit_refuse(reason);
  END IF;
END $$;

-- Ends the whole group: no program of ours asks for this. Nothing of it stays.
CREATE FUNCTION commit_reject(cause TEXT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'CF004', MESSAGE = cause;
END $$;

CREATE FUNCTION commit_reject_if(rejected BOOLEAN, cause TEXT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF rejected IS NOT FALSE THEN
    PERFORM commit_reject(cause);
  END IF;
END $$;

CREATE FUNCTION commit_bytes(request JSONB, name TEXT) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT decode(request ->> name, 'hex')
$$;

CREATE FUNCTION commit_step_of(follows BIGINT, changes JSONB) RETURNS commit_step LANGUAGE sql IMMUTABLE AS $$
  SELECT ROW(follows, changes)::commit_step
$$;
