//! What whoever has the serving role of the records may have written into the ledger: entries that every reader reads,
//! and that say what was done. Always on PostgreSQL: an SQLite file has no roles.

use cofre_ledger::entry::Leaf;
use cofre_model::id::{ConsentId, InstitutionId, JobId, KeyJobId, SubjectId, TenantId};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;

use crate::serving_role::{Attack, NODE, entry, group, lockdown, note, pair, part};

/// The code of the error that a group with this one request ends with, as the first of its ledger.
async fn refused(attack: &mut Attack, what: &str, request: &Value) -> String {
    let refused = attack.commit(&group(1, request)).await.expect_err(what);
    assert_eq!(attack.number("SELECT size FROM cofre.ledger_head").await, 0, "{what}");
    let code = refused.as_database_error().and_then(|told| told.code());
    code.map(std::borrow::Cow::into_owned).unwrap_or_else(|| panic!("{what}: {refused}"))
}

#[tokio::test]
async fn a_stolen_role_writes_no_entry_that_cannot_be_read() {
    let mut attack = Attack::new().await;
    for (what, field, bytes) in [
        ("a field nobody knows", "35", "9a020101"),
        ("a field nobody knows, far away", "2000", "827d0161"),
        ("a field under another number", "5", "320161"),
        ("another field behind the first", "5", "2a0161320161"),
        ("a number spelled with a nought", "05", "2a0161"),
        ("a number spelled with a sign", "+5", "2a0161"),
        ("a number spelled with a space", " 5", "2a0161"),
        ("a name for a number", "method", "2a0161"),
        ("nothing in a field", "5", ""),
        ("a field twice", "5", "2a01612a0162"),
        ("a field in the wrong place", "7", "2a0161"),
        ("a key and no more", "5", "2a"),
        ("half a key", "34", "92"),
        ("a long key", "5", "aa000161"),
        ("a cut field", "5", "2a0561"),
        ("more than the field", "5", "2a016161"),
        ("a long length", "5", "2a810061"),
        ("another wire type", "5", "2801"),
        ("a wire type nobody writes", "5", "2d00000000"),
        ("a long number", "32", "80028100"),
        ("a number without an end", "32", "8002ffffffffffffffffff01"),
        ("a version beyond its field", "10", "508080808010"),
        ("text that is none", "5", "2a01ff"),
        ("a class nobody knows", "9", "4863"),
        ("no scope", "16", "820100"),
        ("scopes out of order", "16", "8201020201"),
        ("a scope nobody knows", "16", "8201020163"),
        ("a short digest", "33", "8a020101"),
        ("a policy input of nothing", "22", "b20100"),
        ("a caller that is no message", "3", "1a0161"),
        ("epochs with a nought", "14", "72020800"),
        ("epochs nobody knows", "14", "72023801"),
        ("a released field without its form", "25", "ca01030a0161"),
        ("a released field of no name", "25", "ca01040a001001"),
        ("a tenant key without its id", "26", "d201021001"),
        ("a consent that is no id", "13", "6a05636e735f78"),
        ("an institution that is no id", "12", "6205696e735f41"),
        ("a job that is no id", "18", "9201056a6f625f78"),
    ] {
        let code = refused(&mut attack, what, &note(&[(field, bytes.into())], &[])).await;
        let known = match what {
            "text that is none" => code == "22021",
            "a name for a number" => code == "22P02",
            _ => code == "CF004",
        };
        assert!(known, "{what}: {code}");
    }
    let mut nameless = note(&[], &[]);
    nameless["entry"]["fields"].as_object_mut().expect("fields").remove("2");
    assert_eq!(refused(&mut attack, "no id", &nameless).await, "CF004");
    // As the program writes it, with everything that may be there besides.
    let consents = [1, 2].map(|ms| part(13, ConsentId::from_parts(ms, [0xff; 10]).to_string().as_bytes())).concat();
    let key = [hex::decode(part(1, &[3; 16])).expect("hex"), vec![16, 1]].concat();
    let whole = [
        ("5", "2a0161".into()),
        ("9", "4801".into()),
        ("10", "5000".into()),
        ("12", part(12, b"ins_banco-abierto")),
        ("13", consents),
        ("14", "72020801".into()),
        ("16", "8201020102".into()),
        ("18", part(18, JobId::from_parts(9, [7; 10]).to_string().as_bytes())),
        ("22", part(22, &[b'{'; 2_048])),
        ("25", "ca01050a01611001ca01021002".into()),
        ("26", part(26, &key)),
        ("32", "80028001".into()),
    ];
    attack.commit(&group(1, &note(&whole, &[]))).await.expect("committed");
    let read = "SELECT bytes FROM cofre.ledger_entries";
    let bytes: Vec<u8> = sqlx::query(read).fetch_one(&mut attack.role).await.expect("read").get(0);
    let leaf = Leaf::parse(&bytes).expect("a leaf");
    assert_eq!(leaf.entry().expect("an entry").consents.len(), 2);
}

