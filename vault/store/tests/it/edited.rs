//! Rows edited behind the vault's back, column by column: whatever decides is under the MAC, and what was ended does
//! not come back by an edit.

use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::{Credential, CredentialState};
use cofre_model::entry::EntryKind;
use cofre_model::id::ErasureId;
use cofre_model::time::Span;
use cofre_model::wording::Outcome;
use cofre_policy::facts::Evidence;
use cofre_store::Operation;
use cofre_testkit::stores::Store;
use sqlx::{Row as _, SqliteConnection};

use crate::hands::{bytes, zeros};
use crate::world::{Ask, World, mac, refusal, told};

/// Columns that decide nothing about a release, each with the reason why it may be edited and the release still stand.
const FREE: &[(&str, &str)] = &[
    ("epoch", "the commit compares it; another value only sends the decision back"),
    ("intended_version", "counts intents to deposit"),
    ("evidence", "proof of who agreed; its digest stands in the ledger"),
    ("requested_at", "orders consents; the one in force goes first"),
    ("tagged_state", "looked at only for a row that was ended"),
    ("last_tag", "looked at only for a row that was ended"),
];

async fn run(world: &World, statement: &str) -> u64 {
    world.edit(statement).await
}

/// What a release comes to; a row that cannot even be read releases nothing.
async fn attempt(world: &World, ask: &Ask) -> String {
    match world.try_facts(ask).await {
        Err(cause) => format!("unreadable: {cause}"),
        Ok(facts) => told(&world.records().commit(world.decide(&facts)).await.expect("commit")),
    }
}

/// The columns of a table and, for each, values of its own type that the column does not hold. Both engines have the
/// same columns, so those of a file are looked at.
async fn edits(files: &mut SqliteConnection, table: &str) -> Vec<(String, Vec<String>)> {
    let columns = sqlx::query("SELECT name, type FROM pragma_table_info(?)").bind(table).fetch_all(files).await;
    let states: &[&str] = match table {
        "consents" => &["AWAITING_AUTHORISATION", "REVOKED", "EXPIRED", "NONSENSE"],
        _ => &["ENROLLING", "SECRET_REJECTED", "ERASING", "ERASED", "DISCARDED", "NONSENSE"],
    };
    let of = |column: &sqlx::sqlite::SqliteRow| {
        let (name, kind): (String, String) = (column.get("name"), column.get("type"));
        let values = match (name.as_str(), kind.as_str()) {
            ("state", _) => states.iter().map(|state| format!("'{state}'")).collect(),
            ("purpose", _) => vec!["'ADVICE'".into(), "''".into()],
            ("scopes", _) => vec!["'POSITIONS'".into(), "'POSITIONS,TRANSACTIONS'".into(), "''".into()],
            ("locale", _) => vec!["'en'".into(), "''".into()],
            ("institution_id", _) => vec!["'ins_banco-cerrado'".into(), "''".into()],
            // The last character of an id is free to change.
            (_, "TEXT") => vec![
                format!(
                    "substr({name}, 1, length({name}) - 1) || CASE substr({name}, length({name})) WHEN '0' THEN '1' ELSE '0' END"
                ),
                "''".into(),
            ],
            (_, "INTEGER") => vec![format!("{name} + 1"), format!("{name} - 1"), format!("{name} + 1000000")],
            (_, "BLOB") => vec![bytes(""), zeros(&name), bytes(&"a5".repeat(32))],
            // Of a type nobody thought of: the test says so.
            _ => Vec::new(),
        };
        (name, values)
    };
    columns.expect("columns").iter().map(of).collect()
}

#[tokio::test]
async fn no_edit_of_a_deciding_column_ever_releases() {
    let mut seen = 0;
    let beside = World::on_sqlite(None).await;
    let mut files = beside.file(Store::Records).await;
    for table in ["consents", "credentials"] {
        let world = World::new().await;
        let (credential, _) = world.releasable(4).await;
        run(&world, &format!("CREATE TABLE kept AS SELECT * FROM {table}")).await;
        for (column, values) in edits(&mut files, table).await {
            if FREE.iter().any(|(free, _)| *free == column) {
                continue;
            }
            assert!(!values.is_empty(), "{table}.{column}: say what it may be edited to");
            for value in values {
                let changed = run(&world, &format!("UPDATE {table} SET {column} = {value}")).await;
                assert_eq!(changed, 1, "{table}.{column} = {value}");
                for ask in [world.ask(credential.id), world.attended(&credential)] {
                    let outcome = attempt(&world, &ask).await;
                    assert_ne!(outcome, "GRANTED", "{table}.{column} = {value}");
                    assert_ne!(outcome, "MOVED", "{table}.{column} = {value}");
                }
                run(&world, &format!("DELETE FROM {table}")).await;
                run(&world, &format!("INSERT INTO {table} SELECT * FROM kept")).await;
                seen += 1;
            }
        }
        assert_eq!(attempt(&world, &world.ask(credential.id)).await, "GRANTED", "the row as it was still releases");
    }
    assert!(seen > 50, "only {seen} edits were tried");
}

