//! A write-ahead log that was garbled between a kill and the next start: bytes flipped, cut, exchanged, replaced or
//! deleted. A store opens with what was committed up to some entry, or it is refused; what lies beyond is noticed where
//! a checkpoint was committed to that covers it: then nothing is released. These run on SQLite alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cofre_model::consent::Consent;
use cofre_model::credential::{Credential, FieldKey};
use cofre_model::entry::EntryKind;
use cofre_model::id::CredentialId;
use cofre_model::sealed::SealedSecret;
use cofre_model::wording::{Class, Outcome};
use cofre_store::{Error, IntegratorState, Operation, Stores};
use cofre_testkit::clock::TestClock;
use cofre_testkit::stores::{Store, sqlite};
use tempfile::TempDir;

use crate::world::{World, commit_config, told};

/// A write-ahead log begins with a header of this length (SQLite file format, section 4.1).
const HEADER: usize = 32;
/// A frame: a header of 24 bytes, and a page.
const FRAME: usize = 24 + 4_096;

fn log(folder: &Path, store: Store) -> PathBuf {
    let mut name = store.file(folder).into_os_string();
    name.push("-wal");
    name.into()
}

/// What a killed node leaves behind: its files and their logs, none of them brought together.
fn killed(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("folder");
    for store in Store::ALL {
        std::fs::copy(store.file(folder), store.file(copy.path())).expect("file");
        if log(folder, store).exists() {
            std::fs::copy(log(folder, store), log(copy.path(), store)).expect("log");
        }
    }
    copy
}

/// Everything that is done to a log; nothing where it is deleted.
fn garbled(log: &[u8], foreign: &[(&str, Vec<u8>)]) -> Vec<(String, Option<Vec<u8>>)> {
    let frames = (log.len() - HEADER) / FRAME;
    assert!(frames > 8, "{frames} frames");
    let start = |frame: usize| HEADER + frame * FRAME;
    let mut all = Vec::new();
    let mut places: Vec<usize> = vec![0, 9, 16, 24];
    for frame in [0, 1, frames / 3, frames / 2, frames - 2, frames - 1] {
        places.extend([2, 5, 9, 17, 24, 24 + 100, FRAME - 1].map(|within| start(frame) + within));
    }
    for place in places {
        let mut bytes = log.to_vec();
        bytes[place] ^= 0x40;
        all.push((format!("byte {place} flipped"), Some(bytes)));
    }
    let lengths = [0, 10, HEADER, start(0) + 100, start(frames / 2) + 1_000, start(frames / 2), start(frames - 1) + 30];
    for length in lengths {
        all.push((format!("cut to {length}"), Some(log[..length].to_vec())));
    }
    let mut zeros = log.to_vec();
    zeros[start(frames / 2)..].fill(0);
    all.push(("zeros from the middle on".into(), Some(zeros)));
    let mut exchanged = log.to_vec();
    let (one, other) = exchanged.split_at_mut(start(frames / 2));
    one[start(1)..start(2)].swap_with_slice(&mut other[..FRAME]);
    all.push(("two frames exchanged".into(), Some(exchanged)));
    for (what, bytes) in foreign {
        all.push((format!("replaced by {what}"), Some(bytes.clone())));
    }
    all.push(("deleted".into(), None));
    all
}

fn put(folder: &Path, store: Store, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => std::fs::write(log(folder, store), bytes).expect("log"),
        None => std::fs::remove_file(log(folder, store)).expect("log"),
    }
}

/// A deployment whose files hold its first half, and whose logs hold the second: a consent was revoked in it.
struct Half {
    world: World,
    good: Credential,
    revoked: (Credential, Consent),
    /// The log of records before the revocation.
    earlier: Vec<u8>,
    leaves: Vec<[u8; 32]>,
}

async fn note(world: &World, length: usize) {
    let mut note = world.entry(EntryKind::AuditRead);
    // Of no shape that could be made smaller.
    note.policy_input = (0..length).map(|at| u8::try_from(at % 251).expect("small")).collect();
    world.records().apply(note, Operation::Note).await.expect("noted");
}

/// What the integrator does before it signs.
async fn commit_to(world: &World, before: Option<IntegratorState>) {
    let size = world.records().head().await.expect("head").size;
    let mut frontier = cofre_ledger::tree::Frontier::empty();
    for leaf in world.records().leaf_hashes(0, size).await.expect("leaves") {
        frontier.append(leaf);
    }
    let generation = before.map_or(1, |before| before.generation + 1);
    let commitment = IntegratorState { generation, size, root: frontier.root() };
    assert!(world.stores.keyring.swap_integrator(before, commitment).await.expect("committed to"));
}

