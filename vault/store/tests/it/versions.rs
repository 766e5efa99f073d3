//! Versions of a tenant's key in records: what is made, opened, moved to and retired, in which order, and by whose job.

mod jobs;

use std::sync::Arc;

use cofre_ledger::entry::Leaf;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{KeyJobId, TenantId};
use cofre_model::keys::{KeyJob, KeyJobKind, KeyJobState, TenantKeyState};
use cofre_model::permit::{EntryRef, Move, Permit};
use cofre_model::registry::Tenant;
use cofre_model::time::Span;
use cofre_store::*;

use crate::world::{World, refusal, told};

/// The key of the world's tenant has this id as its first version.
const FIRST: [u8; 16] = [5; 16];

const fn id_of(version: u32) -> [u8; 16] {
    if version == 1 { FIRST } else { [0xa0 | version.to_le_bytes()[0]; 16] }
}

fn rotation(world: &World, target: &str) -> NewKeyJob {
    NewKeyJob { kind: KeyJobKind::Rotate, ..world.key_job(target) }
}

async fn order(world: &World, job: NewKeyJob) -> Result<EntryRef, CommitError> {
    world.apply(EntryKind::KeyJobOpened, Operation::OpenKeyJob(job)).await
}

/// A rotation of all keys that runs.
async fn running(world: &World) -> KeyJobId {
    let job = rotation(world, KeyJob::ALL);
    order(world, job.clone()).await.expect("opened");
    job.id
}

async fn end(world: &World, job: KeyJobId) {
    let ended = Operation::EndKeyJob { job, to: KeyJobState::Stopped, moved: 0 };
    world.apply(EntryKind::KeyJobEnded, ended).await.expect("ended");
}

async fn make(world: &World, job: KeyJobId, version: u32) -> Result<EntryRef, CommitError> {
    let made = Operation::MakeTenantKey { job, tenant: world.tenant.id, version, key_id: id_of(version) };
    world.apply(EntryKind::TenantKeyMade, made).await
}

async fn open(world: &World, job: KeyJobId, version: u32) -> Result<EntryRef, CommitError> {
    world.apply(EntryKind::TenantKeyOpened, Operation::OpenTenantKey { job, tenant: world.tenant.id, version }).await
}

async fn moved(world: &World, job: KeyJobId, version: u32) -> Result<EntryRef, CommitError> {
    let moved = Operation::TenantKeyMoved { job, tenant: world.tenant.id, version, moved: 7 };
    world.apply(EntryKind::TenantKeyMoved, moved).await
}

async fn count(world: &World, remaining: u64) -> EntryRef {
    let subject = KeyCount::OF_TENANT_KEYS.to_owned();
    let counted = Operation::CountKeys { subject, remaining, statement: b"signed".to_vec() };
    world.apply(EntryKind::KeysCounted, counted).await.expect("counted")
}

async fn retire(world: &World) -> Result<EntryRef, CommitError> {
    let subject = KeyCount::OF_TENANT_KEYS.to_owned();
    world.apply(EntryKind::KeysRetired, Operation::RetireKeys { subject }).await
}

async fn said(world: &World, at: EntryRef) -> Entry {
    let row = world.records().entry(at.index).await.expect("read").expect("there");
    Leaf::parse(&row.bytes).expect("a leaf").entry().expect("an entry")
}

async fn states(world: &World) -> Vec<(u32, TenantKeyState)> {
    let versions = world.records().tenant_key_versions(&world.tenant.id).await.expect("read");
    versions.iter().map(|key| (key.version, key.state)).collect()
}

/// The version in force and the oldest that something may lie under, as two reads give them.
async fn in_force(world: &World) -> (u32, [u8; 16], u32) {
    let record = world.records().tenant(&world.tenant.id).await.expect("read").expect("there");
    (record.key_version, record.tenant.tenant_key_id, record.oldest_key_version)
}

async fn due(world: &World, target: Option<&TenantId>, opened: u64) -> u64 {
    let tenants = world.records().tenants_to_rotate(target, opened, None, 9).await.expect("read");
    let counted = world.records().tenants_to_rotate_count(target, opened).await.expect("read");
    assert_eq!(u64::try_from(tenants.len()), Ok(counted));
    counted
}

fn request(world: &World, job: KeyJobId, from_version: u32, to_version: u32) -> MoveRequest {
    MoveRequest {
        job,
        tenant: world.tenant.id,
        from_version,
        from_id: id_of(from_version),
        to_version,
        to_id: id_of(to_version),
        count: 500,
        entry: world.entry(EntryKind::KeysMove),
    }
}

async fn permit(world: &World, request: MoveRequest) -> Result<Permit<Move>, CommitError> {
    world.records().move_keys(request).await
}