#[tokio::test]
async fn an_id_is_taken_where_a_reader_takes_it() {
    let mut attack = Attack::new().await;
    let mut count = 0;
    let genuine = TenantId::from_parts(1_790_000_000_123, [0x5a; 10]).to_string();
    let mut texts = vec![genuine.clone(), genuine.to_lowercase(), format!("{genuine} "), format!("{genuine}\n")];
    texts.extend([genuine.replace("ten", "crd"), genuine.chars().take(29).collect(), "ten_".into(), "ten_x".into()]);
    for place in 4..genuine.len() {
        for other in "078ABEFGRSVZIUa-".chars() {
            let put = |(at, is)| if at == place { other } else { is };
            texts.push(genuine.chars().enumerate().map(put).collect());
        }
    }
    let mut taken = 0;
    for text in texts {
        count += 1;
        let request = note(&[("6", part(6, text.as_bytes()))], &[("tenant", &text)]);
        let reads = TenantId::try_from(text.as_str()).is_ok();
        assert_eq!(attack.commit(&group(count, &request)).await.is_ok(), reads, "{text:?}");
        taken += i64::from(reads);
    }
    assert!(taken > 200, "{taken} taken");
    assert_eq!(attack.number("SELECT size FROM cofre.ledger_head").await, taken);
    for text in ["ins_a", "ins_0-", "ins_-a", "ins_", "ins_a_b", "ins_\u{e4}", "ten_a"]
        .map(str::to_owned)
        .into_iter()
        .chain([63, 64].map(|length| format!("ins_{}", "a".repeat(length))))
    {
        count += 1;
        let request = note(&[("12", part(12, text.as_bytes()))], &[]);
        let reads = InstitutionId::try_from(text.as_str()).is_ok();
        assert_eq!(attack.commit(&group(count, &request)).await.is_ok(), reads, "{text:?}");
    }
}

