-- Bodies of entries: that the bytes are the one encoding of a message this release reads (ledger.proto), and that they
-- say what is done with them. The program sends nothing else; whoever stole its role could, and where one entry cannot
-- be read nothing stands any more.
--
-- Every entry passes here, so conditions stand in IF and CASE: a PERFORM for each would cost more than the commit.

-- What a field of a message is; nothing where there is no such field. `said` is held against what the commit knows.
CREATE FUNCTION commit_shape(message TEXT, field INTEGER) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE message
    WHEN 'entry' THEN CASE field
      WHEN 1 THEN 'kind' WHEN 2 THEN '16 bytes' WHEN 3 THEN 'said' WHEN 4 THEN 'said' WHEN 5 THEN 'text' WHEN 6 THEN 'ten'
      WHEN 7 THEN 'text' WHEN 8 THEN 'crd' WHEN 9 THEN 'class' WHEN 10 THEN 'short' WHEN 11 THEN 'sub' WHEN 12 THEN 'ins'
      WHEN 13 THEN 'cns' WHEN 14 THEN 'epochs' WHEN 15 THEN 'purpose' WHEN 16 THEN 'scopes' WHEN 17 THEN 'attendance'
      WHEN 18 THEN 'job' WHEN 19 THEN '32 bytes' WHEN 20 THEN '32 bytes' WHEN 21 THEN 'text' WHEN 22 THEN 'input'
      WHEN 23 THEN 'verdict' WHEN 24 THEN 'reason' WHEN 25 THEN 'field' WHEN 26 THEN 'tenant key' WHEN 27 THEN 'number'
      WHEN 28 THEN 'number' WHEN 29 THEN 'outcome' WHEN 30 THEN 'text' WHEN 31 THEN 'number' WHEN 32 THEN 'number'
      WHEN 33 THEN '32 bytes' WHEN 34 THEN 'text' END
    WHEN 'epochs' THEN CASE WHEN field BETWEEN 1 AND 6 THEN 'epoch' END
    WHEN 'field' THEN CASE field WHEN 1 THEN 'name' WHEN 2 THEN 'form' END
    WHEN 'tenant key' THEN CASE field WHEN 1 THEN '16 bytes' WHEN 2 THEN 'version' END
  END
$$;

-- The number at an offset, in its shortest form and below 2^63, and where the next thing begins.
CREATE FUNCTION commit_varint_at(content BYTEA, place INTEGER, OUT number BIGINT, OUT after INTEGER)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  digit integer;
BEGIN
  number := 0;
  after := place;
  LOOP
    IF after >= octet_length(content) OR after - place > 8 THEN
      PERFORM commit_reject('a number in an entry is cut off or too long');
    END IF;
    digit := get_byte(content, after);
    number := number | ((digit & 127)::bigint << (7 * (after - place)));
    after := after + 1;
    EXIT WHEN digit < 128;
  END LOOP;
  IF digit = 0 AND after - place > 1 THEN
    PERFORM commit_reject('a number in an entry is longer than it need be');
  END IF;
END $$;

-- Whether this is an identifier of its kind: a UUIDv7 in 26 Crockford characters behind its prefix (id.rs).
CREATE FUNCTION commit_is_id(kind TEXT, content TEXT) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT left(content, 4) = kind || '_' AND CASE kind
    WHEN 'ins' THEN substring(content FROM 5) ~ '^[a-z0-9][a-z0-9-]{0,62}$'
    ELSE substring(content FROM 5)
      ~ '^[0-7][0-9A-HJKMNP-TV-Z]{9}[EF][0-9A-HJKMNP-TV-Z]{2}[89ABRSTV][0-9A-HJKMNP-TV-Z]{12}$' END
$$;

-- Whether these are scopes: packed, ascending, each once. None has a number of two bytes.
CREATE FUNCTION commit_are_scopes(content BYTEA) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  last integer := 0;
  scope integer;
BEGIN
  FOR place IN 0 .. octet_length(content) - 1 LOOP
    scope := get_byte(content, place);
    IF scope <= last OR NOT commit_counts('scope', scope) THEN
      RETURN false;
    END IF;
    last := scope;
  END LOOP;
  RETURN last > 0;