#[tokio::test]
async fn an_enrolled_login_set_back_to_enrolling_releases_nothing() {
    let world = World::new().await;
    let (credential, _) = world.releasable(4).await;
    for edit in [
        "UPDATE credentials SET state = 'ENROLLING'",
        "UPDATE credentials SET state = 'ENROLLING', secret_version = 1",
        &format!("UPDATE credentials SET tag = {}, last_tag = tag", bytes("")),
    ] {
        run(&world, edit).await;
        for ask in [world.ask(credential.id), world.attended(&credential)] {
            assert_eq!(attempt(&world, &ask).await, "INTEGRITY_FAILURE", "{edit}");
        }
    }
    // A row that really is enrolling is genuine, and refused for what it is.
    let subject = world.subject();
    let blank = world.blank(subject.id);
    world.enrol(Some(subject), &blank).await.expect("enrolment");
    assert_eq!(attempt(&world, &world.attended(&blank)).await, "CREDENTIAL_ENROLLING");
    run(&world, "UPDATE credentials SET secret_version = 1 WHERE state = 'ENROLLING'").await;
    assert_eq!(attempt(&world, &world.attended(&blank)).await, "INTEGRITY_FAILURE");
}

async fn credential_now(world: &World, id: &Credential) -> cofre_store::CredentialRecord {
    world.records().credential(&world.tenant.id, &id.id).await.expect("read").expect("kept")
}

async fn consent_now(world: &World, id: &Consent) -> cofre_store::ConsentRecord {
    world.records().consent(&world.tenant.id, &id.id).await.expect("read").expect("kept")
}

/// Each way in which a row is ended without a key.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Revoked,
    Expired,
    Rejected,
    Erasing,
    Erased,
}

async fn ended(ending: Ending) -> (World, Credential, Consent) {
    let world = World::new().await;
    let (credential, consent) = world.releasable(4).await;
    let erasure = ErasureId::from_parts(world.ms(), world.bytes());
    let accept = Operation::AcceptErasure { erasure, tenant: world.tenant.id, subject: credential.owner };
    match ending {
        Ending::Revoked => drop(world.revoke(&consent).await.expect("revoke")),
        Ending::Expired => {
            world.clock.advance(Span::days(181));
            let expire =
                Operation::EndConsent { tenant: world.tenant.id, consent: consent.id, to: ConsentState::Expired };
            world.apply(EntryKind::ConsentExpired, expire).await.expect("expire");
        }
        Ending::Rejected => {
            let ask = world.ask(credential.id);
            assert_eq!(told(&world.once(&ask).await), "GRANTED");
            world.report(&ask, Outcome::WrongSecret).await.expect("report");
        }
        Ending::Erasing | Ending::Erased => {
            world.apply(EntryKind::ErasureAccepted, accept).await.expect("accepted");
        }
    }
    if matches!(ending, Ending::Erased) {
        world.apply(EntryKind::KeysDestroyed, Operation::KeysDestroyed { erasure }).await.expect("destroyed");
        let horizon = cofre_model::time::Timestamp::default();
        let certify = Operation::CertifyErasure { erasure, certificate: b"{}".to_vec(), horizon };
        world.apply(EntryKind::ErasureCertified, certify).await.expect("certified");
    }
    (world, credential, consent)
}

#[tokio::test]
async fn what_was_ended_does_not_come_back_by_an_edit() {
    for ending in [Ending::Revoked, Ending::Expired, Ending::Rejected, Ending::Erasing, Ending::Erased] {
        let zeros = format!(", tag = {}", bytes(&"00".repeat(32)));
        for with in ["", ", tag = last_tag", ", tag = last_tag, tagged_state = 'ACTIVE'", zeros.as_str()] {
            let (world, credential, consent) = ended(ending).await;
            // Whatever else was edited with it: the validity is left to the MAC here.
            run(&world, &format!("UPDATE consents SET state = 'ACTIVE'{with} WHERE state <> 'ACTIVE'")).await;
            // An erasure also took the dedupe tag out; its holder may have kept a copy of that.
            let id = credential.id.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let login = format!("UPDATE credentials SET state = 'ACTIVE', dedupe_tag = {}{with}", bytes(&id));
            run(&world, &format!("{login} WHERE state <> 'ACTIVE'")).await;
            let facts = world.facts(&world.attended(&credential)).await;
            let (consent_state, login_state) = (&facts.consent, &facts.credential);
            let forged = match ending {
                Ending::Revoked | Ending::Expired => matches!(consent_state, Evidence::Forged),
                Ending::Rejected => matches!(login_state, Evidence::Forged),
                Ending::Erasing | Ending::Erased => {
                    matches!((consent_state, login_state), (Evidence::Forged, Evidence::Forged))
                }
            };
            assert!(forged, "{ending:?}{with}");
            assert_ne!(attempt(&world, &world.attended(&credential)).await, "GRANTED", "{ending:?}{with}");
            let again = consent_now(&world, &consent).await.row.verify_as_tagged(mac);
            let untouched = matches!(ending, Ending::Rejected);
            assert_eq!(matches!(again, Evidence::Genuine(_)), untouched, "{ending:?}{with}");
        }
    }
}

