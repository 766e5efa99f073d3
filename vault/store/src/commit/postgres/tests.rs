//! That the functions and the program speak of the same numbers, and what becomes of a call whose answer is lost.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cofre_ledger::entry::{MAX_LEAF, MAX_POLICY_INPUT, number};
use cofre_model::entry::{Entry, EntryKind, Verdict};
use cofre_model::keys::{KeyJob, KeyJobKind, KeyJobState};
use cofre_model::permit::{GroupSigner, Mint, SendBy};
use cofre_model::reason::Reason;
use cofre_model::registry::{LockdownScope, WorkerState};
use cofre_model::time::Span;
use cofre_model::wording::{Attendance, Class, Form, Outcome, Purpose, Scope};
use cofre_policy::checks::SPACING;
use cofre_policy::facts::LeaseFacts;
use cofre_testkit::clock::TestClock;
use cofre_testkit::postgres::{Cluster, databases};
use cofre_testkit::stores::Store;
use serde_json::json;
use tokio::sync::broadcast;

use super::*;
use crate::commit::carrier;
use crate::commit::change::Change;
use crate::commit::operation::{FITS, Lockdown, Operation};
use crate::commit::submit::{Answer, Work};
use crate::commit::writer::Writer;
use crate::commit::{CommitConfig, ending, registry, undelivered};
use crate::error::{CommitError, Error};
use crate::postgres::{Database, address::Postgres};
use crate::records::deciding::CLOCK_SLACK;

/// The lists that `words.sql` has to give, from the program's own.
fn words() -> String {
    let mut text = String::from(
        "-- Numbers that the functions of the commit share with the program. Written by the program: a test compares this file
-- with what the program's own lists give, word for word.

CREATE FUNCTION commit_number(list TEXT, word TEXT) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  number bigint;
BEGIN
  IF word IS NULL THEN
    RETURN NULL;
  END IF;
  CASE list
",
    );
    let kinds = EntryKind::ALL.iter().map(|word| (word.as_str(), word.number()));
    let verdicts = Verdict::ALL.iter().map(|word| (word.as_str(), word.number()));
    let reasons = Reason::ALL.iter().map(|word| (word.as_str(), word.number()));
    let outcomes = Outcome::ALL.iter().map(|word| (word.as_str(), word.number()));
    let lists: [(&str, Vec<(&str, i32)>); 4] = [
        ("kind", kinds.collect()),
        ("verdict", verdicts.collect()),
        ("reason", reasons.collect()),
        ("outcome", outcomes.collect()),
    ];
    for (list, words) in lists {
        writeln!(text, "    WHEN '{list}' THEN number := CASE word").expect("written");
        for (word, number) in words {
            writeln!(text, "      WHEN '{word}' THEN {number}").expect("written");
        }
        text.push_str("      END;\n");
    }
    text.push_str(
        "  END CASE;
  IF number IS NULL THEN
    RAISE EXCEPTION 'no % is called %', list, word;
  END IF;
  RETURN number;
END $$;

-- Field numbers of the body of an entry.
CREATE FUNCTION commit_field(name TEXT) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
",
    );
    text.push_str(&returns(&[
        ("kind", number::KIND.into()),
        ("id", number::ID.into()),
        ("caller", number::CALLER.into()),
        ("node", number::NODE.into()),
        ("tenant", number::TENANT.into()),
        ("credential", number::CREDENTIAL.into()),
        ("secret_version", number::SECRET_VERSION.into()),
        ("owner", number::OWNER.into()),
        ("consents", number::CONSENTS.into()),
        ("job", number::JOB.into()),
        ("verdict", number::VERDICT.into()),
        ("reason", number::REASON.into()),
        ("tenant_key", number::TENANT_KEY.into()),
        ("lease_until", number::LEASE_UNTIL.into()),
        ("follows", number::FOLLOWS.into()),
        ("outcome", number::OUTCOME.into()),
        ("count", number::COUNT.into()),
        ("digest", number::DIGEST.into()),
        ("reference", number::REFERENCE.into()),
    ]));
    text.push_str(
        "
-- Bounds: bytes, a count, and spans in microseconds.
CREATE FUNCTION commit_limit(name TEXT) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
",
    );
    text.push_str(&returns(&[
        ("leaf", MAX_LEAF as u64),
        ("at_once", undelivered::AT_ONCE.unsigned_abs()),
        ("clock", CLOCK_SLACK.as_micros()),
        ("session", LeaseFacts::LONGEST.as_micros()),
        ("spacing", SPACING.as_micros()),
        ("lease", ending::LONGEST_LEASE.as_micros()),
        ("report", ending::REPORT_GRACE.as_micros()),
        ("lock", ending::LONGEST_LOCK.as_micros()),
        ("look_back", undelivered::LOOK_BACK.as_micros()),
        ("day", Span::days(1).as_micros()),
        ("told", Span::days(1).as_micros()),
        ("tiles", registry::TILES as u64),
        ("note", registry::LONGEST_NOTE as u64),
        ("policy_input", MAX_POLICY_INPUT as u64),
        ("key_rate", u64::from(KeyJob::FASTEST)),
    ]));
    text.push_str(&known());
    text
}

