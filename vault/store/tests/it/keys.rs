//! Jobs over keys: what is ordered, counted and ended in records, and the wrappings that are replaced in the keyring.

use cofre_ledger::entry::Leaf;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{KeyJobId, TenantId};
use cofre_model::keys::{KeyJobEnd, KeyJobState};
use cofre_model::permit::{EntryRef, Permit, Rewrap};
use cofre_model::registry::{Tenant, TenantState};
use cofre_model::sealed::WrappedKey;
use cofre_model::time::{Clock as _, Span, Timestamp};
use cofre_store::*;
use cofre_testkit::stores::{Store, edit};
use sha2::{Digest as _, Sha256};

use crate::world::{Cellar, World, refusal};

const TARGET: &str = "any_of(hsm-2)";

async fn open(world: &World, job: NewKeyJob) -> Result<EntryRef, CommitError> {
    world.apply(EntryKind::KeyJobOpened, Operation::OpenKeyJob(job)).await
}

async fn end(world: &World, job: KeyJobId, to: KeyJobState) -> Result<EntryRef, CommitError> {
    world.apply(EntryKind::KeyJobEnded, Operation::EndKeyJob { job, to, moved: 3 }).await
}

async fn count(world: &World, remaining: u64) -> EntryRef {
    let counted = Operation::CountKeys { subject: "hsm-1".into(), remaining, statement: b"signed".to_vec() };
    world.apply(EntryKind::KeysCounted, counted).await.expect("counted")
}

async fn retire(world: &World) -> Result<EntryRef, CommitError> {
    world.apply(EntryKind::KeysRetired, Operation::RetireKeys { subject: "hsm-1".into() }).await
}

/// What the ledger says at an index.
async fn said(world: &World, at: EntryRef) -> Entry {
    let row = world.records().entry(at.index).await.expect("read").expect("there");
    Leaf::parse(&row.bytes).expect("a leaf").entry().expect("an entry")
}

#[tokio::test]
async fn one_job_runs_at_a_time_and_ends_once() {
    let world = World::new().await;
    let first = NewKeyJob { from_key: Some("root 1".into()), rate: Some(50), ..world.key_job(TARGET) };
    for rate in [0, 10_001, u32::MAX] {
        let never = NewKeyJob { rate: Some(rate), ..world.key_job(TARGET) };
        assert_eq!(refusal(open(&world, never).await), "BAD_REQUEST", "{rate}");
    }
    let opened = open(&world, first.clone()).await.expect("opened");
    assert_eq!(refusal(open(&world, world.key_job("any_of(hsm-3)")).await), "WRONG_STATE");
    let job = world.records().key_job(&first.id).await.expect("read").expect("there");
    assert_eq!((job.target.as_str(), job.from_key.as_deref(), job.rate), (TARGET, Some("root 1"), Some(50)));
    assert_eq!((job.state, job.opened_entry, job.opened_at), (KeyJobState::Running, opened.index, opened.time));
    assert_eq!(world.records().key_jobs_running().await.expect("read"), std::slice::from_ref(&job));
    assert_eq!(said(&world, opened).await.reference, Some(format!("{} REWRAP {TARGET} 50 root 1", first.id)));

    let stranger = KeyJobId::from_parts(1, [0xaa; 10]);
    assert_eq!(refusal(end(&world, stranger, KeyJobState::Done).await), "NOT_FOUND");
    let unfit = end(&world, first.id, KeyJobState::Running).await;
    assert!(matches!(unfit, Err(CommitError::Store(Error::Unfit { kind: EntryKind::KeyJobEnded }))), "{unfit:?}");
    let ended = end(&world, first.id, KeyJobState::Stopped).await.expect("stopped");
    let entry = said(&world, ended).await;
    assert_eq!((entry.reference, entry.follows), (Some(format!("{} STOPPED", first.id)), Some(opened.index)));
    let stopped = world.records().key_job(&first.id).await.expect("read").expect("there");
    assert_eq!((entry.count, stopped.ended), (Some(3), Some(KeyJobEnd { at: ended.time, moved: 3 })));
    assert_eq!(refusal(end(&world, first.id, KeyJobState::Done).await), "WRONG_STATE");
    assert_eq!(world.records().key_jobs_running().await.expect("read"), []);

    let second = world.key_job(TARGET);
    open(&world, second.clone()).await.expect("opened");
    end(&world, second.id, KeyJobState::Done).await.expect("done");
    let jobs = world.records().key_jobs(2).await.expect("read");
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [second.id, first.id], "the newest first");
    assert_eq!(world.records().key_jobs(1).await.expect("read").len(), 1);
}