#[tokio::test]
async fn a_version_is_made_opened_moved_to_and_retired() {
    use TenantKeyState::{Closed, Current, Made};
    let world = World::new().await;
    let tenant = world.tenant.id;
    assert_eq!((states(&world).await, in_force(&world).await), (vec![(1, Current)], (1, FIRST, 1)));
    let (login, _) = world.releasable(4).await;
    let opening = order(&world, rotation(&world, KeyJob::ALL)).await.expect("opened");
    let job = world.records().key_jobs_running().await.expect("read")[0].id;
    assert_eq!(due(&world, None, opening.index).await, 1);
    assert_eq!(due(&world, Some(&TenantId::from_parts(1, [9; 10])), opening.index).await, 0);
    let after = world.records().tenants_to_rotate(None, opening.index, Some(&tenant), 9).await.expect("read");
    assert_eq!(after, []);

    let made = make(&world, job, 2).await.expect("made");
    let entry = said(&world, made).await;
    assert_eq!((entry.tenant, entry.tenant_key), (Some(tenant), Some((id_of(2), 2))));
    assert_eq!((entry.reference, entry.count), (Some(job.to_string()), None));
    assert_eq!((states(&world).await, in_force(&world).await), (vec![(1, Current), (2, Made)], (1, FIRST, 1)));
    let version = world.records().tenant_key_version(&tenant, 2).await.expect("read").expect("there");
    assert_eq!((version.key_id, version.state_entry, version.state_at), (id_of(2), made.index, made.time));
    assert_eq!(world.records().tenant_key_version(&tenant, 3).await.expect("read"), None);

    let before = world.decide(&world.facts(&world.attended(&login)).await);
    let opened = open(&world, job, 2).await.expect("opened");
    assert_eq!(told(&world.records().commit(before).await.expect("commit")), "MOVED", "it was decided on the old key");
    let entry = said(&world, opened).await;
    assert_eq!((entry.tenant, entry.tenant_key), (Some(tenant), Some((id_of(2), 2))));
    assert_eq!(entry.reference, Some(job.to_string()));
    assert_eq!((states(&world).await, in_force(&world).await), (vec![(1, Closed), (2, Current)], (2, id_of(2), 1)));
    for version in world.records().tenant_key_versions(&tenant).await.expect("read") {
        assert_eq!((version.state_entry, version.state_at), (opened.index, opened.time));
    }
    assert_eq!(due(&world, None, opening.index).await, 1, "rows lie under the first");

    let given = permit(&world, request(&world, job, 1, 2)).await.expect("a permit");
    let warrant = &given.entry().warrant;
    assert_eq!((warrant.job, warrant.tenant, warrant.count), (job, tenant, 500));
    assert_eq!((warrant.from_version, warrant.from_id, warrant.to_version, warrant.to_id), (1, FIRST, 2, id_of(2)));
    let entry = said(&world, given.entry().at).await;
    assert_eq!((entry.tenant, entry.tenant_key), (Some(tenant), Some((id_of(2), 2))));
    assert_eq!((entry.reference, entry.count), (Some(format!("{job} 1")), Some(500)));

    let entry = said(&world, moved(&world, job, 2).await.expect("moved")).await;
    assert_eq!((entry.tenant_key, entry.reference), (Some((id_of(2), 2)), Some(job.to_string())));
    assert_eq!((entry.tenant, entry.count), (Some(tenant), Some(7)));
    assert_eq!(in_force(&world).await, (2, id_of(2), 2));
    assert_eq!(due(&world, None, opening.index).await, 0);
    assert_eq!(due(&world, Some(&tenant), opened.index + 1).await, 1, "an order that came later");

    count(&world, 0).await;
    assert_eq!(refusal(retire(&world).await), "WRONG_STATE", "a rotation runs");
    end(&world, job).await;
    let rewrap = world.key_job("any_of(hsm-2)");
    order(&world, rewrap.clone()).await.expect("opened");
    assert_eq!(refusal(retire(&world).await), "WRONG_STATE", "a rewrap runs");
    end(&world, rewrap.id).await;
    retire(&world).await.expect("retired");
    assert_eq!(states(&world).await, [(1, Closed), (2, Current)], "the keyring says what became of shares");
    assert_eq!(refusal(retire(&world).await), "WRONG_STATE", "the count is used up");
}

#[tokio::test]
async fn nothing_is_retired_that_something_may_lie_under() {
    use TenantKeyState::{Closed, Current};
    let world = World::new().await;
    let job = running(&world).await;
    make(&world, job, 2).await.expect("made");
    open(&world, job, 2).await.expect("opened");
    moved(&world, job, 2).await.expect("moved");
    // The second was made and given up; the third opened, and nothing moved to it yet.
    make(&world, job, 3).await.expect("made");
    make(&world, job, 4).await.expect("made");
    open(&world, job, 4).await.expect("opened");
    end(&world, job).await;
    assert_eq!(states(&world).await, [(1, Closed), (2, Closed), (3, Closed), (4, Current)]);
    assert_eq!(refusal(retire(&world).await), "WRONG_STATE", "nobody counted");
    count(&world, 1).await;
    assert_eq!(refusal(retire(&world).await), "WRONG_STATE", "one is left");
    // A count of a custodian retires no version, nor does one of versions a custodian.
    let subject = "hsm-1".to_owned();
    let other = Operation::CountKeys { subject: subject.clone(), remaining: 0, statement: b"signed".to_vec() };
    world.apply(EntryKind::KeysCounted, other).await.expect("counted");
    assert_eq!(refusal(retire(&world).await), "WRONG_STATE");
    world.apply(EntryKind::KeysRetired, Operation::RetireKeys { subject }).await.expect("retired");
    assert_eq!(states(&world).await[0], (1, Closed));
    count(&world, 0).await;
    retire(&world).await.expect("retired");
}

