-- Bodies of entries: that the bytes are the one encoding of a message this release reads (ledger.proto), and that they
-- say what is done with them. The program sends nothing else; whoever stole its role could, and no reader could get past
-- such an entry. Ids are held to their column's length only: a name that no row has misleads nobody who looks it up.

-- What a field of a message is; nothing where there is no such field. `many` fields may repeat.
CREATE FUNCTION commit_shape(message TEXT, place BIGINT, OUT shape TEXT, OUT size BIGINT, OUT many BOOLEAN)
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  many := message = 'entry' AND place IN (13, 21, 25);
  size := CASE message || ' ' || place
    WHEN 'entry 2' THEN 16 WHEN 'entry 19' THEN 32 WHEN 'entry 20' THEN 32 WHEN 'entry 33' THEN 32
    WHEN 'caller 2' THEN 32 WHEN 'node 2' THEN 16 WHEN 'tenant key 1' THEN 16 END;
  shape := CASE
    WHEN size IS NOT NULL THEN 'bytes'
    WHEN message = 'entry' THEN CASE
      WHEN place IN (5, 6, 7, 8, 11, 12, 13, 18, 21, 30, 34) THEN 'text'
      WHEN place = 10 THEN 'short'
      WHEN place IN (27, 28, 31, 32) THEN 'number'
      ELSE CASE place WHEN 1 THEN 'kind' WHEN 3 THEN 'caller' WHEN 4 THEN 'node' WHEN 9 THEN 'class' WHEN 14 THEN 'epochs'
        WHEN 15 THEN 'purpose' WHEN 16 THEN 'scopes' WHEN 17 THEN 'attendance' WHEN 22 THEN 'input' WHEN 23 THEN 'verdict'
        WHEN 24 THEN 'reason' WHEN 25 THEN 'field' WHEN 26 THEN 'tenant key' WHEN 29 THEN 'outcome' END END
    WHEN message IN ('caller', 'node', 'field') AND place = 1 THEN 'name'
    WHEN message = 'field' AND place = 2 THEN 'form'
    WHEN message = 'epochs' AND place BETWEEN 1 AND 6 THEN 'epoch'
    WHEN message = 'tenant key' AND place = 2 THEN 'version' END;
END $$;

-- The number at an offset, in its shortest form and below 2^63, and where the next thing begins.
CREATE FUNCTION commit_varint_at(content BYTEA, place INTEGER, OUT number BIGINT, OUT after INTEGER)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  digit integer;
BEGIN
  number := 0;
  after := place;
  LOOP
    PERFORM commit_reject_if(after >= octet_length(content) OR after - place > 8, 'a number in an entry is cut off or too long');
    digit := get_byte(content, after);
    number := number | ((digit & 127)::bigint << (7 * (after - place)));
    after := after + 1;
    EXIT WHEN digit < 128;
  END LOOP;
  PERFORM commit_reject_if(digit = 0 AND after - place > 1, 'a number in an entry is longer than it need be');
END $$;

-- Refuses a number that the field cannot hold.
CREATE FUNCTION commit_check_number(shape TEXT, number BIGINT) RETURNS void LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  PERFORM commit_reject_if(NOT CASE shape
    WHEN 'number' THEN true
    WHEN 'short' THEN number < 4294967296
    WHEN 'version' THEN number BETWEEN 1 AND 4294967295
    WHEN 'epoch' THEN number > 0
    ELSE commit_counts(shape, number) END, 'an entry holds a number its field cannot hold');
END $$;

-- Scopes: packed, ascending, each once.
CREATE FUNCTION commit_check_scopes(content BYTEA) RETURNS void LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  place integer := 0;
  last bigint := 0;
  read record;
BEGIN
  PERFORM commit_reject_if(octet_length(content) = 0, 'an entry names no scope where it names scopes');
  WHILE place < octet_length(content) LOOP
    read := commit_varint_at(content, place);
    PERFORM commit_check_number('scope', read.number);
    PERFORM commit_reject_if(read.number <= last, 'the scopes of an entry are not in order');
    last := read.number;
    place := read.after;
  END LOOP;
END $$;

-- Refuses what is not the one encoding of a message: every number known and ascending, keys of their wire type, lengths
-- that fit, nothing that would be left out.
CREATE FUNCTION commit_check(message TEXT, content BYTEA) RETURNS void LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  place integer := 0;
  last bigint := 0;
  key record;
  known record;
  value record;
  part bytea;