#[tokio::test]
async fn keys_are_retired_under_a_count_of_zero_once() {
    let world = World::new().await;
    assert_eq!(refusal(retire(&world).await), "WRONG_STATE", "nobody counted");
    let counted = count(&world, 2).await;
    let entry = said(&world, counted).await;
    assert_eq!((entry.reference.as_deref(), entry.count), (Some("hsm-1"), Some(2)));
    assert_eq!(entry.digest, Some(Sha256::digest(b"signed").into()));
    assert_eq!(refusal(retire(&world).await), "WRONG_STATE", "two are left");
    let counted = count(&world, 0).await;
    let kept = world.records().key_count("hsm-1").await.expect("read").expect("there");
    assert_eq!((kept.remaining, kept.entry_index, kept.at), (0, counted.index, counted.time));
    assert_eq!(kept.statement, b"signed");

    let job = world.key_job(TARGET);
    open(&world, job.clone()).await.expect("opened");
    assert_eq!(refusal(retire(&world).await), "WRONG_STATE", "a rewrap runs");
    end(&world, job.id, KeyJobState::Done).await.expect("done");
    let at = retire(&world).await.expect("retired");
    let retired = said(&world, at).await;
    assert_eq!((retired.reference.as_deref(), retired.follows), (Some("hsm-1"), Some(counted.index)));
    assert_eq!(refusal(retire(&world).await), "WRONG_STATE", "the count is used up");
    let used = world.records().key_count("hsm-1").await.expect("read").expect("kept");
    assert_eq!(used, KeyCount { retired_entry: Some(at.index), ..kept });
    count(&world, 0).await;
    let next = world.records().key_count("hsm-1").await.expect("read").expect("kept");
    assert_eq!(next.retired_entry, None, "a new one is counted");
    assert_eq!(world.records().key_count("hsm-2").await.expect("read"), None);
}

fn request(world: &World, job: &NewKeyJob) -> RewrapRequest {
    let (tenant, tenant_key_id) = (world.tenant.id, world.tenant.tenant_key_id);
    let mut entry = world.entry(EntryKind::Rewrap);
    entry.tenant_key = Some((tenant_key_id, 1));
    RewrapRequest { job: job.id, target: job.target.clone(), tenant, tenant_key_version: 1, tenant_key_id, entry }
}

async fn permit(world: &World, request: RewrapRequest) -> Result<Permit<Rewrap>, CommitError> {
    world.records().rewrap(request).await
}

#[tokio::test]
async fn a_permit_to_wrap_anew_is_for_the_key_on_record_while_its_job_runs() {
    let world = World::new().await;
    let job = world.key_job(TARGET);
    assert_eq!(refusal(permit(&world, request(&world, &job)).await), "WRONG_STATE", "no such job");
    open(&world, job.clone()).await.expect("opened");
    let given = permit(&world, request(&world, &job)).await.expect("a permit");
    let warrant = &given.entry().warrant;
    assert_eq!((warrant.job, warrant.tenant, warrant.tenant_key_id), (job.id, world.tenant.id, [5; 16]));
    let entry = said(&world, given.entry().at).await;
    assert_eq!((entry.kind, entry.reference), (EntryKind::Rewrap, Some(format!("{} {TARGET}", job.id))));

    assert_eq!(warrant.target, TARGET);
    let elsewhere = RewrapRequest { target: "any_of(hsm-3)".into(), ..request(&world, &job) };
    assert_eq!(refusal(permit(&world, elsewhere).await), "WRONG_STATE");
    let mut other = RewrapRequest { tenant_key_id: [6; 16], ..request(&world, &job) };
    other.entry.tenant_key = Some(([6; 16], 1));
    assert_eq!(refusal(permit(&world, other).await), "INTEGRITY_FAILURE");
    let mut other = RewrapRequest { tenant_key_version: 2, ..request(&world, &job) };
    other.entry.tenant_key = Some(([5; 16], 2));
    assert_eq!(refusal(permit(&world, other).await), "INTEGRITY_FAILURE");
    let stranger = TenantId::from_parts(1, [0xaa; 10]);
    let mut other = RewrapRequest { tenant: stranger, ..request(&world, &job) };
    other.entry.tenant = Some(stranger);
    assert_eq!(refusal(permit(&world, other).await), "NOT_FOUND");
    let mut other = request(&world, &job);
    other.entry.kind = EntryKind::Warm;
    assert!(matches!(permit(&world, other).await, Err(CommitError::Store(Error::Unfit { kind: EntryKind::Warm }))));

    world.apply(EntryKind::Lockdown, Operation::Lockdown(Lockdown::Tenant(world.tenant.id))).await.expect("stopped");
    assert_eq!(refusal(permit(&world, request(&world, &job)).await), "LOCKDOWN");
    // Nothing that changes keys stands under another name.
    for kind in [EntryKind::Rewrap, EntryKind::KeyJobOpened, EntryKind::KeysCounted, EntryKind::KeysRetired] {
        let noted = world.apply(kind, Operation::Note).await;
        assert!(matches!(noted, Err(CommitError::Store(Error::Unfit { .. }))), "{kind}");
    }
}

