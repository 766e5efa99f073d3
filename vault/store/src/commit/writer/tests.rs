//! Commits whose answer is lost. What the writer cannot be made to do from outside is done to it here.

use std::sync::Arc;

use cofre_model::entry::{Entry, EntryKind};
use cofre_model::permit::{GroupSigner, Mint};
use cofre_testkit::clock::TestClock;
use sqlx::Connection as _;

use super::*;
use crate::commit::carrier::{Doubt, Traces};
use crate::commit::operation::{Lockdown, Operation};
use crate::commit::sqlite;
use crate::commit::submit::Submissions;
use crate::sqlite::{Database, Hold};

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

#[expect(clippy::disallowed_methods, reason = "a test stands for the server's wiring")]
async fn writer(folder: &std::path::Path) -> (Writer, broadcast::Receiver<Change>) {
    let path = folder.join("records.db");
    let schema = crate::migrations::sqlite(crate::migrations::Store::Records);
    let database = Database::open(&path, &schema).await.expect("opened");
    let config = CommitConfig {
        origin: "cofre.test/ledger".into(),
        node: "spiffe://cofre.test/node/eu-nl/n1".into(),
        incarnation: [9; 16],
        mint: Mint::assemble(),
        clock: Arc::new(TestClock::default()),
        signer: Arc::new(Unsigned),
    };
    let (changes, heard) = broadcast::channel(16);
    let carrier = sqlite::Carrier::new(database, None, Hold::on(&path).expect("held"));
    (Writer::new(Carrier::Sqlite(carrier), config, changes), heard)
}

fn lockdown() -> Work {
    Work::Apply(Entry::new(EntryKind::Lockdown, [1; 16]), Operation::Lockdown(Lockdown::Platform))
}

fn send_by(writer: &Writer) -> SendBy {
    SendBy::from_submission(writer.config.clock.monotonic())
}

#[tokio::test]
async fn a_stop_whose_commit_was_not_answered_is_told_all_the_same() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut writer, mut heard) = writer(folder.path()).await;
    writer.doubts.lost_answers = 1;
    let by = send_by(&writer);
    assert!(tokio::time::timeout(Duration::from_millis(300), writer.serve(lockdown(), by)).await.is_err());
    assert!(heard.try_recv().is_err() && writer.owes());
    writer.settle().await;
    assert!(!writer.owes());
    assert!(matches!(heard.try_recv(), Ok(Change::Entry { kind: EntryKind::Lockdown, .. })));
    assert_eq!(heard.try_recv().ok(), Some(Change::Lockdown(Lockdown::Platform)));
    assert!(heard.try_recv().is_err());
    // It goes on, at the next index.
    let by = send_by(&writer);
    let note = Work::Apply(Entry::new(EntryKind::NodeStopped, [2; 16]), Operation::NodeStopped);
    assert!(matches!(writer.serve(note, by).await, Ok(Answer::Written(at)) if at.index == 1));
}

#[tokio::test]
async fn a_group_that_does_not_stand_is_not_told_and_a_store_that_hangs_is_asked_again() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut writer, mut heard) = writer(folder.path()).await;
    let changes = vec![Change::Lockdown(Lockdown::Platform)];
    writer.doubts.begun(Doubt { id: [3; 24], traces: Some(Traces { grant: Some(0), changes }) });
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("records.db"));
    let mut other = sqlx::ConnectOptions::connect(&options).await.expect("connected");
    let lock = other.begin_with("BEGIN IMMEDIATE").await.expect("locked");
    writer.settle().await;
    assert!(writer.owes(), "whoever holds the lock may still commit");
    lock.rollback().await.expect("over");
    writer.settle().await;
    assert!(!writer.owes() && heard.try_recv().is_err());
}

#[tokio::test]
async fn the_running_writer_settles_without_being_asked() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut writer, mut heard) = writer(folder.path()).await;
    writer.doubts.lost_answers = 1;
    let (submissions, queues) = Submissions::new(writer.config.clock.clone());
    start(writer, queues);
    let Work::Apply(entry, operation) = lockdown() else { panic!("an operation") };
    let (answer, reply) = tokio::sync::oneshot::channel();
    let by = SendBy::from_submission(cofre_model::time::Monotonic::default());
    submissions.push(Request { work: Work::Apply(entry, operation), send_by: by, answer }).await;
    assert!(reply.await.expect("answered").is_err(), "it is not known to stand");
    assert!(matches!(heard.recv().await, Ok(Change::Entry { .. })));
    assert_eq!(heard.recv().await.ok(), Some(Change::Lockdown(Lockdown::Platform)));
}
