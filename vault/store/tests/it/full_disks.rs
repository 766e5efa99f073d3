//! Disks that are full to the last byte. Nothing is granted, nothing is deposited, the answer is that the audit is
//! unavailable; what was written is read as before. Once there is room everything goes on, the ledger is whole, and
//! nothing that was acknowledged is lost. Each test says whether its disk is one.

use std::io::Write as _;
use std::time::Duration;

use cofre_model::consent::Consent;
use cofre_model::credential::{Credential, FieldKey};
use cofre_model::entry::EntryKind;
use cofre_model::id::{CredentialId, EnrolmentId, SubjectId};
use cofre_model::permit::EntryRef;
use cofre_model::reason::Reason;
use cofre_model::sealed::{SealedSecret, WrappedKey};
use cofre_model::wording::{Class, Outcome};
use cofre_policy::decision::Decision;
use cofre_store::{CommitError, Error, Operation, StoreConfig, StoredSubjectKey, Stores};
use cofre_testkit::disks::Disk;
use cofre_testkit::postgres::{Cluster, Wanted, databases};
use cofre_testkit::stores::{self, Store};

use crate::files::full_file;
use crate::ledger::sound;
use crate::world::{Cellar, World, commit_config, told};

/// Refusals in a row after which nothing goes any more.
const SURELY: u32 = 8;

/// A disk of this size, or why there is none. Says which on the test's standard error.
fn disk(kib: u32, instead: &str) -> Option<Disk> {
    let (disk, said) = match Disk::mounted(kib) {
        Ok(disk) => (Some(disk), format!("a file system of {kib} KiB is mounted and filled")),
        Err(why) => (None, format!("no file system is mounted ({why}); {instead} stands for a full disk")),
    };
    writeln!(std::io::stderr().lock(), "{said}").expect("said");
    disk
}

/// A login under a consent, and an enrolment that awaits its deposit.
struct Before {
    credential: Credential,
    consent: Consent,
    blank: Credential,
    enrolment: EnrolmentId,
}

impl Before {
    async fn of(world: &World) -> Self {
        let (credential, consent) = world.releasable(4).await;
        let subject = world.subject();
        let blank = world.blank(subject.id);
        let enrolment = world.enrol(Some(subject), &blank).await.expect("enrolment");
        Self { credential, consent, blank, enrolment }
    }
}

/// Entries that were acknowledged: each has to be found again as it was.
#[derive(Default)]
struct Acknowledged(Vec<EntryRef>);

impl Acknowledged {
    async fn note(&mut self, world: &World, length: usize) -> Result<(), CommitError> {
        let mut note = world.entry(EntryKind::AuditRead);
        note.policy_input = vec![b'x'; length];
        self.0.push(world.records().apply(note, Operation::Note).await?);
        Ok(())
    }

    /// Writes until nothing goes any more, and each refusal says why.
    async fn until_full(&mut self, world: &World) {
        let mut refused = 0;
        for _ in 0..900 {
            // A small one may still find room where a large one does not.
            match self.note(world, if refused == 0 { 2_000 } else { 1 }).await {
                Ok(()) => refused = 0,
                Err(cause) => {
                    assert_eq!(cause.reason(), Reason::AuditUnavailable, "{cause:?}");
                    refused += 1;
                }
            }
            if refused == SURELY {
                return;
            }
        }
        panic!("the disk is never full");
    }

    async fn all_stand(&self, world: &World) {
        sound(world).await;
        for at in &self.0 {
            let row = world.records().entry(at.index).await.expect("read").expect("an acknowledged entry");
            assert_eq!(row.leaf_hash, at.leaf_hash, "entry {}", at.index);
        }
    }
}

fn unavailable(cause: &CommitError) {
    assert_eq!(cause.reason(), Reason::AuditUnavailable, "{cause:?}");
}

/// Whatever has to be written is refused; what was written is read.
async fn nothing_goes(world: &World, before: &Before, acknowledged: &Acknowledged) {
    let head = world.records().head().await.expect("head");
    for ask in [world.ask(before.credential.id), world.attended(&before.credential)] {
        let decision = world.decide(&world.facts(&ask).await);
        assert!(matches!(decision, Decision::Permit(_)), "it is the disk that refuses");
        let committed = world.records().commit(decision).await.map(|committed| told(&committed));
        unavailable(&CommitError::Store(committed.expect_err("granted on a full disk")));
        assert!(world.records().grant(&ask.credential, &ask.job).await.expect("read").is_none());
    }
    unavailable(&world.intend(before.enrolment).await.expect_err("a deposit on a full disk"));
    // Where something else fills the disk there is no reserve: what narrows is refused, and says so.
    unavailable(&world.revoke(&before.consent).await.expect_err("written on a full disk"));
    assert_eq!(world.records().head().await.expect("head"), head, "nothing was written");
    acknowledged.all_stand(world).await;
}