#[tokio::test]
async fn a_permit_ends_with_its_job() {
    let world = World::new().await;
    let job = world.key_job(TARGET);
    open(&world, job.clone()).await.expect("opened");
    end(&world, job.id, KeyJobState::Stopped).await.expect("stopped");
    assert_eq!(refusal(permit(&world, request(&world, &job)).await), "WRONG_STATE");
    // A tenant that is not served keeps its keys where they may be needed: they move as all others do.
    let job = world.key_job(TARGET);
    open(&world, job.clone()).await.expect("opened");
    let suspended = Operation::PutTenant {
        tenant: Tenant { state: TenantState::Suspended, ..world.tenant.clone() },
        key_version: 1,
        custody_set: None,
        warm_for: Span::secs(300),
        signing_keys: Vec::new(),
        recipients: Vec::new(),
    };
    world.apply(EntryKind::TenantPut, suspended).await.expect("suspended");
    let given = permit(&world, request(&world, &job)).await.expect("a permit");
    assert_eq!(given.entry().warrant.job, job.id);
}

fn key() -> KeyVersion {
    KeyVersion { tenant: TenantId::from_parts(1, [1; 10]), version: 1 }
}

fn share(custodian: &str, custodian_key: &str, set: &str) -> TenantKeyShare {
    TenantKeyShare {
        tenant: key().tenant,
        version: key().version,
        custodian: custodian.into(),
        share: 0,
        share_count: 1,
        wrapped: WrappedKey::from_bytes(custodian.as_bytes().to_vec()),
        mechanism: "aes-gcm".into(),
        custodian_key: custodian_key.into(),
        set: set.into(),
        wrapping: 1,
    }
}

fn by(custodian: &str) -> WrappedBy<'_> {
    WrappedBy { custodian, key: None }
}

/// Retires what a custodian wrapped, where everything newer was proven since an instant.
async fn retired(keyring: &Keyring, by: WrappedBy<'_>, since: Timestamp) -> Option<u64> {
    let retirement = keyring.retire_custodian(by, &[], since).await.expect("asked")?;
    retirement.commit().await.expect("retired");
    Some(keyring.retire_shares(by, since, since, 9).await.expect("retired"))
}

async fn put(keyring: &Keyring, at: Timestamp) {
    keyring.put_tenant_key(&[share("a", "root", "any_of(a)")], &[], at).await.expect("put");
}