/// What the functions take at all: kinds of entry by operation, words of a column, numbers of a field.
fn known() -> String {
    let mut text = String::from(
        "
-- Whether an entry of this kind may record this operation.
CREATE FUNCTION commit_fits(op TEXT, kind TEXT) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(CASE op
",
    );
    for (word, kinds) in FITS {
        let kinds: Vec<String> = kinds.iter().map(|kind| format!("'{}'", kind.as_str())).collect();
        writeln!(text, "    WHEN '{word}' THEN kind IN ({})", kinds.join(", ")).expect("written");
    }
    text.push_str("    ELSE false END, false)\n$$;\n");
    let lists: [(&str, Vec<&str>); 4] = [
        ("key_job", KeyJobKind::ALL.iter().map(|word| word.as_str()).collect()),
        ("key_job_end", KeyJobState::ALL.iter().filter(|end| end.ends()).map(|end| end.as_str()).collect()),
        ("lockdown", LockdownScope::ALL.iter().map(|word| word.as_str()).collect()),
        ("worker", WorkerState::ALL.iter().map(|word| word.as_str()).collect()),
    ];
    text.push_str(
        "
-- Whether a column of this kind may hold this word.
CREATE FUNCTION commit_knows(list TEXT, word TEXT) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(CASE list
",
    );
    for (list, words) in lists {
        let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        writeln!(text, "    WHEN '{list}' THEN word IN ({})", words.join(", ")).expect("written");
    }
    text.push_str("    ELSE false END, false)\n$$;\n");
    text.push_str(
        "
-- Whether a field of an entry may hold this number. One constant, because what is written out as a CASE is set up anew
-- in every transaction.
CREATE FUNCTION commit_counts(list TEXT, number BIGINT) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce('{
",
    );
    let lists: [(&str, Vec<i32>); 9] = [
        ("kind", EntryKind::ALL.iter().map(|word| word.number()).collect()),
        ("class", Class::ALL.iter().map(|word| word.number()).collect()),
        ("purpose", Purpose::ALL.iter().map(|word| word.number()).collect()),
        ("scope", Scope::ALL.iter().map(|word| word.number()).collect()),
        ("attendance", Attendance::ALL.iter().map(|word| word.number()).collect()),
        ("verdict", Verdict::ALL.iter().map(|word| word.number()).collect()),
        ("outcome", Outcome::ALL.iter().map(|word| word.number()).collect()),
        ("form", Form::ALL.iter().map(|word| word.number()).collect()),
        ("reason", Reason::ALL.iter().map(|word| word.number()).collect()),
    ];
    let lists = lists.map(|(list, numbers)| {
        let numbers: Vec<String> = numbers.iter().map(i32::to_string).collect();
        format!("    \"{list}\": {numbers:?}")
    });
    text.push_str(&lists.join(",\n"));
    text.push_str("\n  }'::jsonb -> list ? number::text, false)\n$$;\n");
    text
}

fn returns(values: &[(&str, u64)]) -> String {
    let mut text = String::from("BEGIN\n  CASE name\n");
    for (name, value) in values {
        writeln!(text, "    WHEN '{name}' THEN RETURN {value};").expect("written");
    }
    text.push_str("  END CASE;\nEND $$;\n");
    text
}

#[test]
fn the_functions_and_the_program_share_their_numbers() {
    let stands = include_str!("../../../migrations/postgres/commit/words.sql");
    assert_eq!(stands, words(), "write the second into words.sql, in a migration of its own once this one is released");
}

#[test]
fn every_word_the_functions_decide_is_one_of_the_program() {
    let texts = [
        include_str!("../../../migrations/postgres/commit/releases.sql"),
        include_str!("../../../migrations/postgres/commit/permits.sql"),
        include_str!("../../../migrations/postgres/commit/endings.sql"),
        include_str!("../../../migrations/postgres/commit/consents.sql"),
        include_str!("../../../migrations/postgres/commit/enrolments.sql"),
        include_str!("../../../migrations/postgres/commit/registry.sql"),
        include_str!("../../../migrations/postgres/commit/keys.sql"),
    ];
    let mut reasons = 0;
    for call in texts.iter().flat_map(|text| text.split("commit_refuse_if(").skip(1)) {
        let (call, _) = call.split_once(");").expect("a call ends");
        let reason = call.rsplit('\'').nth(1).expect("a reason is quoted");
        assert!(Reason::from_text(reason).is_some(), "{reason}");
        reasons += 1;
    }
    assert!(reasons > 50, "{reasons} calls were found");
}

#[derive(Debug)]
struct Unsigned;

impl GroupSigner for Unsigned {
    fn sign(&self, _message: &[u8]) -> [u8; 64] {
        [0; 64]
    }
    fn public_key(&self) -> [u8; 32] {
        [0; 32]
    }
}

/// The serving role's database for a folder.
async fn database(folder: &Path) -> Database {
    cofre_testkit::stores::postgres(folder).await.expect("databases");
    let cluster = Cluster::here().expect("a cluster");
    let text = cluster.text(&databases::name(folder, Store::Records), &databases::serving(Store::Records));
    Database::open(&Postgres::parse(&text, None).expect("an address")).await.expect("opened")
}

#[expect(clippy::disallowed_methods, reason = "a test stands for the server's wiring")]
async fn writer(database: &Database) -> (Writer, broadcast::Receiver<Change>) {
    let config = CommitConfig {
        origin: "cofre.test/ledger".into(),
        node: "spiffe://cofre.test/node/eu-nl/n1".into(),
        incarnation: [9; 16],
        mint: Mint::assemble(),
        clock: Arc::new(TestClock::default()),
        signer: Arc::new(Unsigned),
    };
    let (changes, heard) = broadcast::channel(16);
    let listener = Listener::start(database.clone(), &config, changes.clone()).await.expect("listening");
    let carrier = carrier::Carrier::Postgres(Carrier::new(database.clone(), listener, &config));
    (Writer::new(carrier, config, changes), heard)
}

fn lockdown() -> Work {
    let operation = Operation::Lockdown(Lockdown::Platform);
    Work::Apply(operation.named_in(Entry::new(EntryKind::Lockdown, [1; 16])), operation)
}

fn send_by() -> SendBy {
    SendBy::from_submission(cofre_model::time::Monotonic::default())
}

#[tokio::test]
async fn a_stop_whose_call_was_not_answered_is_told_all_the_same() {
    let folder = tempfile::tempdir().expect("folder");
    let database = database(folder.path()).await;
    let (mut writer, mut heard) = writer(&database).await;
    writer.doubts.lost_answers = 1;
    // It stands once nothing but its answer is missing; how long that takes is the server's business.
    assert!(tokio::time::timeout(Duration::from_secs(1), writer.serve(lockdown(), send_by())).await.is_err());
    assert!(heard.try_recv().is_err() && writer.owes());
    writer.settle().await;
    assert!(!writer.owes());
    assert!(matches!(heard.try_recv(), Ok(Change::Entry { kind: EntryKind::Lockdown, .. })));
    assert_eq!(heard.try_recv().ok(), Some(Change::Lockdown(Lockdown::Platform)));
    assert!(heard.try_recv().is_err());
    let note = Work::Apply(Entry::new(EntryKind::NodeStopped, [2; 16]), Operation::NodeStopped);
    assert!(matches!(writer.serve(note, send_by()).await, Ok(Answer::Written(at)) if at.index == 1));
}

#[tokio::test]
async fn a_group_whose_answer_cannot_be_read_stays_in_doubt() {
    let folder = tempfile::tempdir().expect("folder");
    let database = database(folder.path()).await;
    let (mut writer, mut heard) = writer(&database).await;
    let cluster = Cluster::here().expect("a cluster");
    let records = databases::name(folder.path(), Store::Records);
    let garble = [
        "ALTER FUNCTION cofre.cofre_commit(jsonb) RENAME TO genuine",
        "CREATE FUNCTION cofre.cofre_commit(asked jsonb) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER AS $$
           BEGIN PERFORM cofre.genuine(asked); RETURN '[{\"verdict\": 7}]'; END $$",
    ];
    cluster.run(&records, &garble).await.expect("garbled");
    let answer = writer.serve(lockdown(), send_by()).await;
    assert!(matches!(answer, Err(CommitError::Store(Error::Corrupt { .. }))), "{answer:?}");
    assert!(heard.try_recv().is_err() && writer.owes(), "the group may stand");
    let mend = ["DROP FUNCTION cofre.cofre_commit", "ALTER FUNCTION cofre.genuine(jsonb) RENAME TO cofre_commit"];
    cluster.run(&records, &mend).await.expect("mended");
    writer.settle().await;
    assert!(!writer.owes());
    assert!(matches!(heard.try_recv(), Ok(Change::Entry { kind: EntryKind::Lockdown, .. })));
}

#[tokio::test]
async fn a_group_that_was_given_up_is_refused_should_it_arrive_after_all() {
    let folder = tempfile::tempdir().expect("folder");
    let database = database(folder.path()).await;
    let (mut writer, mut heard) = writer(&database).await;
    assert!(matches!(writer.serve(lockdown(), send_by()).await, Ok(Answer::Written(_))));
    while heard.try_recv().is_ok() {}
    // As if a call had left and the connection had been lost before the server read it.
    let mut late = [9; 24];
    late[16..].copy_from_slice(&2_u64.to_be_bytes());
    writer.doubts.begun(carrier::Doubt { id: late, traces: None });
    writer.settle().await;
    assert!(!writer.owes() && heard.try_recv().is_err(), "it does not stand");
    let mut connection = database.connect().await.expect("connected");
    let asked = json!({"group": hex::encode(late), "node": "spiffe://cofre.test/node/eu-nl/n1", "now": 1, "outcomes": {},
        "requests": [{"op": "LOCKDOWN", "scope": "PLATFORM", "id": ""}]});
    let arrived: Result<serde_json::Value, _> =
        sqlx::query_scalar("SELECT cofre.cofre_commit($1)").bind(asked).fetch_one(&mut connection).await;
    let Err(sqlx::Error::Database(refused)) = arrived else { panic!("{arrived:?}") };
    assert_eq!(refused.code().as_deref(), Some("CF003"));
    // The writer goes on, with numbers above it.
    let note = Work::Apply(Entry::new(EntryKind::NodeStopped, [2; 16]), Operation::NodeStopped);
    assert!(matches!(writer.serve(note, send_by()).await, Ok(Answer::Written(at)) if at.index == 1));
}