#[tokio::test]
async fn an_ended_row_still_proves_its_terms_until_they_are_edited() {
    for ending in [Ending::Revoked, Ending::Expired, Ending::Erasing] {
        let (world, _, consent) = ended(ending).await;
        let Evidence::Genuine(terms) = consent_now(&world, &consent).await.row.verify_as_tagged(mac) else {
            panic!("{ending:?}: not genuine")
        };
        assert_eq!(Consent { state: ConsentState::Active, ..terms.clone() }, consent);
        assert!(matches!(terms.state, ConsentState::Revoked | ConsentState::Expired));
        for edit in ["unattended_per_day = 3", "scopes = 'POSITIONS'", "tagged_state = 'AWAITING_AUTHORISATION'"] {
            run(&world, "CREATE TABLE kept AS SELECT * FROM consents").await;
            run(&world, &format!("UPDATE consents SET {edit}")).await;
            let edited = consent_now(&world, &consent).await.row.verify_as_tagged(mac);
            assert_eq!(edited, Evidence::Forged, "{ending:?}: {edit}");
            run(&world, "DELETE FROM consents").await;
            run(&world, "INSERT INTO consents SELECT * FROM kept").await;
            run(&world, "DROP TABLE kept").await;
        }
    }
    let (world, credential, _) = ended(Ending::Rejected).await;
    let Evidence::Genuine(login) = credential_now(&world, &credential).await.row.verify_as_tagged(mac) else {
        panic!("not genuine")
    };
    assert_eq!(login, Credential { state: CredentialState::SecretRejected, ..credential.clone() });
    run(&world, "UPDATE credentials SET owner_id = 'sub_' || substr(owner_id, 5)").await;
    run(&world, "UPDATE credentials SET not_before = 1").await;
    assert_eq!(credential_now(&world, &credential).await.row.verify_as_tagged(mac), Evidence::Forged);
}

#[tokio::test]
async fn a_row_narrowed_by_hand_proves_nothing() {
    let world = World::new().await;
    let (credential, consent) = world.releasable(4).await;
    run(&world, "UPDATE credentials SET state = 'SECRET_REJECTED'").await;
    run(&world, "UPDATE consents SET state = 'REVOKED'").await;
    assert_eq!(credential_now(&world, &credential).await.row.verify_as_tagged(mac), Evidence::Forged);
    assert_eq!(consent_now(&world, &consent).await.row.verify_as_tagged(mac), Evidence::Forged);
}

#[tokio::test]
async fn a_new_login_is_written_with_its_mac_or_not_at_all() {
    let world = World::new().await;
    let subject = world.subject();
    let blank = world.blank(subject.id);
    let untagged = Operation::OpenEnrolment {
        subject: Some(subject.clone()),
        credential: blank.clone(),
        tag: None,
        enrolment: cofre_model::id::EnrolmentId::from_parts(world.ms(), world.bytes()),
        expires_at: world_end(&world),
    };
    assert_eq!(refusal(world.apply(EntryKind::EnrolmentOpened, untagged).await), "WRONG_STATE");
    let enrolment = world.enrol(Some(subject), &blank).await.expect("enrolment");
    assert_eq!(credential_now(&world, &blank).await.row.verify_as_tagged(mac), Evidence::Genuine(blank.clone()));
    let end = Operation::EndEnrolment { tenant: world.tenant.id, enrolment };
    world.apply(EntryKind::EnrolmentEnded, end).await.expect("ended");
    run(&world, "UPDATE credentials SET state = 'ENROLLING'").await;
    assert_eq!(credential_now(&world, &blank).await.row.verify_as_tagged(mac), Evidence::Forged);
}

fn world_end(world: &World) -> cofre_model::time::Timestamp {
    use cofre_model::time::Clock as _;
    world.clock.now().plus(Span::minutes(30))
}