#[tokio::test]
async fn a_wrapping_is_replaced_where_it_still_stands() {
    let cellar = Cellar::new().await;
    let (keyring, now) = (&cellar.stores.keyring, cellar.clock.now());
    put(keyring, now).await;
    let due = |target, from_key| Due { target, from_key };
    assert_eq!(keyring.keys_due(due("any_of(b)", None), None, 9).await.expect("read"), [key()]);
    assert_eq!(keyring.keys_due(due("any_of(b)", None), Some(key()), 9).await.expect("read"), []);
    assert_eq!(keyring.keys_due(due("any_of(a)", None), None, 9).await.expect("read"), []);
    assert_eq!(keyring.keys_due_count(due("any_of(a)", Some("root"))).await.expect("read"), 1, "its key is named");
    assert_eq!(keyring.custody_sets().await.expect("read"), [("any_of(a)".to_owned(), 1)]);

    let next = || vec![share("b", "root", "any_of(b)")];
    assert!(keyring.replace_wrapping(key(), 1, next(), now).await.expect("replaced"));
    assert!(!keyring.replace_wrapping(key(), 1, next(), now).await.expect("asked"), "it stands there no more");
    assert!(!keyring.replace_wrapping(key(), 2, Vec::new(), now).await.expect("asked"), "nothing is no wrapping");
    let there = keyring.tenant_key(&key().tenant, 1).await.expect("read");
    assert_eq!(there, [TenantKeyShare { wrapping: 2, ..share("b", "root", "any_of(b)") }]);
    assert_eq!(keyring.custody_sets().await.expect("read"), [("any_of(b)".to_owned(), 1)], "of those in force");
    assert_eq!(keyring.keys_moved_since("any_of(b)", now).await.expect("read"), 1);
    assert_eq!(keyring.keys_moved_since("any_of(b)", now.plus(Span::secs(1))).await.expect("read"), 0);
    assert_eq!(keyring.keys_due_count(due("any_of(b)", None)).await.expect("read"), 0);
    let shares = keyring.custodian_shares().await.expect("read");
    let counted = |row: &CustodianShares| (row.current, row.closed, row.retired);
    assert_eq!(shares.iter().map(counted).collect::<Vec<_>>(), [(0, 1, 0), (1, 0, 0)]);
}

#[tokio::test]
async fn of_many_who_replace_a_wrapping_at_once_one_does() {
    let cellar = Cellar::new().await;
    let (keyring, now) = (&cellar.stores.keyring, cellar.clock.now());
    put(keyring, now).await;
    let tasks: Vec<_> = ["b", "c", "d", "e"]
        .map(|custodian| {
            let keyring = keyring.clone();
            let shares = vec![share(custodian, "root", "any_of(x)")];
            tokio::spawn(async move { keyring.replace_wrapping(key(), 1, shares, now).await.expect("asked") })
        })
        .into_iter()
        .collect();
    let mut had = 0;
    for task in tasks {
        had += u32::from(task.await.expect("done"));
    }
    assert_eq!(had, 1);
    let there = keyring.tenant_key(&key().tenant, 1).await.expect("read");
    assert_eq!((there.len(), there[0].wrapping), (1, 2));
}