END $$;

-- Whether a field of this shape may hold this number.
CREATE FUNCTION commit_holds(shape TEXT, number BIGINT) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE shape
    WHEN 'number' THEN true
    WHEN 'epoch' THEN number > 0
    WHEN 'short' THEN number < 4294967296
    WHEN 'version' THEN number BETWEEN 1 AND 4294967295
    ELSE commit_counts(shape, number) END
$$;

-- Refuses what is not the one encoding of a message: every number known and ascending, keys of their wire type, lengths
-- that fit, nothing that would be left out. Of an entry only fields of the number `sole` are taken.
CREATE FUNCTION commit_check(message TEXT, sole INTEGER, content BYTEA) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  ends integer := octet_length(content);
  place integer := 0;
  first integer;
  last integer := 0;
  field integer;
  key integer;
  shape text;
  number bigint;
  read record;
  part bytea;
BEGIN
  WHILE place < ends LOOP
    key := get_byte(content, place);
    place := place + 1;
    IF key > 127 AND place < ends THEN
      -- No field has a key of three bytes: then this gives a number that none has.
      key := (key & 127) | (get_byte(content, place) << 7);
      place := place + 1;
      IF key < 128 THEN
        PERFORM commit_reject('a number in an entry is longer than it need be');
      END IF;
    END IF;
    field := key >> 3;
    shape := commit_shape(message, field);
    IF shape IS NULL THEN
      PERFORM commit_reject('an entry has a field that no release writes');
    ELSIF field <> sole THEN
      PERFORM commit_reject('a field of an entry stands under another number');
    ELSIF field < last OR (field = last AND NOT (message = 'entry' AND field IN (13, 21, 25))) THEN
      PERFORM commit_reject('the fields of an entry are not in order');
    END IF;
    first := coalesce(first, field);
    last := field;

    number := CASE WHEN place < ends THEN get_byte(content, place) ELSE 128 END;
    IF number < 128 THEN
      place := place + 1;
    ELSE
      read := commit_varint_at(content, place);
      number := read.number;
      place := read.after;
    END IF;
    IF (key & 7) = 0 THEN
      IF commit_holds(shape, number) IS NOT TRUE THEN
        PERFORM commit_reject('an entry holds a number its field cannot hold');
      END IF;
    ELSIF (key & 7) <> 2 OR number > ends - place THEN
      PERFORM commit_reject('a field of an entry is not as long as it says');
    ELSE
      part := substring(content FROM place + 1 FOR number::integer);
      place := place + number::integer;
      IF (CASE shape
          WHEN 'said' THEN true
          WHEN 'text' THEN convert_from(part, 'UTF8') IS NOT NULL
          WHEN '32 bytes' THEN number = 32
          WHEN '16 bytes' THEN number = 16
          WHEN 'epochs' THEN commit_check('epochs', NULL, part)
          WHEN 'scopes' THEN commit_are_scopes(part)
          WHEN 'input' THEN number BETWEEN 1 AND commit_limit('policy_input')
          WHEN 'field' THEN commit_check('field', NULL, part)
          WHEN 'name' THEN number > 0 AND convert_from(part, 'UTF8') IS NOT NULL
          WHEN 'tenant key' THEN commit_check('tenant key', NULL, part)
          ELSE length(shape) = 3 AND commit_is_id(shape, convert_from(part, 'UTF8'))
        END) IS NOT TRUE THEN
        PERFORM commit_reject('a field of an entry is of another kind');
      END IF;
    END IF;
  END LOOP;
  -- What a message cannot do without: a form its number, a key its id, a field itself.
  IF (message = 'field' AND last <> 2) OR (message = 'tenant key' AND first IS DISTINCT FROM 1) OR (message = 'entry' AND last = 0) THEN
    PERFORM commit_reject('a field of an entry is not whole');
  END IF;
  RETURN true;
END $$;

-- The body that the fields of an entry make, in the order of their numbers. Each stands under its own number, spelled
-- in the one way: what is looked up by a number is then all that the body says there.
CREATE FUNCTION commit_body(entry JSONB) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  body bytea := decode('', 'hex');
  spelled text;
  part bytea;
