-- Bodies of entries: that the bytes are the one encoding of a message this release reads (ledger.proto), and that they
-- say what is done with them. The program sends nothing else; whoever stole its role could, and where one entry cannot
-- be read nothing stands any more.
--
-- Every entry passes here, so conditions stand in IF and CASE: a PERFORM for each cost more than the rest of the commit.

-- What a field of a message is; nothing where there is no such field. `said` is held against what the commit knows. One
-- constant, because what is written out as a CASE is set up anew in every transaction.
CREATE FUNCTION commit_shape(message TEXT, field INTEGER) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT '{
    "entry": {"1": "kind", "2": "16 bytes", "3": "said", "4": "said", "5": "text", "6": "ten", "7": "text", "8": "crd",
      "9": "class", "10": "short", "11": "sub", "12": "ins", "13": "cns", "14": "epochs", "15": "purpose", "16": "scopes",
      "17": "attendance", "18": "job", "19": "32 bytes", "20": "32 bytes", "21": "text", "22": "input", "23": "verdict",
      "24": "reason", "25": "field", "26": "tenant key", "27": "number", "28": "number", "29": "outcome", "30": "text",
      "31": "number", "32": "number", "33": "32 bytes", "34": "text"},
    "epochs": {"1": "epoch", "2": "epoch", "3": "epoch", "4": "epoch", "5": "epoch", "6": "epoch"},
    "field": {"1": "name", "2": "form"},
    "tenant key": {"1": "16 bytes", "2": "version"}
  }'::jsonb -> message ->> field::text
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

-- Whether this is an identifier of its kind: a UUIDv7 in 26 Crockford characters behind its prefix (id.rs). Of those,
-- the first has three bits, and two hold the version and the variant.
CREATE FUNCTION commit_is_id(kind TEXT, content TEXT) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT left(content, 4) = kind || '_' AND CASE kind
    WHEN 'ins' THEN substring(content FROM 5) ~ '^[a-z0-9][a-z0-9-]{0,62}$'
    ELSE length(content) = 30 AND rtrim(substring(content FROM 5), '0123456789ABCDEFGHJKMNPQRSTVWXYZ') = ''
      AND strpos('01234567', substring(content FROM 5 FOR 1)) > 0 AND strpos('EF', substring(content FROM 15 FOR 1)) > 0
      AND strpos('89ABRSTV', substring(content FROM 18 FOR 1)) > 0 END
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