#[tokio::test]
async fn shares_are_retired_once_every_newer_one_was_opened_and_destroyed_later() {
    let cellar = Cellar::new().await;
    let (keyring, now) = (&cellar.stores.keyring, cellar.clock.now());
    let changed =
        async |statement: String| edit(cellar.folder.path(), Store::Keyring, &[&statement]).await.expect("edited");
    put(keyring, now).await;
    assert_eq!(retired(keyring, by("a"), now).await, None, "it is in force");
    assert!(keyring.replace_wrapping(key(), 1, vec![share("b", "root", "any_of(b)")], now).await.expect("replaced"));
    let closed = async |since| keyring.closed_keys(by("a"), (since, now), None, 9).await.expect("read");
    assert_eq!(closed(now).await, [(key(), false)]);
    let other_key = WrappedBy { custodian: "a", key: Some("root-2") };
    assert_eq!(retired(keyring, other_key, now).await, None, "another key of it, which wrapped nothing");
    assert_eq!(retired(keyring, by("z"), now).await, None, "it never wrapped anything");
    drop(keyring.retire_custodian(by("a"), &[], now).await.expect("asked").expect("would be"));
    assert_eq!(keyring.retired_custodians().await.expect("read"), [], "what is not committed did not happen");
    let retire = async |since| keyring.retire_shares(by("a"), since, now, 9).await.expect("asked");
    keyring.prove_wrapping(key(), 2, now).await.expect("proven");
    assert_eq!(retire(now).await, 0, "nobody retired the custodian");
    changed("UPDATE tenant_keys SET proven = 0".into()).await;
    assert_eq!(retired(keyring, by("a"), now).await, Some(0), "the newer one was never opened");
    keyring.prove_wrapping(key(), 1, now).await.expect("asked");
    assert_eq!(retire(now).await, 0, "an older one was");
    keyring.prove_wrapping(key(), 2, now).await.expect("proven");
    assert_eq!(closed(now).await, [(key(), true)]);
    let since = now.plus(Span::micros(1));
    assert_eq!((closed(since).await, retire(since).await), (vec![(key(), false)], 0), "that was before");
    changed("UPDATE tenant_keys SET proven = 9000000000000000000 WHERE wrapping = 2".into()).await;
    assert_eq!((closed(now).await, retire(now).await), (vec![(key(), false)], 0), "nobody opened it years from now");
    changed(format!("UPDATE tenant_keys SET proven = {} WHERE wrapping = 2", now.micros())).await;
    assert_eq!(retire(now).await, 1);
    assert_eq!((closed(now).await, retired(keyring, by("a"), now).await), (vec![], Some(0)), "nothing is left");

    // On PostgreSQL they were retired by the clock of its server.
    let later = now.plus(Span::secs(1));
    assert_eq!(keyring.keys_retired(Timestamp::from_secs(1), None, 9).await.expect("read"), []);
    changed("UPDATE tenant_keys SET state_at = 0 WHERE state = 'RETIRED'".into()).await;
    assert_eq!(keyring.keys_retired(later, None, 9).await.expect("read"), [key()]);
    assert_eq!(keyring.keys_retired(later, Some(key()), 9).await.expect("read"), []);
    let destroy = async |wrapping, since| {
        keyring.destroy_retired(&[(key(), wrapping)], later, since, later).await.expect("asked")
    };
    for wrapping in [1, 3] {
        assert!(destroy(wrapping, now).await.is_none(), "another one was opened: {wrapping}");
    }
    assert!(destroy(2, later).await.is_none(), "it was opened before");
    drop(destroy(2, now).await.expect("would be"));
    assert_eq!(keyring.custodian_shares().await.expect("read").len(), 2, "what is not committed did not happen");
    let destruction = destroy(2, now).await.expect("is due");
    assert_eq!((destruction.shares(), destruction.commit(7).await.expect("destroyed")), (1, 1));
    let there = keyring.tenant_key(&key().tenant, 1).await.expect("read");
    assert_eq!((there.len(), there[0].wrapping), (1, 2), "what is in force stays");
    assert_eq!(keyring.custodian_shares().await.expect("read").len(), 1);
    let told = format!(
        "UPDATE destroyed SET at = at WHERE id = '{}/1/1' AND kind = 'wrapping' AND entry_index = 7",
        key().tenant
    );
    assert_eq!(changed(told).await, 1, "its tombstone names the entry");
}

#[tokio::test]
async fn many_are_retired_some_at_a_time() {
    let cellar = Cellar::new().await;
    let (keyring, now) = (&cellar.stores.keyring, cellar.clock.now());
    let keys: Vec<_> =
        (1..=5).map(|number| KeyVersion { tenant: TenantId::from_parts(1, [number; 10]), version: 1 }).collect();
    for key in &keys {
        let of = |share| TenantKeyShare { tenant: key.tenant, ..share };
        keyring.put_tenant_key(&[of(share("a", "root", "any_of(a)"))], &[], now).await.expect("put");
        let next = vec![of(share("b", "root", "any_of(b)"))];
        assert!(keyring.replace_wrapping(*key, 1, next, now).await.expect("replaced"));
    }
    // One of them was never opened.
    for key in keys.iter().filter(|key| **key != keys[2]) {
        keyring.prove_wrapping(*key, 2, now).await.expect("proven");
    }
    let mut told = Vec::new();
    let mut after = None;
    loop {
        let page = keyring.closed_keys(by("a"), (now, now), after, 2).await.expect("read");
        let Some(last) = page.last() else { break };
        after = Some(last.0);
        told.extend(page);
    }
    let expected: Vec<_> = keys.iter().map(|key| (*key, *key != keys[2])).collect();
    assert_eq!(told, expected);
    keyring
        .retire_custodian(by("a"), &[], now)
        .await
        .expect("asked")
        .expect("would be")
        .commit()
        .await
        .expect("retired");
    let mut shares = Vec::new();
    for _ in 0..3 {
        shares.push(keyring.retire_shares(by("a"), now, now, 3).await.expect("retired"));
    }
    assert_eq!(shares, [3, 1, 0], "what was not opened stays");
    assert_eq!(keyring.closed_keys(by("a"), (now, now), None, 9).await.expect("read"), [(keys[2], false)]);
}