impl Half {
    /// `first` entries come before everything, and `more` follow the revocation. A checkpoint covers the first half.
    async fn new(first: usize, more: usize) -> Self {
        let world = World::on_sqlite(None).await;
        for _ in 0..first {
            note(&world, 10).await;
        }
        let (good, _) = world.releasable(4).await;
        let revoked = world.releasable(4).await;
        commit_to(&world, None).await;
        // A clean end brings each log into its file.
        let (folder, clock) = (world.folder.path().to_owned(), world.clock.clone());
        let open = async { Stores::open(sqlite(&folder), commit_config(&clock)).await.expect("opened again") };
        let world = world.reopened(open).await;
        for _ in 0..4 {
            note(&world, 100).await;
        }
        let earlier = std::fs::read(log(&folder, Store::Records)).expect("log");
        world.revoke(&revoked.1).await.expect("revoked");
        let ask = world.attended(&good);
        assert_eq!(told(&world.once(&ask).await), "GRANTED");
        world.report(&ask, Outcome::Ok).await.expect("report");
        for _ in 0..more {
            note(&world, 2_000).await;
        }
        let size = world.records().head().await.expect("head").size;
        let leaves = world.records().leaf_hashes(0, size).await.expect("leaves");
        Self { world, good, revoked, earlier, leaves }
    }

    /// From here on the whole ledger is under a checkpoint.
    async fn commit_to_all(&self) {
        let half = self.world.stores.keyring.integrator().await.expect("read");
        commit_to(&self.world, half).await;
    }

    /// Logs that are whole, and another file's.
    async fn foreign(&self) -> Vec<(&'static str, Vec<u8>)> {
        let other = Self::new(1, 4).await;
        let login = CredentialId::from_parts(1, [1; 10]);
        other.world.stores.ciphertexts.put(&login, Class::Login, 1, &fields(1)).await.expect("put");
        let read = |store| std::fs::read(log(other.world.folder.path(), store)).expect("log");
        vec![
            ("its own of earlier", self.earlier.clone()),
            ("that of ciphertexts", read(Store::Ciphertexts)),
            ("another deployment's", read(Store::Records)),
        ]
    }

    /// Starts a node on files left behind.
    async fn started(&self, folder: TempDir) -> Result<World, Error> {
        let clock: Arc<TestClock> = self.world.clock.clone();
        let stores = Stores::open(sqlite(folder.path()), commit_config(&clock)).await?;
        let World { tenant, institution, recipient, job_key, .. } = &self.world;
        let (tenant, institution) = (tenant.clone(), institution.clone());
        Ok(World::rebuilt(folder, clock, stores, tenant, institution, *recipient, *job_key))
    }

    /// How many entries there are of those that were committed, from the first on; nothing where they cannot be read, or
    /// are others.
    async fn beginning(&self, world: &World) -> Option<usize> {
        let size = world.records().head().await.ok()?.size;
        let leaves = world.records().leaf_hashes(0, size).await.ok()?;
        self.leaves.starts_with(&leaves).then_some(leaves.len())
    }
}

/// What a release comes to; rows that cannot be read release nothing.
async fn came(world: &World, credential: &Credential) -> String {
    match world.try_facts(&world.attended(credential)).await {
        Err(cause) => format!("unreadable: {cause}"),
        Ok(facts) => match world.records().commit(world.decide(&facts)).await {
            Ok(committed) => told(&committed),
            Err(cause) => format!("not committed: {cause}"),
        },
    }
}

/// A refusal to start says which file, or which store, is at fault.
fn names_it(what: &str, cause: &Error) {
    let said = cause.to_string();
    assert!(said.contains("records.db") || said.contains("the records store"), "{what}: {said}");
}

/// Garbles the log of records in every way. Says how often a node was refused, opened with less, and with everything.
async fn sweep(half: &Half, signed: bool) -> [usize; 3] {
    let whole = std::fs::read(log(half.world.folder.path(), Store::Records)).expect("log");
    let foreign = half.foreign().await;
    let mut counts = [0; 3];
    for (what, bytes) in garbled(&whole, &foreign) {
        let folder = killed(half.world.folder.path());
        put(folder.path(), Store::Records, bytes.as_deref());
        let world = match half.started(folder).await {
            Ok(world) => world,
            Err(cause) => {
                names_it(&what, &cause);
                counts[0] += 1;
                continue;
            }
        };
        let length = half.beginning(&world).await;
        let all = length == Some(half.leaves.len());
        let (good, revoked) = (came(&world, &half.good).await, came(&world, &half.revoked.0).await);
        if all {
            assert_eq!((good.as_str(), revoked.as_str()), ("GRANTED", "CONSENT_REVOKED"), "{what}");
        } else if signed || length.is_none() {
            // The keyring knows that there was more, or something else.
            assert_ne!(good, "GRANTED", "{what}: entries under a checkpoint are missing");
            assert_ne!(revoked, "GRANTED", "{what}: entries under a checkpoint are missing");
        }
        counts[if all { 2 } else { 1 }] += 1;
    }
    counts
}