BEGIN
  FOR spelled, part IN
    SELECT f.key, decode(f.value, 'hex') FROM jsonb_each_text(entry -> 'fields') f ORDER BY f.key::integer
  LOOP
    IF (spelled::integer::text = spelled AND commit_check('entry', spelled::integer, part)) IS NOT TRUE THEN
      PERFORM commit_reject('a field of an entry has no number, or nothing in it');
    END IF;
    body := body || part;
  END LOOP;
  RETURN body;
END $$;

CREATE FUNCTION commit_number_part(field INTEGER, number BIGINT) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT commit_varint((field << 3)::bigint) || commit_varint(number)
$$;

CREATE FUNCTION commit_bytes_part(field INTEGER, content BYTEA) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT commit_varint((field << 3 | 2)::bigint) || commit_varint(octet_length(content)::bigint) || content
$$;

CREATE FUNCTION commit_text_part(field INTEGER, content TEXT) RETURNS bytea LANGUAGE sql STABLE AS $$
  SELECT commit_bytes_part(field, convert_to(content, 'UTF8'))
$$;

-- The encoded field of this name; nothing where the entry does not have it.
CREATE FUNCTION commit_part(entry JSONB, field TEXT) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT decode(entry -> 'fields' ->> commit_field(field)::text, 'hex')
$$;