#[tokio::test]
async fn what_was_retired_wraps_nothing_any_more() {
    let cellar = Cellar::new().await;
    let (keyring, now) = (&cellar.stores.keyring, cellar.clock.now());
    put(keyring, now).await;
    let next = |custodian: &str, custodian_key: &str| vec![share(custodian, custodian_key, "any_of(b)")];
    assert!(keyring.replace_wrapping(key(), 1, next("c", "old"), now).await.expect("replaced"));
    assert!(keyring.replace_wrapping(key(), 2, next("b", "root"), now).await.expect("replaced"));
    keyring.prove_wrapping(key(), 3, now).await.expect("proven");
    assert_eq!(retired(keyring, by("a"), now).await, Some(1));
    assert_eq!(retired(keyring, WrappedBy { custodian: "c", key: Some("old") }, now).await, Some(1));
    let told = keyring.retired_custodians().await.expect("read");
    assert_eq!(told, [("a".to_owned(), String::new()), ("c".to_owned(), "old".to_owned())]);
    for (custodian, custodian_key) in [("a", "root"), ("a", "another"), ("c", "old")] {
        let back = keyring.replace_wrapping(key(), 3, next(custodian, custodian_key), now).await;
        assert!(matches!(back, Err(Error::Retired)), "{back:?}");
        let other = TenantKeyShare { tenant: TenantId::from_parts(2, [2; 10]), ..share(custodian, custodian_key, "x") };
        let put = keyring.put_tenant_key(&[other], &[], now).await;
        assert!(matches!(put, Err(Error::Retired)), "{put:?}");
    }
    let there = keyring.tenant_key(&key().tenant, 1).await.expect("read");
    assert_eq!((there.len(), there[0].wrapping), (1, 3), "what was in force stays");
    assert!(keyring.replace_wrapping(key(), 3, next("c", "new"), now).await.expect("replaced"), "another key of it");
}

#[tokio::test]
async fn what_was_replaced_is_told_the_closed_ones_first_and_each_for_itself() {
    let cellar = Cellar::new().await;
    let (keyring, now) = (&cellar.stores.keyring, cellar.clock.now());
    put(keyring, now).await;
    for (number, custodian) in (1..).zip(["b", "c", "d"]) {
        let both = ["x", custodian].map(|one| TenantKeyShare { share_count: 2, ..share(one, "root", "all_of(x,y)") });
        assert!(keyring.replace_wrapping(key(), number, both.to_vec(), now).await.expect("replaced"));
    }
    keyring.prove_wrapping(key(), 4, now).await.expect("proven");
    assert_eq!(retired(keyring, by("c"), now).await, Some(2));
    let older = keyring.replaced_wrappings(key()).await.expect("read");
    let told: Vec<_> = older.iter().map(|shares| (shares[0].wrapping, shares.len())).collect();
    assert_eq!(told, [(2, 2), (1, 1), (3, 2)]);
}

#[tokio::test]
async fn of_one_who_wraps_and_one_who_retires_at_once_one_is_refused() {
    for _ in 0..8 {
        let cellar = Cellar::new().await;
        let (keyring, now) = (cellar.stores.keyring.clone(), cellar.clock.now());
        put(&keyring, now).await;
        assert!(
            keyring.replace_wrapping(key(), 1, vec![share("b", "root", "any_of(b)")], now).await.expect("replaced")
        );
        let other = TenantKeyShare { tenant: TenantId::from_parts(2, [2; 10]), ..share("a", "root", "any_of(a)") };
        let wrapping = {
            let keyring = keyring.clone();
            tokio::spawn(async move { keyring.put_tenant_key(&[other], &[], now).await })
        };
        let retiring = {
            let keyring = keyring.clone();
            tokio::spawn(async move { retired(&keyring, by("a"), now).await })
        };
        let (wrapped, retired) = (wrapping.await.expect("done"), retiring.await.expect("done"));
        assert_eq!(wrapped.is_ok(), retired.is_none(), "{wrapped:?} {retired:?}");
    }
}

