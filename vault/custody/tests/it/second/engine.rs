//! OpenBao's own transit engine: the contract, with a token that may do what the book says and no more, and the sentences by
//! which faults are told apart, as the engine itself says them.

use super::*;

async fn openbao() -> Arc<OpenBao> {
    Arc::new(OpenBao::start().await.unwrap_or_else(|error| panic!("{error:#}")))
}

/// Not skipped where OpenBao is missing: it fails with the line to type.
#[test]
fn transit_keeps_the_contract_on_openbao() {
    keep(Form::Transit);
}

#[test]
fn transit_with_a_derived_key_keeps_the_contract_on_openbao() {
    keep(Form::Derived);
}

fn keep(form: Form) {
    let runtime = runtime();
    let make = Make::OpenBao(runtime.block_on(openbao()));
    keep_on(&runtime, &[Kind::Ed25519, Kind::P256], async |signer, number| {
        Site::Second(Second::start(make.clone(), form, signer, number).await)
    });
}

/// It would take them for others that it did write.
#[test]
fn a_text_that_the_engine_does_not_write_is_not_sent() {
    runtime().block_on(async {
        let second = Second::start(Make::OpenBao(openbao().await), Form::Transit, Kind::P256, 0).await;
        let held = second.open(Wanted::default()).await.expect("opens");
        let bytes = wrapped(&held).await;
        assert_eq!(unwrapped(&held, bytes.clone()).await.expect("opens"), 7);
        let text = String::from_utf8(bytes).expect("a text").replacen("vault:v1:", "", 1);
        for start in ["vault:v0:", "vault:v01:", "vault:v+1:", "vault:v:", "vault:v1"] {
            let fault = unwrapped(&held, format!("{start}{text}").into_bytes()).await.expect_err(start);
            assert_eq!((fault.cause, fault.request), (Cause::Integrity, None), "{start}");
        }
    });
}

/// What an operator does to a key, by the path below its mount, and what the driver answers then to check, unwrap, wrap and
/// sign. The signing key is left alone.
struct Row {
    what: &'static str,
    begin: &'static [(&'static str, &'static str, &'static str)],
    end: &'static [(&'static str, &'static str, &'static str)],
    cause: [Option<Cause>; 3],
}

const ROWS: &[Row] = &[
    Row {
        what: "the version that wrapped is ended",
        begin: &[
            ("POST", "keys/root-1/rotate", "{}"),
            ("POST", "keys/root-1/config", r#"{"min_decryption_version":2}"#),
        ],
        end: &[("POST", "keys/root-1/config", r#"{"min_decryption_version":1}"#)],
        cause: [None, Some(Cause::KeyDisabled), None],
    },
    Row {
        what: "soft-deleted",
        begin: &[("DELETE", "keys/root-1/soft-delete", "{}")],
        end: &[("POST", "keys/root-1/soft-delete-restore", "{}")],
        cause: [Some(Cause::KeyPendingDeletion); 3],
    },
    Row {
        what: "may be handed out",
        begin: &[("POST", "keys/root-1/config", r#"{"exportable":true}"#)],
        end: &[],
        cause: [Some(Cause::KeyUnsafe), None, Some(Cause::KeyUnsafe)],
    },
    Row {
        what: "deleted",
        begin: &[("POST", "keys/root-1/config", r#"{"deletion_allowed":true}"#), ("DELETE", "keys/root-1", "{}")],
        end: &[],
        cause: [Some(Cause::KeyMissing); 3],
    },
];

#[test]
fn the_engines_own_sentences_are_understood() {
    const WANTED: Wanted = Wanted { key: KEY, signer: Some(SIGNER) };
    runtime().block_on(async {
        let bao = openbao().await;
        let mut wrong = Vec::new();
        for (number, (form, row)) in [Form::Transit, Form::Derived]
            .into_iter()
            .flat_map(|form| ROWS.iter().map(move |row| (form, row)))
            .enumerate()
        {
            let second = Second::start(Make::OpenBao(bao.clone()), form, Kind::P256, number).await;
            let held = second.open(WANTED).await.unwrap_or_else(|fault| panic!("{fault}"));
            let bytes = wrapped(&held).await;
            let serves = [None; 4];
            let [check, unwrap, wrap] = row.cause;
            carry_out(&bao, &second.mount, row.begin).await;
            let found = asked(&held, &bytes).await;
            if found != [check, unwrap, wrap, None] {
                wrong.push(format!("{}, {form:?}: expected {:?}, found {found:?}", row.what, row.cause));
            }
            if !row.end.is_empty() {
                carry_out(&bao, &second.mount, row.end).await;
                let found = asked(&held, &bytes).await;
                if found != serves {
                    wrong.push(format!("{}, {form:?}: serves no more afterwards: {found:?}", row.what));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

async fn carry_out(bao: &OpenBao, mount: &str, orders: &[(&str, &str, &str)]) {
    for (method, path, body) in orders {
        let asked = serde_json::from_str(body).expect("JSON");
        bao.call(method, &format!("{mount}/{path}"), &asked).await.unwrap_or_else(|error| panic!("{error:#}"));
    }
}

/// A token that ended, a mount that is not there, and an engine that is sealed.
#[test]
fn who_asks_where_and_whether_it_is_open_is_understood() {
    runtime().block_on(async {
        let bao = openbao().await;
        let second = Second::start(Make::OpenBao(bao.clone()), Form::Transit, Kind::P256, 0).await;
        let held = second.open(Wanted { key: KEY, signer: Some(SIGNER) }).await.expect("opens");
        let bytes = wrapped(&held).await;
        let token = std::fs::read_to_string(second.token()).expect("read");
        // May read keys, and nothing else.
        let reads = format!(r#"path "{}/keys/*" {{ capabilities = ["read"] }}"#, second.mount);
        let weaker = bao.token("reads", &reads).await.expect("a token");
        std::fs::write(second.token(), weaker).expect("written");
        let denied = Some(Cause::Denied);
        assert_eq!(asked(&held, &bytes).await, [None, denied, denied, denied]);
        std::fs::write(second.token(), &token).expect("written");
        assert_eq!(asked(&held, &bytes).await, [None; 4]);
        bao.call("POST", "auth/token/revoke", &json!({ "token": token })).await.expect("revoked");
        assert_eq!(asked(&held, &bytes).await, [denied; 4]);
        let token = bao.token(&second.mount, &policy(&second.mount)).await.expect("a token");
        std::fs::write(second.token(), &token).expect("written");
        assert_eq!(asked(&held, &bytes).await, [None; 4]);
        bao.call("POST", "sys/seal", &json!({})).await.expect("sealed");
        assert_eq!(asked(&held, &bytes).await, [Some(Cause::Transient); 4]);
    });
}