#[tokio::test]
async fn an_entry_says_what_is_done_and_nothing_else() {
    let mut attack = Attack::new().await;
    let changed = |path: &str, value: Value| {
        let mut request = lockdown();
        *request.pointer_mut(path).expect(path) = value;
        request
    };
    let stop = |scope: &str, id: &str, reference: &str| json!({"op": "LOCKDOWN", "scope": scope, "id": id, "entry": entry("LOCKDOWN", 28, reference)});
    let key_job = || KeyJobId::from_parts(1, [1; 10]).to_string();
    let job = |target: &str, said: &str, kind: &str| {
        let opened = entry("KEY_JOB_OPENED", 36, &format!("{} {said}", key_job()));
        json!({"op": "OPEN_KEY_JOB", "id": key_job(), "kind": kind, "target": target, "from_key": "root 1", "rate": 5, "entry": opened})
    };
    // What is counted in truth: nothing that `a` wrapped.
    let count = |subject: &str, remaining: u64, statement: &[u8]| {
        let mut counted = entry("KEYS_COUNTED", 40, "a");
        counted["fields"]["32"] = "800200".into();
        counted["fields"]["33"] = part(33, &Sha256::digest(b"s")).into();
        json!({"op": "COUNT_KEYS", "subject": subject, "remaining": remaining, "statement": hex::encode(statement), "entry": counted})
    };
    // A version of a tenant's key; what is asked besides, and what else its entry says.
    let tenant = TenantId::from_parts(1, [1; 10]).to_string();
    let key =
        |id: u8, version: u8| part(26, &[hex::decode(part(1, &[id; 16])).expect("hex"), vec![16, version]].concat());
    let version = |op: &str, kind: (&str, u8), said: &str, asked: Value, fields: &[(&str, String)]| {
        let mut entry = entry(kind.0, kind.1, said);
        entry["facets"]["tenant"] = tenant.as_str().into();
        entry["fields"]["6"] = part(6, tenant.as_bytes()).into();
        for (field, bytes) in fields {
            entry["fields"][field] = bytes.as_str().into();
        }
        let mut request = json!({"op": op, "job": key_job(), "tenant": tenant, "key_version": 2, "entry": entry});
        request.as_object_mut().expect("a request").extend(asked.as_object().expect("what is asked").clone());
        request
    };
    let made = |said: &str, asked: Value, field: String| {
        version("MAKE_TENANT_KEY", ("TENANT_KEY_MADE", 42), said, asked, &[("26", field)])
    };
    let opened = |said: &str, asked: Value| {
        version("OPEN_TENANT_KEY", ("TENANT_KEY_OPENED", 43), said, asked, &[("26", key(3, 2))])
    };
    let moved = |said: &str, count: &str| {
        let fields = [("26", key(3, 2)), ("32", count.to_owned())];
        version("TENANT_KEY_MOVED", ("TENANT_KEY_MOVED", 45), said, json!({"moved": 7}), &fields)
    };
    let permit = |said: &str, field: String, count: &str| {
        let asked = json!({"from_version": 1, "from_id": "01".repeat(16), "key_id": "03".repeat(16), "count": 7});
        version("MOVE_KEYS", ("KEYS_MOVE", 44), said, asked, &[("26", field), ("32", count.to_owned())])
    };
    let (job_said, key_said) = (key_job(), json!({"key_id": "03".repeat(16)}));
    let stranger = json!({"tenant": TenantId::from_parts(2, [2; 10]).to_string()});
    let with = |mut asked: Value, more: &Value| {
        asked.as_object_mut().expect("asked").extend(more.as_object().expect("more").clone());
        asked
    };
    // A tenant as it is registered, and what its entry says of that.
    let put = |set: &str, secs: u64| {
        let id = TenantId::from_parts(2, [2; 10]).to_string();
        let tenant = json!({"id": id, "slug": "acme", "legal_name": "Acme", "state": "ACTIVE", "home_region": "eu-nl",
            "tenant_key_id": "05".repeat(16), "key_version": 1, "warm_for": secs * 1_000_000});
        let entry = entry("TENANT_PUT", 4, "all_of(a,b) 300");
        json!({"op": "PUT_TENANT", "custody_set": set, "tenant": tenant, "signing_keys": [], "recipients": [], "entry": entry})
    };
    // Four shares that were retired, and who may not stand in the entry of their destruction.
    let gone = |op: &str, reference: &str, shares: u64| {
        let mut gone = entry("KEYS_DESTROYED", 31, reference);
        gone["fields"]["32"] = "800204".into();
        json!({"op": op, "shares": shares, "entry": gone})
    };
    let of = |field: &str, content: String, facet: &str, named: Value| {
        let mut request = gone("RETIRED_KEYS_DESTROYED", "retired-wrappings", 4);
        request["entry"]["fields"][field] = content.into();
        request["entry"]["facets"][facet] = named;
        request
    };
    let (owner, tenant) = (SubjectId::from_parts(1, [1; 10]).to_string(), TenantId::from_parts(1, [1; 10]).to_string());
    let caller = |name: &str, fingerprint: usize| ("3", part(3, &pair(name.as_bytes(), &vec![5; fingerprint])));
    for (what, request) in [
        ("another stop button than the entry names", stop("TENANT", "ten_x", "PLATFORM")),
        ("a stop button under a padded name", stop("TENANT", "ten_x ", "TENANT ten_x")),
        ("a stop button for everything under a name", stop("PLATFORM", "x", "PLATFORM")),
        ("a stop button nobody knows", stop("GALAXY", "x", "GALAXY x")),
        ("a kind beside the body's", changed("/entry/facets/kind", "AUDIT_READ".into())),
        ("a body of another kind", changed("/entry/fields/1", "0821".into())),
        ("a tenant that the body does not name", changed("/entry/facets/tenant", "ten_x".into())),
        ("a reason that the body does not name", changed("/entry/facets/reason", "REPLAY".into())),
        ("a caller that the body does not name", changed("/entry/facets/caller", NODE.into())),
        ("a caller that only the body names", note(&[caller(NODE, 32)], &[])),
        ("another caller than the body names", note(&[caller(NODE, 32)], &[("caller", "spiffe://x")])),
        ("a caller with half a fingerprint", note(&[caller(NODE, 16)], &[("caller", NODE)])),
        ("a caller without a name", note(&[caller("", 32)], &[("caller", "")])),
        ("an operation that this does not record", changed("/op", "NOTE".into())),
        ("a withdrawal that is none", {
            let mut request = note(&[], &[]);
            request["withdraws"] = 0.into();
            request
        }),
        ("another node's entry", changed("/entry/fields/4", part(4, &pair(b"spiffe://x", &[9; 16])).into())),
        ("another life's entry", changed("/entry/fields/4", part(4, &pair(NODE.as_bytes(), &[8; 16])).into())),
        ("a consent that ends otherwise", {
            let mut revoked = entry("CONSENT_REVOKED", 15, "");
            let consent = ConsentId::from_parts(1, [1; 10]).to_string();
            revoked["fields"]["13"] = part(13, consent.as_bytes()).into();
            json!({"op": "END_CONSENT", "to": "EXPIRED", "consent": consent, "tenant": "ten_x", "entry": revoked})
        }),
        ("another job over keys than the entry names", job("any_of(a)", "REWRAP any_of(b) 5 root 1", "REWRAP")),
        ("another rate than the entry names", job("any_of(a)", "REWRAP any_of(a) - root 1", "REWRAP")),
        ("another key than the entry names", job("any_of(a)", "REWRAP any_of(a) 5", "REWRAP")),
        ("a job over keys of no kind", job("any_of(a)", "MELT any_of(a) 5 root 1", "MELT")),
        ("a job over keys that ends otherwise", {
            let mut ended = entry("KEY_JOB_ENDED", 37, &format!("{} STOPPED", key_job()));
            ended["fields"]["32"] = "800200".into();
            json!({"op": "END_KEY_JOB", "id": key_job(), "to": "DONE", "moved": 0, "entry": ended})
        }),
        ("a job over keys that goes on", {
            let mut ended = entry("KEY_JOB_ENDED", 37, &format!("{} RUNNING", key_job()));
            ended["fields"]["32"] = "800200".into();
            json!({"op": "END_KEY_JOB", "id": key_job(), "to": "RUNNING", "moved": 0, "entry": ended})
        }),
        ("a job over keys that moved more", {
            let mut ended = entry("KEY_JOB_ENDED", 37, &format!("{} DONE", key_job()));
            ended["fields"]["32"] = "800200".into();
            json!({"op": "END_KEY_JOB", "id": key_job(), "to": "DONE", "moved": 1, "entry": ended})
        }),
        ("a job over keys that moved nobody knows how many", {
            let ended = entry("KEY_JOB_ENDED", 37, &format!("{} DONE", key_job()));
            json!({"op": "END_KEY_JOB", "id": key_job(), "to": "DONE", "entry": ended})
        }),
        ("another custody set of a tenant than the entry names", put("any_of(b)", 300)),
        ("another time of a tenant's key in memory", put("all_of(a,b)", 900)),
        ("the destruction of something else", gone("RETIRED_KEYS_DESTROYED", "deposit-keys", 4)),
        ("the destruction of more", gone("RETIRED_KEYS_DESTROYED", "retired-wrappings", 5)),
        ("a destruction for an owner", of("11", part(11, owner.as_bytes()), "owner", owner.as_str().into())),
        ("a destruction for a tenant", of("6", part(6, tenant.as_bytes()), "tenant", tenant.as_str().into())),
        ("a destruction that follows an erasure", of("28", "e00100".into(), "follows", 0.into())),
        ("deposit keys under another name", gone("DEPOSIT_KEYS_DESTROYED", "retired-wrappings", 4)),
        ("deposit keys that follow an erasure", {
            let mut request = of("28", "e00100".into(), "follows", 0.into());
            request["op"] = "DEPOSIT_KEYS_DESTROYED".into();
            request["entry"]["fields"]["34"] = part(34, b"deposit-keys").into();
            request
        }),
        ("another custodian than the entry names", count("b", 0, b"s")),
        ("another count than the entry names", count("a", 1, b"s")),
        ("another statement than the entry names", count("a", 0, b"t")),
        (
            "what another custodian wrapped",
            json!({"op": "RETIRE_KEYS", "subject": "b", "entry": entry("KEYS_RETIRED", 41, "a")}),
        ),
        ("a version made under another job", made("x", key_said.clone(), key(3, 2))),
        ("another key than was made", made(&job_said, key_said.clone(), key(4, 2))),
        ("another version than was made", made(&job_said, key_said.clone(), key(3, 3))),
        ("another tenant's version", made(&job_said, with(key_said.clone(), &stranger), key(3, 2))),
        ("a version opened under another job", opened("x", json!({}))),
        ("another tenant's version opened", opened(&job_said, stranger.clone())),
        ("a version opened with a count", {
            let mut request = opened(&job_said, json!({}));
            request["entry"]["fields"]["32"] = "800207".into();
            request
        }),
        ("keys moved under another job", moved("x", "800207")),
        ("other keys moved than the entry counts", moved(&job_said, "800208")),
        ("a permit to move under another job", permit("x 1", key(3, 2), "800207")),
        ("a permit to move from another version", permit(&format!("{job_said} 9"), key(3, 2), "800207")),
        ("a permit to move to another version", permit(&format!("{job_said} 1"), key(3, 3), "800207")),
        ("a permit to move to another key", permit(&format!("{job_said} 1"), key(4, 2), "800207")),
        ("a permit to move more keys", permit(&format!("{job_said} 1"), key(3, 2), "800206")),
        ("a version that is made by another entry", {
            let mut request = made(&job_said, key_said.clone(), key(3, 2));
            request["op"] = "OPEN_TENANT_KEY".into();
            request
        }),
        (
            "a permit to move that is none",
            json!({"op": "NOTE", "withdraws": null, "entry": entry("KEYS_MOVE", 44, "x")}),
        ),
        ("a move that is no permit", json!({"op": "NOTE", "withdraws": null, "entry": entry("REWRAP", 38, "x")})),
    ] {
        assert_eq!(refused(&mut attack, what, &request).await, "CF004", "{what}");
    }
    let whole = note(&[caller(NODE, 32)], &[("caller", NODE)]);
    attack.commit(&group(1, &whole)).await.expect("committed");
    for (number, request) in (2..).zip([
        job("any_of(a)", "REWRAP any_of(a) 5 root 1", "REWRAP"),
        count("a", 0, b"s"),
        gone("RETIRED_KEYS_DESTROYED", "retired-wrappings", 4),
        gone("DEPOSIT_KEYS_DESTROYED", "deposit-keys", 4),
        put("all_of(a,b)", 300),
    ]) {
        let verdicts = attack.commit(&group(number, &request)).await.expect("committed");
        assert_eq!(verdicts[0]["verdict"], "WRITTEN", "{verdicts}");
    }
    // Those that say what is done are refused for what the rows say, and for nothing else.
    for (number, request, reason) in [
        (4, made(&job_said, key_said, key(3, 2)), "NOT_FOUND"),
        (5, opened(&job_said, json!({})), "NOT_FOUND"),
        (6, moved(&job_said, "800207"), "NOT_FOUND"),
        (7, permit(&format!("{job_said} 1"), key(3, 2), "800207"), "NOT_FOUND"),
    ] {
        let verdicts = attack.commit(&group(number, &request)).await.expect("a verdict");
        assert_eq!(verdicts[0]["reason"], reason, "{verdicts}");
    }
}