/// With room again: a release, a deposit, an end, and a ledger that follows on.
async fn all_goes(world: &World, before: Before, acknowledged: &mut Acknowledged) {
    let size = world.records().head().await.expect("head").size;
    let ask = world.attended(&before.credential);
    assert_eq!(told(&world.once(&ask).await), "GRANTED");
    world.report(&ask, Outcome::Ok).await.expect("report");
    let version = world.intend(before.enrolment).await.expect("intent");
    let tag = before.blank.id.to_bytes().to_vec();
    world.complete(before.enrolment, &before.blank, version, tag).await.expect("deposit");
    world.revoke(&before.consent).await.expect("revoked");
    assert_eq!(told(&world.once(&world.attended(&before.credential)).await), "CONSENT_REVOKED");
    acknowledged.note(world, 2_000).await.expect("room");
    assert_eq!(acknowledged.0.last().expect("one").index, size + 6, "no gap");
    acknowledged.all_stand(world).await;
}

/// A sealed field and a wrapped key, each too large for what is left in pages begun.
fn large() -> ([(FieldKey, SealedSecret); 2], StoredSubjectKey) {
    let field = |name: &str| (FieldKey::try_from(name).expect("key"), SealedSecret::from_bytes(vec![7; 40_000]));
    let key = StoredSubjectKey {
        owner: SubjectId::from_parts(1, [1; 10]),
        version: 1,
        tenant: cofre_model::id::TenantId::from_parts(1, [1; 10]),
        tenant_key_version: 1,
        wrapped: WrappedKey::from_bytes(vec![7; 40_000]),
    };
    ([field("user"), field("password")], key)
}

#[tokio::test]
async fn a_full_disk_grants_nothing_and_loses_nothing() {
    let Some(disk) = disk(6 * 1_024, "the limit of pages") else { return full_file().await };
    let folder = tempfile::tempdir_in(disk.folder()).expect("folder");
    let config = stores::sqlite(folder.path());
    let world = World::in_cellar(Cellar::of(folder, config).await).await;
    let (before, mut acknowledged) = (Before::of(&world).await, Acknowledged::default());
    acknowledged.note(&world, 2_000).await.expect("room");
    disk.fill().expect("filled");
    acknowledged.until_full(&world).await;
    nothing_goes(&world, &before, &acknowledged).await;

    // The other two files stand on the same disk.
    let ((fields, key), login) = (large(), CredentialId::from_parts(1, [1; 10]));
    let (ciphertexts, keyring) = (&world.stores.ciphertexts, &world.stores.keyring);
    let put = ciphertexts.put(&login, Class::Login, 1, &fields).await;
    assert!(matches!(put, Err(Error::Unavailable(_))), "{put:?}");
    assert_eq!(ciphertexts.of(&login, Class::Login, 1).await.expect("read"), [], "no half of it");
    let put = keyring.put_subject_key(&key).await;
    assert!(matches!(put, Err(Error::Unavailable(_))), "{put:?}");
    assert_eq!(keyring.subject_key(&key.owner).await.expect("read"), None);
    disk.make_room().expect("room");
    ciphertexts.put(&login, Class::Login, 1, &fields).await.expect("room");
    keyring.put_subject_key(&key).await.expect("room");
    all_goes(&world, before, &mut acknowledged).await;
}