-- Refuses an entry that says something else in this field; `content` is what it has to say, or nothing at all.
CREATE FUNCTION commit_says(entry JSONB, field TEXT, content TEXT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM commit_reject_if(commit_part(entry, field) IS DISTINCT FROM commit_text_part(commit_field(field), content),
    'the entry does not say what is done: field ' || field);
END $$;

CREATE FUNCTION commit_says_number(entry JSONB, field TEXT, number BIGINT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM commit_reject_if(commit_part(entry, field) IS DISTINCT FROM commit_number_part(commit_field(field), number),
    'the entry does not say what is done: field ' || field);
END $$;

CREATE FUNCTION commit_says_bytes(entry JSONB, field TEXT, content BYTEA) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM commit_reject_if(commit_part(entry, field) IS DISTINCT FROM commit_bytes_part(commit_field(field), content),
    'the entry does not say what is done: field ' || field);
END $$;

-- What is searched for is what the entry says, and the node is the one that asks.
CREATE FUNCTION commit_check_facets(g commit_group, entry JSONB) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  f jsonb := entry -> 'facets';
  node bytea := commit_text_part(1, g.node) || commit_bytes_part(2, g.incarnation);
  said bytea := commit_part(entry, 'caller');
  -- The fingerprint of the caller's certificate stands in the body alone.
  caller bytea := commit_text_part(1, f ->> 'caller') || commit_bytes_part(2, substring(said FROM octet_length(said) - 31));
  kind bigint := commit_number('kind', f ->> 'kind');
  reason bigint := commit_number('reason', f ->> 'reason');
  follows bigint := f ->> 'follows';
  wrong text;
BEGIN
  wrong := CASE
    WHEN commit_part(entry, 'id') IS NULL THEN 'id'
    WHEN kind IS NULL OR commit_part(entry, 'kind') IS DISTINCT FROM commit_number_part(commit_field('kind'), kind) THEN 'kind'
    WHEN commit_part(entry, 'node') IS DISTINCT FROM commit_bytes_part(commit_field('node'), node) THEN 'node'
    -- SECURITY: without a caller in the body there is nothing to compare, so none may be searched for either.
    WHEN (said IS NULL) <> (f ->> 'caller' IS NULL) OR f ->> 'caller' = ''
      OR said IS DISTINCT FROM commit_bytes_part(commit_field('caller'), caller) THEN 'caller'
    WHEN commit_part(entry, 'tenant') IS DISTINCT FROM commit_text_part(commit_field('tenant'), f ->> 'tenant') THEN 'tenant'
    WHEN commit_part(entry, 'credential') IS DISTINCT FROM commit_text_part(commit_field('credential'), f ->> 'credential')
      THEN 'credential'
    WHEN commit_part(entry, 'owner') IS DISTINCT FROM commit_text_part(commit_field('owner'), f ->> 'owner') THEN 'owner'
    WHEN commit_part(entry, 'reason') IS DISTINCT FROM commit_number_part(commit_field('reason'), reason) THEN 'reason'
    WHEN commit_part(entry, 'follows') IS DISTINCT FROM commit_number_part(commit_field('follows'), follows) THEN 'follows'
    END;
  IF wrong IS NOT NULL THEN
    PERFORM commit_reject('the entry does not say what is done: field ' || wrong);
  END IF;
END $$;

-- What is asked for and the entry that will record it belong together: the kind, and the names from which everybody
-- learns later what was done (the program's own list is in operation.rs).
CREATE FUNCTION commit_bind(r JSONB) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  entry jsonb := r -> 'entry';
  kind text := r #>> '{entry,facets,kind}';
  named jsonb := coalesce(r -> 'consent', 'null');
BEGIN
  PERFORM commit_reject_if(NOT commit_fits(r ->> 'op', kind), 'an entry of this kind does not record this');
  IF r ? 'entry_id' THEN
    PERFORM commit_says_bytes(entry, 'id', commit_bytes(r, 'entry_id'));
  END IF;
  CASE r ->> 'op'
    WHEN 'NOTE' THEN
      IF r ->> 'withdraws' IS NOT NULL THEN
        PERFORM commit_reject_if(kind <> 'OUTCOME', 'only an outcome takes a grant back');
        PERFORM commit_says_number(entry, 'follows', (r ->> 'withdraws')::bigint);
        PERFORM commit_says_number(entry, 'verdict', commit_number('verdict', 'DENIED'));
      END IF;
    WHEN 'PUT_WORKER' THEN
      PERFORM commit_reject_if(NOT commit_knows('worker', r ->> 'state'), 'a worker has no such state');
    WHEN 'OPEN_ENROLMENT' THEN
      PERFORM commit_says(entry, 'credential', r #>> '{credential,id}');
      PERFORM commit_says(entry, 'owner', r #>> '{credential,owner}');
    WHEN 'COMPLETE_DEPOSIT' THEN
      PERFORM commit_says(entry, 'credential', r #>> '{credential,id}');
      PERFORM commit_says(entry, 'owner', r #>> '{credential,owner}');
      PERFORM commit_says_number(entry, 'secret_version', (r #>> '{credential,secret_version}')::bigint);
    WHEN 'REQUEST_CONSENT', 'GRANT_CONSENT' THEN
      PERFORM commit_says(entry, 'credential', named ->> 'credential');
      PERFORM commit_says(entry, 'owner', named ->> 'subject');
      PERFORM commit_says(entry, 'consents', named ->> 'id');
    WHEN 'END_CONSENT' THEN
      PERFORM commit_says(entry, 'consents', r ->> 'consent');
      PERFORM commit_reject_if(kind IS DISTINCT FROM 'CONSENT_' || (r ->> 'to'), 'a consent ends as its entry says');
    WHEN 'REPORT' THEN
      PERFORM commit_says(entry, 'credential', r ->> 'credential');
      PERFORM commit_says_number(entry, 'outcome', commit_number('outcome', r ->> 'outcome'));
      PERFORM commit_says_bytes(entry, 'digest', CASE WHEN r ? 'lock' THEN sha256(commit_bytes(r, 'tag')) END);
    WHEN 'LOCKDOWN' THEN
      PERFORM commit_reject_if(NOT commit_knows('lockdown', r ->> 'scope')
        OR (r ->> 'scope' = 'PLATFORM') <> (r ->> 'id' = ''), 'there is no such stop button');
      PERFORM commit_says(entry, 'reference',
        (r ->> 'scope') || CASE r ->> 'scope' WHEN 'PLATFORM' THEN '' ELSE ' ' || (r ->> 'id') END);
    WHEN 'QUARANTINE' THEN
      PERFORM commit_says(entry, 'reference', r ->> 'worker');
    WHEN 'ACCEPT_ERASURE' THEN
      PERFORM commit_says(entry, 'tenant', r ->> 'tenant');
      PERFORM commit_says(entry, 'owner', r ->> 'subject');
      PERFORM commit_says(entry, 'reference', r ->> 'erasure');
    ELSE NULL;
  END CASE;
END $$;