-- Refuses what is not the one encoding of field `sole` of an entry: keys of their wire type, lengths that fit, numbers
-- ascending in the message that may be in it, nothing that would be left out.
CREATE FUNCTION commit_check(sole INTEGER, content BYTEA) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  ends integer := octet_length(content);
  place integer := 0;
  -- The message that is being read, and where it ends. One within an entry has no other in it, so that nothing calls
  -- itself: PostgreSQL would evaluate each condition of the inner call in the long way.
  message text := 'entry';
  stop integer := ends;
  first integer := 0;
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
    IF key > 127 AND place < stop THEN
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
    ELSIF message <> 'entry' THEN
      IF field <= last THEN
        PERFORM commit_reject('the fields of an entry are not in order');
      END IF;
      first := CASE first WHEN 0 THEN field ELSE first END;
      last := field;
    ELSIF field <> sole THEN
      PERFORM commit_reject('a field of an entry stands under another number');
    ELSIF place > 2 AND field NOT IN (13, 21, 25) THEN
      PERFORM commit_reject('a field of an entry stands there twice');
    END IF;

    number := CASE WHEN place < stop THEN get_byte(content, place) ELSE 128 END;
    IF number < 128 THEN
      place := place + 1;
    ELSE
      read := commit_varint_at(content, place);
      number := read.number;
      place := read.after;
    END IF;
    IF place > stop THEN
      PERFORM commit_reject('a field of an entry is not as long as it says');
    ELSIF (key & 7) = 0 THEN
      IF commit_holds(shape, number) IS NOT TRUE THEN
        PERFORM commit_reject('an entry holds a number its field cannot hold');
      END IF;
    ELSIF (key & 7) <> 2 OR number > stop - place THEN
      PERFORM commit_reject('a field of an entry is not as long as it says');
    ELSIF shape IN ('epochs', 'field', 'tenant key') THEN
      message := shape;
      stop := place + number;
      first := 0;
      last := 0;
    ELSE
      part := substring(content FROM place + 1 FOR number::integer);
      place := place + number;
      IF (CASE shape
          WHEN 'said' THEN true
          WHEN 'text' THEN convert_from(part, 'UTF8') IS NOT NULL
          WHEN '32 bytes' THEN number = 32
          WHEN '16 bytes' THEN number = 16
          WHEN 'scopes' THEN commit_are_scopes(part)
          WHEN 'input' THEN number BETWEEN 1 AND commit_limit('policy_input')
          WHEN 'name' THEN number > 0 AND convert_from(part, 'UTF8') IS NOT NULL
          ELSE length(shape) = 3 AND commit_is_id(shape, convert_from(part, 'UTF8'))
        END) IS NOT TRUE THEN
        PERFORM commit_reject('a field of an entry is of another kind');
      END IF;
    END IF;
    IF message <> 'entry' AND place = stop THEN
      -- What a message cannot do without: a form its number, a key its id.
      IF (message = 'field' AND last <> 2) OR (message = 'tenant key' AND first <> 1) THEN
        PERFORM commit_reject('a field of an entry is not whole');
      END IF;
      message := 'entry';
      stop := ends;
    END IF;
  END LOOP;
  RETURN ends > 0;
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
    IF (spelled::integer::text = spelled AND commit_check(spelled::integer, part)) IS NOT TRUE THEN
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