#[tokio::test]
async fn a_node_that_ends_on_a_full_disk_starts_again_with_everything() {
    let Some(disk) = disk(6 * 1_024, "the limit of pages") else { return full_file().await };
    let folder = tempfile::tempdir_in(disk.folder()).expect("folder");
    let config = stores::sqlite(folder.path());
    let world = World::in_cellar(Cellar::of(folder, config).await).await;
    let (before, mut acknowledged) = (Before::of(&world).await, Acknowledged::default());
    disk.fill().expect("filled");
    acknowledged.until_full(&world).await;

    let World { folder, clock, stores, tenant, institution, recipient, job_key, .. } = world;
    let config = || stores::sqlite(folder.path());
    stores.close().await;
    // A start either serves, or says that the store is unavailable: it takes no full disk for a broken file.
    match Stores::open(config(), commit_config(&clock)).await {
        Ok(stores) => stores.close().await,
        Err(cause) => assert!(matches!(cause, Error::Unavailable(_) | Error::Migration(_)), "{cause}"),
    }
    disk.make_room().expect("room");
    let stores = Stores::open(config(), commit_config(&clock)).await.expect("starts again");
    let world = World::rebuilt(folder, clock, stores, tenant, institution, recipient, job_key);
    acknowledged.all_stand(&world).await;
    all_goes(&world, before, &mut acknowledged).await;
}

async fn on(cluster: &Cluster) -> World {
    let folder = tempfile::tempdir().expect("folder");
    let config: StoreConfig = stores::on_cluster(cluster, folder.path()).await.expect("databases");
    World::in_cellar(Cellar::of(folder, config).await).await
}

#[tokio::test]
async fn a_database_whose_disk_is_full_grants_nothing_and_loses_nothing() {
    let Some(disk) = disk(512, "a limit of the server's files") else { return out_of_room(None).await };
    let cluster = Cluster::start(&Wanted::default()).expect("cluster");
    let world = on(&cluster).await;
    let records = databases::name(world.folder.path(), Store::Records);
    cluster.move_tables(&records, &["ledger_entries"], &disk.folder().join("tables")).await.expect("moved");
    let (before, mut acknowledged) = (Before::of(&world).await, Acknowledged::default());
    acknowledged.note(&world, 2_000).await.expect("room");
    disk.fill().expect("filled");
    acknowledged.until_full(&world).await;
    nothing_goes(&world, &before, &acknowledged).await;
    disk.make_room().expect("room");
    all_goes(&world, before, &mut acknowledged).await;
    world.stores.close().await;
}

#[tokio::test]
async fn a_server_that_goes_down_on_a_full_disk_comes_back_with_everything() {
    out_of_room(disk(128 * 1_024, "a limit of the server's files")).await;
}

/// A server that cannot write its own log ends itself. Until somebody makes room and starts it again, nothing goes.
async fn out_of_room(disk: Option<Disk>) {
    let home = tempfile::tempdir().expect("folder");
    let log_in = disk.as_ref().map(|disk| disk.folder().join("log"));
    let wanted = Wanted { kept_in: Some(home.path().to_owned()), log_in, ..Wanted::default() };
    let cluster = Cluster::start(&wanted).expect("cluster");
    let world = on(&cluster).await;
    let (before, mut acknowledged) = (Before::of(&world).await, Acknowledged::default());
    let decisions = [world.ask(before.credential.id), world.attended(&before.credential)];
    let mut decided = Vec::new();
    for ask in &decisions {
        decided.push(world.decide(&world.facts(ask).await));
    }
    acknowledged.note(&world, 2_000).await.expect("room");
    match &disk {
        Some(disk) => disk.fill().expect("filled"),
        None => cluster.take_all_room().expect("limited"),
    }
    let mut turns = 0;
    while cluster.runs() {
        turns += 1;
        assert!(turns < 1_000, "the server writes on");
        if let Err(cause) = acknowledged.note(&world, 2_000).await {
            unavailable(&cause);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // What was written ends a file of its log; the next one needs room. Refused where the server is down already.
        drop(cluster.run("postgres", &["SELECT pg_switch_wal()"]).await);
    }
    for decision in decided {
        assert!(matches!(decision, Decision::Permit(_)), "it is the disk that refuses");
        let committed = world.records().commit(decision).await.map(|committed| told(&committed));
        unavailable(&CommitError::Store(committed.expect_err("granted without a server")));
    }
    unavailable(&world.revoke(&before.consent).await.expect_err("written without a server"));
    assert!(matches!(world.records().head().await, Err(Error::Unavailable(_))));

    drop(cluster);
    if let Some(disk) = &disk {
        disk.make_room().expect("room");
    }
    let cluster = Cluster::start(&wanted).expect("started again");
    let mut turns = 0;
    while let Err(cause) = world.records().head().await {
        turns += 1;
        assert!(turns < 1_000, "never came back: {cause}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    acknowledged.all_stand(&world).await;
    all_goes(&world, before, &mut acknowledged).await;
    world.stores.close().await;
    drop(cluster);
}