#[tokio::test]
async fn a_garbled_log_of_records_gives_a_beginning_and_is_noticed_where_more_was_signed() {
    let half = Half::new(0, 6).await;
    half.commit_to_all().await;
    let [refused, less, all] = sweep(&half, true).await;
    assert!(refused >= 1 && less >= 40, "{refused} refused, {less} with less, {all} with everything");
}

#[tokio::test]
async fn a_garbled_log_that_was_brought_into_its_file_already_releases_nothing_that_ended() {
    // A thousand pages and some: SQLite has copied them into the file, and the log still stands beside it.
    let half = Half::new(0, 170).await;
    half.commit_to_all().await;
    let [refused, less, all] = sweep(&half, true).await;
    assert!(refused + less + all > 50, "{refused} refused, {less} with less, {all} with everything");
}

#[tokio::test]
async fn a_garbled_log_beyond_the_last_checkpoint_gives_a_beginning_or_nothing() {
    let half = Half::new(0, 6).await;
    let [refused, less, _] = sweep(&half, false).await;
    assert!(refused >= 1 && less >= 40, "{refused} refused, {less} with less");
}

fn fields(version: u8) -> [(FieldKey, SealedSecret); 2] {
    ["user", "password"]
        .map(|name| (FieldKey::try_from(name).expect("key"), SealedSecret::from_bytes(vec![version; 3_000])))
}

#[tokio::test]
async fn a_garbled_log_of_ciphertexts_gives_whole_versions_or_none() {
    let half = Half::new(0, 1).await;
    let login = CredentialId::from_parts(1, [1; 10]);
    for version in 1..=6_u8 {
        let put = half.world.stores.ciphertexts.put(&login, Class::Login, version.into(), &fields(version)).await;
        put.expect("put");
    }
    let whole = std::fs::read(log(half.world.folder.path(), Store::Ciphertexts)).expect("log");
    let mut fewer = 0;
    for (what, bytes) in garbled(&whole, &[]) {
        let folder = killed(half.world.folder.path());
        put(folder.path(), Store::Ciphertexts, bytes.as_deref());
        let world = half.started(folder).await.expect("opens");
        let mut gone = false;
        for version in 1..=6_u8 {
            let kept = world.stores.ciphertexts.of(&login, Class::Login, version.into()).await.expect("read");
            assert!(kept.is_empty() || (kept == fields(version) && !gone), "{what}: version {version}");
            gone |= kept.is_empty();
        }
        fewer += usize::from(gone);
    }
    assert!(fewer >= 40, "{fewer} times fewer");
}

#[tokio::test]
async fn a_garbled_log_of_the_keyring_is_behind_or_whole() {
    let half = Half::new(0, 1).await;
    half.commit_to_all().await;
    let (keyring, size) = (&half.world.stores.keyring, half.leaves.len() as u64);
    // The log has to be long enough to be cut in places.
    let mut state = keyring.integrator().await.expect("read").expect("committed to");
    for _ in 0..12 {
        let next = IntegratorState { generation: state.generation + 1, ..state };
        assert!(keyring.swap_integrator(Some(state), next).await.expect("committed to"));
        state = next;
    }
    let checkpoint = cofre_store::Checkpoint { size, note: "signed".into() };
    half.world.records().integrate(Vec::new(), checkpoint).await.expect("signed");
    let whole = std::fs::read(log(half.world.folder.path(), Store::Keyring)).expect("log");
    let mut behind = 0;
    for (what, bytes) in garbled(&whole, &[]) {
        let folder = killed(half.world.folder.path());
        put(folder.path(), Store::Keyring, bytes.as_deref());
        let world = half.started(folder).await.expect("opens");
        let committed = world.stores.keyring.integrator().await.expect("read");
        let published = world.records().checkpoint().await.expect("read").expect("signed").size;
        assert_eq!(published, size, "{what}");
        // The integrator halts where the keyring is behind what was signed.
        match committed.expect("what its file holds") {
            // An earlier generation of the same size says the same of the ledger.
            found if found.size == state.size => assert_eq!(found.root, state.root, "{what}"),
            found => {
                assert!(found.size < size, "{what}");
                behind += 1;
            }
        }
    }
    assert!(behind > 5, "{behind} times behind");
}