-- Refuses an entry that names another tenant key, or another version of it.
CREATE FUNCTION commit_says_key(entry JSONB, key_id BYTEA, key_version BIGINT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM commit_says_bytes(entry, 'tenant_key', commit_bytes_part(1, key_id) || commit_number_part(2, key_version));
END $$;

-- What is searched for is what the entry says, and the node is the one that asks.
CREATE FUNCTION commit_check_facets(g commit_group, entry JSONB) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  facets jsonb := entry -> 'facets';
  node bytea := commit_text_part(1, g.node) || commit_bytes_part(2, g.incarnation);
  said bytea := commit_part(entry, 'caller');
  -- The fingerprint of the caller's certificate stands in the body alone.
  caller bytea := commit_text_part(1, facets ->> 'caller')
    || commit_bytes_part(2, substring(said FROM octet_length(said) - 31));
  number bigint;
  wrong text;
  name text;
BEGIN
  FOREACH name IN ARRAY '{tenant,credential,owner}'::text[] LOOP
    IF commit_part(entry, name) IS DISTINCT FROM commit_text_part(commit_field(name), facets ->> name) THEN
      wrong := name;
    END IF;
  END LOOP;
  FOREACH name IN ARRAY '{kind,reason,follows}'::text[] LOOP
    number := CASE name WHEN 'follows' THEN (facets ->> name)::bigint ELSE commit_number(name, facets ->> name) END;
    IF commit_part(entry, name) IS DISTINCT FROM commit_number_part(commit_field(name), number) THEN
      wrong := name;
    END IF;
  END LOOP;
  IF commit_part(entry, 'id') IS NULL OR commit_part(entry, 'kind') IS NULL THEN
    wrong := 'id or kind';
  ELSIF commit_part(entry, 'node') IS DISTINCT FROM commit_bytes_part(commit_field('node'), node) THEN
    wrong := 'node';
  -- SECURITY: without a caller in the body there is nothing to compare, so none may be searched for either.
  ELSIF (said IS NULL) <> (facets ->> 'caller' IS NULL) OR facets ->> 'caller' = ''
      OR said IS DISTINCT FROM commit_bytes_part(commit_field('caller'), caller) THEN
    wrong := 'caller';
  END IF;
  IF wrong IS NOT NULL THEN
    PERFORM commit_reject('the entry does not say what is done: field ' || wrong);
  END IF;
END $$;

-- Refuses an entry that names somebody whose keys these would be, or follows another: nobody takes it for an erasure's.
CREATE FUNCTION commit_of_nobody(entry JSONB) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM commit_says(entry, 'tenant', NULL);
  PERFORM commit_says(entry, 'credential', NULL);
  PERFORM commit_says(entry, 'owner', NULL);
  PERFORM commit_says_number(entry, 'follows', NULL);
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
    WHEN 'PUT_TENANT' THEN
      PERFORM commit_says(entry, 'reference', coalesce(r ->> 'custody_set', '-') || ' '
        || (r #>> '{tenant,warm_for}')::bigint / 1000000);
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
    WHEN 'OPEN_KEY_JOB' THEN
      PERFORM commit_reject_if(NOT commit_is_id('kjb', r ->> 'id') OR NOT commit_knows('key_job', r ->> 'kind'),
        'there is no such job over keys');
      PERFORM commit_says(entry, 'reference', (r ->> 'id') || ' ' || (r ->> 'kind') || ' ' || (r ->> 'target') || ' '
        || coalesce(r ->> 'rate', '-') || coalesce(' ' || (r ->> 'from_key'), ''));
    WHEN 'END_KEY_JOB' THEN
      PERFORM commit_reject_if(NOT commit_knows('key_job_end', r ->> 'to') OR r ->> 'moved' IS NULL,
        'a job over keys has no such end');
      PERFORM commit_says(entry, 'reference', (r ->> 'id') || ' ' || (r ->> 'to'));
      PERFORM commit_says_number(entry, 'count', (r ->> 'moved')::bigint);
    WHEN 'MAKE_TENANT_KEY' THEN
      PERFORM commit_says(entry, 'tenant', r ->> 'tenant');
      PERFORM commit_says(entry, 'reference', r ->> 'job');
      PERFORM commit_says_key(entry, commit_bytes(r, 'key_id'), (r ->> 'key_version')::bigint);
    -- Which key that is, the rows say.
    WHEN 'OPEN_TENANT_KEY', 'TENANT_KEY_MOVED' THEN
      PERFORM commit_says(entry, 'tenant', r ->> 'tenant');
      PERFORM commit_says(entry, 'reference', r ->> 'job');
      PERFORM commit_says_number(entry, 'count', (r ->> 'moved')::bigint);
    WHEN 'COUNT_KEYS' THEN
      PERFORM commit_says(entry, 'reference', r ->> 'subject');
      PERFORM commit_says_number(entry, 'count', (r ->> 'remaining')::bigint);
      PERFORM commit_says_bytes(entry, 'digest', sha256(commit_bytes(r, 'statement')));
    WHEN 'RETIRE_KEYS' THEN
      PERFORM commit_says(entry, 'reference', r ->> 'subject');
    WHEN 'RETIRED_KEYS_DESTROYED' THEN
      PERFORM commit_says(entry, 'reference', 'retired-wrappings');
      PERFORM commit_says_number(entry, 'count', (r ->> 'shares')::bigint);
      PERFORM commit_of_nobody(entry);
    WHEN 'DEPOSIT_KEYS_DESTROYED' THEN
      PERFORM commit_says(entry, 'reference', 'deposit-keys');
      PERFORM commit_of_nobody(entry);
    WHEN 'REWRAP' THEN
      PERFORM commit_says(entry, 'tenant', r ->> 'tenant');
      PERFORM commit_says_key(entry, commit_bytes(r, 'key_id'), (r ->> 'key_version')::bigint);
    WHEN 'MOVE_KEYS' THEN
      PERFORM commit_says(entry, 'tenant', r ->> 'tenant');
      PERFORM commit_says(entry, 'reference', (r ->> 'job') || ' ' || (r ->> 'from_version'));
      PERFORM commit_says_key(entry, commit_bytes(r, 'key_id'), (r ->> 'key_version')::bigint);
      PERFORM commit_says_number(entry, 'count', (r ->> 'count')::bigint);
    ELSE NULL;
  END CASE;
END $$;