BEGIN
  WHILE place < octet_length(content) LOOP
    key := commit_varint_at(content, place);
    known := commit_shape(message, key.number >> 3);
    PERFORM commit_reject_if(known.shape IS NULL, 'an entry has a field that no release writes');
    PERFORM commit_reject_if((key.number >> 3) < last OR ((key.number >> 3) = last AND NOT known.many),
      'the fields of an entry are not in order');
    last := key.number >> 3;
    value := commit_varint_at(content, key.after);
    IF known.shape IN ('bytes', 'text', 'name', 'input', 'scopes', 'caller', 'node', 'epochs', 'field', 'tenant key') THEN
      PERFORM commit_reject_if((key.number & 7) <> 2 OR value.number > octet_length(content) - value.after,
        'a field of an entry is not as long as it says');
      part := substring(content FROM value.after + 1 FOR value.number::integer);
      place := value.after + value.number::integer;
      CASE known.shape
        WHEN 'bytes' THEN PERFORM commit_reject_if(octet_length(part) <> known.size, 'a field of an entry has another length');
        WHEN 'input' THEN PERFORM commit_reject_if(octet_length(part) NOT BETWEEN 1 AND commit_limit('policy_input'),
          'the policy input of an entry is empty or too long');
        WHEN 'text', 'name' THEN
          PERFORM commit_reject_if(known.shape = 'name' AND octet_length(part) = 0, 'a name in an entry is empty');
          PERFORM convert_from(part, 'UTF8');
        WHEN 'scopes' THEN PERFORM commit_check_scopes(part);
        ELSE PERFORM commit_check(known.shape, part);
      END CASE;
    ELSE
      PERFORM commit_reject_if((key.number & 7) <> 0, 'a field of an entry is of another type');
      PERFORM commit_check_number(known.shape, value.number);
      place := value.after;
    END IF;
  END LOOP;
END $$;

CREATE FUNCTION commit_number_part(place INTEGER, number BIGINT) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT commit_varint((place << 3)::bigint) || commit_varint(number)
$$;

CREATE FUNCTION commit_bytes_part(place INTEGER, content BYTEA) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT commit_varint((place << 3 | 2)::bigint) || commit_varint(octet_length(content)::bigint) || content
$$;

CREATE FUNCTION commit_text_part(place INTEGER, content TEXT) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT commit_bytes_part(place, convert_to(content, 'UTF8'))
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
  facets jsonb := entry -> 'facets';
  caller bytea := commit_part(entry, 'caller');
BEGIN
  PERFORM commit_reject_if(commit_part(entry, 'kind') IS NULL OR commit_part(entry, 'id') IS NULL, 'an entry has a kind and an id');
  PERFORM commit_says_number(entry, 'kind', commit_number('kind', facets ->> 'kind'));
  PERFORM commit_says(entry, 'tenant', facets ->> 'tenant');
  PERFORM commit_says(entry, 'credential', facets ->> 'credential');
  PERFORM commit_says(entry, 'owner', facets ->> 'owner');
  PERFORM commit_says_number(entry, 'reason', commit_number('reason', facets ->> 'reason'));
  PERFORM commit_says_number(entry, 'follows', (facets ->> 'follows')::bigint);
  PERFORM commit_says_bytes(entry, 'node', commit_text_part(1, g.node) || commit_bytes_part(2, g.incarnation));
  -- The fingerprint of the caller's certificate stands in the body alone.
  PERFORM commit_says_bytes(entry, 'caller', commit_text_part(1, facets ->> 'caller')
    || commit_bytes_part(2, substring(caller FROM octet_length(caller) - 31)));
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
      PERFORM commit_reject_if(NOT commit_knows('lockdown', r ->> 'scope'), 'there is no such stop button');
      PERFORM commit_says(entry, 'reference', rtrim((r ->> 'scope') || ' ' || (r ->> 'id')));
    WHEN 'QUARANTINE' THEN
      PERFORM commit_says(entry, 'reference', r ->> 'worker');
    WHEN 'ACCEPT_ERASURE' THEN
      PERFORM commit_says(entry, 'tenant', r ->> 'tenant');
      PERFORM commit_says(entry, 'owner', r ->> 'subject');
      PERFORM commit_says(entry, 'reference', r ->> 'erasure');
    ELSE NULL;
  END CASE;
END $$;