#[tokio::test]
async fn versions_only_go_forward() {
    let world = World::new().await;
    let job = running(&world).await;
    let tenant = world.tenant.id;
    let stranger = TenantId::from_parts(1, [0xaa; 10]);
    let nobodys = Operation::MakeTenantKey { job, tenant: stranger, version: 2, key_id: [1; 16] };
    let mut entry = world.entry(EntryKind::TenantKeyMade);
    entry.tenant = Some(stranger);
    assert_eq!(refusal(world.records().apply(entry, nobodys).await), "NOT_FOUND");
    assert_eq!(refusal(make(&world, job, 1).await), "WRONG_STATE", "it is there");
    make(&world, job, 3).await.expect("made");
    for version in [2, 3] {
        assert_eq!(refusal(make(&world, job, version).await), "WRONG_STATE", "{version}");
    }
    for version in [1, 2, 4] {
        assert_eq!(refusal(open(&world, job, version).await), "WRONG_STATE", "{version}");
    }
    assert_eq!(refusal(moved(&world, job, 3).await), "WRONG_STATE", "it is not in force");
    let opening = || Operation::OpenTenantKey { job, tenant, version: 3 };
    for other in [(FIRST, 3), (id_of(3), 1), (id_of(4), 3)] {
        let mut entry = world.entry(EntryKind::TenantKeyOpened);
        entry.tenant_key = Some(other);
        let unfit = world.records().apply(entry, opening()).await;
        assert!(
            matches!(unfit, Err(CommitError::Store(Error::Unfit { kind: EntryKind::TenantKeyOpened }))),
            "{unfit:?}"
        );
    }
    let mut entry = world.entry(EntryKind::TenantKeyOpened);
    entry.tenant_key = Some((id_of(3), 3));
    world.records().apply(entry, opening()).await.expect("the key it names");
    for version in [1, 3] {
        assert_eq!(refusal(open(&world, job, version).await), "WRONG_STATE", "{version}");
    }
    assert_eq!(refusal(moved(&world, job, 1).await), "WRONG_STATE", "it is not in force any more");
    for kind in [EntryKind::TenantKeyMade, EntryKind::TenantKeyOpened, EntryKind::TenantKeyMoved, EntryKind::KeysMove] {
        let noted = world.apply(kind, Operation::Note).await;
        assert!(matches!(noted, Err(CommitError::Store(Error::Unfit { .. }))), "{kind}");
    }
}

fn put(world: &World, version: u32) -> Operation {
    Operation::PutTenant {
        tenant: Tenant { tenant_key_id: id_of(version), ..world.tenant.clone() },
        key_version: version,
        custody_set: None,
        warm_for: Span::secs(60),
        signing_keys: Vec::new(),
        recipients: Vec::new(),
    }
}

#[tokio::test]
async fn whoever_registers_a_tenant_anew_does_not_bring_an_old_key_back() {
    let world = Arc::new(World::new().await);
    let job = running(&world).await;
    for version in 2..8 {
        make(&world, job, version).await.expect("made");
        // Read before the version was opened, put while or after it is.
        let registering = {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.apply(EntryKind::TenantPut, put(&world, version - 1)).await })
        };
        let opening = {
            let world = Arc::clone(&world);
            tokio::spawn(async move { open(&world, job, version).await })
        };
        let (registered, opened) = (registering.await.expect("done"), opening.await.expect("done"));
        opened.expect("opened");
        if registered.is_err() {
            assert_eq!(refusal(registered), "WRONG_STATE");
        }
        assert_eq!(in_force(&world).await, (version, id_of(version), 1));
        let late = world.apply(EntryKind::TenantPut, put(&world, version - 1)).await;
        assert_eq!(refusal(late), "WRONG_STATE");
    }
    world.apply(EntryKind::TenantPut, put(&world, 7)).await.expect("the key in force");
    let record = world.records().tenant(&world.tenant.id).await.expect("read").expect("there");
    assert_eq!((record.key_version, record.oldest_key_version, record.warm_for), (7, 1, Span::secs(60)));
    let other_version = Operation::PutTenant {
        tenant: Tenant { tenant_key_id: id_of(7), ..world.tenant.clone() },
        key_version: 6,
        custody_set: None,
        warm_for: Span::secs(60),
        signing_keys: Vec::new(),
        recipients: Vec::new(),
    };
    assert_eq!(refusal(world.apply(EntryKind::TenantPut, other_version).await), "WRONG_STATE");
}
