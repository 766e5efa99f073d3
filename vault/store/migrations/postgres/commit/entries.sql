-- Entries: from the encoded fields of a body to a leaf at the next index (ledger.md, Entry). A body arrives as
-- {field number: its bytes}; what the commit itself decides is set here, the rest was encoded by the node.

-- A number as protobuf's base-128 varint. Most take one byte.
CREATE FUNCTION commit_varint(number BIGINT) RETURNS bytea LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
  encoded bytea;
  digits bigint;
BEGIN
  IF number BETWEEN 0 AND 127 THEN
    RETURN substring(int8send(number) FROM 8);
  END IF;
  encoded := decode('', 'hex');
  digits := number;
  WHILE digits > 127 LOOP
    encoded := encoded || set_byte(decode('00', 'hex'), 0, ((digits & 127) | 128)::integer);
    digits := digits >> 7;
  END LOOP;
  RETURN encoded || set_byte(decode('00', 'hex'), 0, digits::integer);
END $$;

-- An entry with one of its number fields set; nothing takes the field away.
CREATE FUNCTION commit_set_number(entry JSONB, field TEXT, number BIGINT) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  place integer := commit_field(field);
BEGIN
  IF number IS NULL THEN
    RETURN jsonb_set(entry, '{fields}', (entry -> 'fields') - place::text);
  END IF;
  RETURN jsonb_set(entry, ARRAY['fields', place::text],
    to_jsonb(encode(commit_varint((place << 3)::bigint) || commit_varint(number), 'hex')));
END $$;

-- An entry with one of its byte fields set.
CREATE FUNCTION commit_set_bytes(entry JSONB, field TEXT, content BYTEA) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
  place integer := commit_field(field);
  encoded bytea := commit_varint((place << 3 | 2)::bigint) || commit_varint(octet_length(content)) || content;
BEGIN
  RETURN jsonb_set(entry, ARRAY['fields', place::text], to_jsonb(encode(encoded, 'hex')));
END $$;

-- An entry that follows up another one; an entry that says so itself is left as it is.
CREATE FUNCTION commit_follow(entry JSONB, followed BIGINT) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF followed IS NULL OR entry -> 'fields' ? commit_field('follows')::text THEN
    RETURN entry;
  END IF;
  RETURN jsonb_set(commit_set_number(entry, 'follows', followed), '{facets,follows}', to_jsonb(followed));
END $$;

-- An entry that says what became of a decision.
CREATE FUNCTION commit_decided(entry JSONB, kind TEXT, verdict TEXT, reason TEXT, lease_until BIGINT, followed BIGINT)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  entry := commit_set_number(entry, 'kind', commit_number('kind', kind));
  entry := commit_set_number(entry, 'verdict', commit_number('verdict', verdict));
  entry := commit_set_number(entry, 'reason', commit_number('reason', reason));
  entry := commit_set_number(entry, 'lease_until', lease_until);
  entry := commit_set_number(entry, 'follows', followed);
  RETURN jsonb_set(entry, '{facets}',
    (entry -> 'facets') || jsonb_build_object('kind', kind, 'reason', reason, 'follows', followed));
END $$;

-- The time of a group: what every bound is compared with, and what its next entry will carry.
CREATE FUNCTION commit_at(g commit_group) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT greatest(g.now, h.last_time + 1) FROM ledger_head h);
END $$;

-- The index the next entry will have.
CREATE FUNCTION commit_next_index() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT h.size FROM ledger_head h);
END $$;

-- Appends an entry and gives its place: leaf = version (1) || index || time || body, hashed as RFC 6962 says.
CREATE FUNCTION commit_append(g commit_group, entry JSONB) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  facets jsonb := entry -> 'facets';
  place bigint := commit_next_index();
  moment bigint := commit_at(g);
  leaf bytea;
  hash bytea;
BEGIN
  -- SECURITY: an entry that nobody can read would take all standing away, for good.
  leaf := decode('01', 'hex') || int8send(place) || int8send(moment) || commit_body(entry);
  IF octet_length(leaf) > commit_limit('leaf') THEN
    RAISE EXCEPTION USING ERRCODE = 'CF002', MESSAGE = octet_length(leaf)::text;
  END IF;
  PERFORM commit_check_facets(g, entry);
  hash := sha256(decode('00', 'hex') || leaf);
  INSERT INTO ledger_entries ("index", bytes, leaf_hash, group_id, incarnation) VALUES (place, leaf, hash, g.id, g.incarnation);
  UPDATE ledger_head SET size = place + 1, last_time = moment;
  INSERT INTO ledger_facets ("index", at, kind, tenant, credential, owner, caller, reason, follows)
    VALUES (place, moment, facets ->> 'kind', facets ->> 'tenant', facets ->> 'credential', facets ->> 'owner',
      facets ->> 'caller', facets ->> 'reason', (facets ->> 'follows')::bigint);
  RETURN jsonb_build_object('index', place, 'time', moment, 'hash', encode(hash, 'hex'), 'kind', facets -> 'kind',
    'tenant', facets -> 'tenant', 'credential', facets -> 'credential');
END $$;