#[tokio::test]
async fn a_row_that_names_no_key_holds_up_none_behind_it() {
    let cellar = Cellar::new().await;
    let (keyring, now) = (&cellar.stores.keyring, cellar.clock.now());
    put(keyring, now).await;
    let other = KeyVersion { tenant: TenantId::from_parts(2, [2; 10]), version: 1 };
    keyring
        .put_tenant_key(&[TenantKeyShare { tenant: other.tenant, ..share("a", "root", "any_of(a)") }], &[], now)
        .await
        .expect("put");
    let spoilt = format!("UPDATE tenant_keys SET tenant_id = 'nobody' WHERE tenant_id = '{}'", key().tenant);
    edit(cellar.folder.path(), Store::Keyring, &[&spoilt]).await.expect("edited");
    let due = Due { target: "any_of(b)", from_key: None };
    for at_most in [1, 9] {
        assert_eq!(keyring.keys_due(due, None, at_most).await.expect("read"), [other]);
    }
    assert_eq!(keyring.keys_due_count(due).await.expect("read"), 2, "it is due all the same");
}

#[tokio::test]
async fn a_row_is_claimed_by_one_until_its_time() {
    let cellar = Cellar::new().await;
    let (keyring, now) = (&cellar.stores.keyring, cellar.clock.now());
    let until = now.plus(Span::secs(30));
    let claim = async |holder: u8, at: Timestamp| keyring.claim("row", &[holder; 16], at, until).await;
    assert!(claim(1, now).await.expect("claimed"));
    assert!(!claim(2, now).await.expect("asked"), "somebody has it");
    assert!(claim(1, now).await.expect("claimed"), "whoever has it takes it again");
    keyring.give_back("row", &[2; 16]).await.expect("asked");
    assert!(!claim(2, now).await.expect("asked"), "it was not theirs to give back");
    assert!(claim(2, until).await.expect("claimed"), "the time of the first is over");
    keyring.give_back("row", &[2; 16]).await.expect("given back");
    assert!(claim(3, now).await.expect("claimed"));
    edit(cellar.folder.path(), Store::Keyring, &["UPDATE key_claims SET until = 9000000000000000000"])
        .await
        .expect("edited");
    assert!(claim(4, now).await.expect("claimed"), "nobody has it for ever");
}

#[tokio::test]
async fn what_failed_is_kept_by_row_and_cause_until_it_is_moved() {
    let cellar = Cellar::new().await;
    let (keyring, now) = (&cellar.stores.keyring, cellar.clock.now());
    let job = KeyJobId::from_parts(1, [1; 10]);
    for (item, cause) in [("b/1", "late"), ("a/1", "lost"), ("b/1", "lost")] {
        keyring.note_failure(&job, item, Some(cause), now).await.expect("noted");
    }
    let failures = keyring.key_failures(&job, 9).await.expect("read");
    let told: Vec<_> = failures.iter().map(|row| (row.item.as_str(), row.cause.as_str())).collect();
    assert_eq!(told, [("a/1", "lost"), ("b/1", "lost")]);
    assert_eq!(keyring.key_failures(&job, 1).await.expect("read").len(), 1);
    let resting = async |since, at| keyring.keys_resting(&job, since, at, 9).await.expect("read");
    let (before, hours) = (now.minus(Span::secs(1)), now.minus(Span::hours(2)));
    assert_eq!(resting(before, now).await, ["a/1", "b/1"]);
    assert_eq!(resting(now, now).await, [""; 0], "their time is over");
    assert_eq!(resting(hours, hours).await, [""; 0], "nothing rests until a clock that was wrong is reached");
    keyring.note_failure(&job, "c/1", Some(&"x".repeat(5_000)), now).await.expect("noted");
    assert_eq!(keyring.key_failures(&job, 9).await.expect("read")[2].cause.len(), 1_000);
    keyring.note_failure(&job, "c/1", None, now).await.expect("moved");
    keyring.note_failure(&job, "a/1", None, now).await.expect("moved");
    keyring.note_failure(&job, "rotation of a", Some("lost"), now).await.expect("noted");
    for (what, failed) in [("", 2), ("rotation of ", 1), ("b/1", 1), ("b%", 0), ("rotation of another", 0)] {
        assert_eq!(keyring.key_failures_count(&job, what).await.expect("read"), failed, "{what}");
    }
    assert_eq!(keyring.key_failures_count(&KeyJobId::from_parts(2, [2; 10]), "").await.expect("read"), 0);
}