#[tokio::test]
async fn an_entry_names_the_version_of_a_key_that_the_rows_name() {
    let mut attack = Attack::new().await;
    let tenant = TenantId::from_parts(1, [1; 10]).to_string();
    let job = KeyJobId::from_parts(1, [1; 10]).to_string();
    let said = |mut entry: Value, fields: &[(&str, String)]| {
        entry["facets"]["tenant"] = tenant.as_str().into();
        entry["fields"]["6"] = part(6, tenant.as_bytes()).into();
        for (field, bytes) in fields {
            entry["fields"][field] = bytes.as_str().into();
        }
        entry
    };
    let key =
        |id: u8, version: u8| part(26, &[hex::decode(part(1, &[id; 16])).expect("hex"), vec![16, version]].concat());
    let row = json!({"id": tenant, "slug": "acme", "legal_name": "Acme", "state": "ACTIVE", "home_region": "eu-nl",
        "tenant_key_id": "01".repeat(16), "key_version": 1, "warm_for": 0});
    let put = json!({"op": "PUT_TENANT", "custody_set": null, "tenant": row, "signing_keys": [], "recipients": [],
        "entry": said(entry("TENANT_PUT", 4, "- 0"), &[])});
    let order = json!({"op": "OPEN_KEY_JOB", "id": job, "kind": "ROTATE", "target": "all", "from_key": null, "rate": null,
        "entry": entry("KEY_JOB_OPENED", 36, &format!("{job} ROTATE all -"))});
    let made = json!({"op": "MAKE_TENANT_KEY", "job": job, "tenant": tenant, "key_version": 2, "key_id": "03".repeat(16),
        "entry": said(entry("TENANT_KEY_MADE", 42, &job), &[("26", key(3, 2))])});
    for (number, request) in (1..).zip([put, order, made]) {
        let verdicts = attack.commit(&group(number, &request)).await.expect("committed");
        assert_eq!(verdicts[0]["verdict"], "WRITTEN", "{verdicts}");
    }
    let opened = |named: String| {
        json!({"op": "OPEN_TENANT_KEY", "job": job, "tenant": tenant, "key_version": 2,
            "entry": said(entry("TENANT_KEY_OPENED", 43, &job), &[("26", named)])})
    };
    let moved = |named: String| {
        json!({"op": "TENANT_KEY_MOVED", "job": job, "tenant": tenant, "key_version": 2, "moved": 7,
            "entry": said(entry("TENANT_KEY_MOVED", 45, &job), &[("26", named), ("32", "800207".into())])})
    };
    for (number, asked) in (4..).zip([&opened as &dyn Fn(String) -> Value, &moved]) {
        for (id, version) in [(1, 1), (3, 1), (1, 2), (4, 2)] {
            let refused = attack.commit(&group(number, &asked(key(id, version)))).await.expect_err("another key");
            let code = refused.as_database_error().and_then(|told| told.code());
            assert_eq!(code.as_deref(), Some("CF004"), "{id} {version}: {refused}");
        }
        let verdicts = attack.commit(&group(number, &asked(key(3, 2)))).await.expect("committed");
        assert_eq!(verdicts[0]["verdict"], "WRITTEN", "{verdicts}");
    }
    let oldest = "SELECT tenant_key_oldest * 10 + tenant_key_version FROM cofre.tenants";
    assert_eq!(attack.number(oldest).await, 22);
}
