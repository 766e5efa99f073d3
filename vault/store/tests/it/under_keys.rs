//! What lies directly under a tenant's key in the keyring: versions are closed to it, it is moved to later ones, and what
//! nothing lies under is retired and destroyed.

use std::sync::Arc;

use cofre_model::id::{DepositKeyId, KeyJobId, SubjectId, TenantId};
use cofre_model::sealed::WrappedKey;
use cofre_model::time::{Clock as _, Span, Timestamp};
use cofre_store::*;
use cofre_testkit::stores::{Store, edit};

use crate::hands::bytes;
use crate::world::Cellar;

fn tenant() -> TenantId {
    TenantId::from_parts(1, [1; 10])
}

fn owner(number: u8) -> SubjectId {
    SubjectId::from_parts(1, [number; 10])
}

fn wrapped(byte: u8) -> WrappedKey {
    WrappedKey::from_bytes(vec![byte; 40])
}

fn share(version: u32, wrapping: u32) -> TenantKeyShare {
    TenantKeyShare {
        tenant: tenant(),
        version,
        custodian: "a".into(),
        share: 0,
        share_count: 1,
        wrapped: wrapped(1),
        mechanism: "aes-gcm".into(),
        custodian_key: "root".into(),
        set: "any_of(a)".into(),
        wrapping,
    }
}

fn key(version: u32) -> KeyVersion {
    KeyVersion { tenant: tenant(), version }
}

fn subject(number: u8, version: u32, under: u32) -> StoredSubjectKey {
    let (owner, tenant) = (owner(number), tenant());
    StoredSubjectKey { owner, version, tenant, tenant_key_version: under, wrapped: wrapped(number) }
}

fn deposit(number: u8, under: u32) -> StoredDepositKey {
    StoredDepositKey {
        id: DepositKeyId::from_parts(1, [number; 10]),
        tenant: tenant(),
        tenant_key_version: under,
        suite: 0x647a,
        public: vec![number; 32],
        wrapped_private: wrapped(number),
        not_before: Timestamp::from_secs(1),
        not_after: Timestamp::from_secs(2),
        signature: vec![number; 64],
    }
}

/// The tenant's key in as many versions, of which none was opened.
async fn versions(cellar: &Cellar, count: u32) -> &Keyring {
    let (keyring, now) = (&cellar.stores.keyring, cellar.clock.now());
    for version in 1..=count {
        assert_eq!(keyring.newest_tenant_key(&tenant()).await.expect("read"), version - 1);
        keyring.put_tenant_key(&[share(version, 1)], &[], now).await.expect("put");
    }
    keyring
}

fn to(number: u8, version: u32, from: u32, to: u32) -> MovedKey {
    MovedKey { owner: owner(number), version, from, to, wrapped: wrapped(0xee) }
}

/// A page of the subject keys under versions of the tenant key.
async fn under(keyring: &Keyring, below: u32, behind: Behind, at_most: u32) -> Vec<StoredSubjectKey> {
    keyring.subject_keys_under(&tenant(), below, behind, at_most).await.expect("read")
}

/// All of them, page by page, each of which has those of one version only.
async fn all_under(keyring: &Keyring, below: u32, at_most: u32) -> Vec<StoredSubjectKey> {
    let mut read: Vec<StoredSubjectKey> = Vec::new();
    loop {
        let page = under(keyring, below, read.last().map_or(Behind::Nothing, Behind::key), at_most).await;
        let Some(first) = page.first() else { return read };
        assert!(page.len() <= at_most as usize);
        assert!(page.iter().all(|key| key.tenant_key_version == first.tenant_key_version));
        read.extend(page);
    }
}

#[tokio::test]
async fn a_closed_version_takes_no_new_rows() {
    let cellar = Cellar::new().await;
    let (keyring, now) = (versions(&cellar, 2).await, cellar.clock.now());
    keyring.put_subject_key(&subject(1, 1, 1)).await.expect("put");
    keyring.put_deposit_key(&deposit(1, 1)).await.expect("put");
    let early = keyring.close_tenant_keys(&tenant(), 3, now).await;
    assert!(matches!(early, Err(Error::Shareless)), "{early:?}");
    let other = TenantId::from_parts(2, [2; 10]);
    assert!(matches!(keyring.close_tenant_keys(&other, 1, now).await, Err(Error::Shareless)));
    for below in [2, 2, 1] {
        keyring.close_tenant_keys(&tenant(), below, now).await.expect("closed");
        let refused = keyring.put_subject_key(&subject(2, 1, 1)).await;
        assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
        let refused = keyring.put_deposit_key(&deposit(2, 1)).await;
        assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
    }
    keyring.put_subject_key(&subject(2, 1, 2)).await.expect("the one in force");
    keyring.put_deposit_key(&deposit(2, 2)).await.expect("the one in force");
    let theirs = StoredSubjectKey { tenant: other, ..subject(3, 1, 1) };
    keyring.put_subject_key(&theirs).await.expect("another tenant's");
    // What is there stays, and is counted.
    assert_eq!(keyring.subject_key(&owner(1)).await.expect("read"), Some(subject(1, 1, 1)));
    assert_eq!(keyring.keys_under_closed_count().await.expect("read"), 2);
    for (of, below, count) in [(Some(tenant()), 2, 2), (Some(tenant()), 3, 4), (Some(tenant()), 1, 0), (None, 2, 3)] {
        assert_eq!(keyring.keys_under_count(of.as_ref(), below).await.expect("read"), count, "{of:?} {below}");
    }
    assert_eq!(keyring.deposit_keys_under(&tenant(), 2).await.expect("read"), [deposit(1, 1)]);
    // Nor is a version put that is older than those in force.
    let fourth = [share(4, 1)];
    keyring.put_tenant_key(&fourth, &[], now).await.expect("put");
    keyring.close_tenant_keys(&tenant(), 4, now).await.expect("closed");
    let late = keyring.put_tenant_key(&[share(3, 1)], &[], now).await;
    assert!(matches!(late, Err(Error::Closed)), "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_while_a_version_is_closed_is_there_or_refused() {
    const PUTS: u8 = 24;
    for _ in 0..4 {
        let cellar = Arc::new(Cellar::new().await);
        versions(&cellar, 2).await;
        let now = cellar.clock.now();
        let put = |number: u8| {
            let cellar = Arc::clone(&cellar);
            tokio::spawn(async move {
                match cellar.stores.keyring.put_subject_key(&subject(number, 1, 1)).await {
                    Ok(()) => 1,
                    Err(Error::Closed) => 0,
                    Err(cause) => panic!("{cause}"),
                }
            })
        };
        let mut puts: Vec<_> = (1..=PUTS / 2).map(put).collect();
        let closing = {
            let cellar = Arc::clone(&cellar);
            tokio::spawn(async move {
                cellar.stores.keyring.close_tenant_keys(&tenant(), 2, now).await.expect("closed");
                cellar.stores.keyring.keys_under_count(Some(&tenant()), 2).await.expect("read")
            })
        };
        puts.extend((PUTS / 2 + 1..=PUTS).map(put));
        let seen = closing.await.expect("done");
        let mut stored = 0;
        for put in puts {
            stored += put.await.expect("done");
        }
        assert_eq!(seen, stored, "rows there once it was closed, and in the end");
        assert_eq!(keyring_count(&cellar).await, stored);
    }
}

async fn keyring_count(cellar: &Cellar) -> u64 {
    cellar.stores.keyring.keys_under_count(Some(&tenant()), 2).await.expect("read")
}

#[tokio::test]
async fn rows_under_older_versions_are_paged_version_by_version() {
    let cellar = Cellar::new().await;
    let keyring = versions(&cellar, 3).await;
    let rows =
        [subject(4, 1, 1), subject(1, 1, 2), subject(1, 2, 1), subject(3, 1, 3), subject(2, 1, 2), subject(5, 1, 1)];
    for row in rows {
        keyring.put_subject_key(&row).await.expect("put");
    }
    let all = [subject(1, 2, 1), subject(4, 1, 1), subject(5, 1, 1), subject(1, 1, 2), subject(2, 1, 2)];
    assert_eq!(under(keyring, 3, Behind::Nothing, 9).await, all[..3]);
    assert_eq!(under(keyring, 1, Behind::Nothing, 9).await, []);
    assert_eq!(under(keyring, 3, Behind::Version(1), 9).await, all[3..], "behind a version that is left as it is");
    for behind in [Behind::Version(2), Behind::Version(u32::MAX)] {
        assert_eq!(under(keyring, 3, behind, 9).await, []);
    }
    for at_most in [1, 2, 3, 9] {
        assert_eq!(all_under(keyring, 3, at_most).await, all, "{at_most} at once");
        assert_eq!(all_under(keyring, 2, at_most).await, all[..3], "{at_most} at once");
    }
    for (below, at_most, counted) in [(3, 9, 5), (2, 9, 3), (1, 9, 0), (4, 3, 3)] {
        assert_eq!(keyring.owners_under_count(&tenant(), below, at_most).await.expect("read"), counted);
    }
    // A row that cannot be read holds up none behind it, of whatever version, and is counted all the same.
    for (spoilt, there) in [
        (format!("SET owner_id = 'nobody' WHERE owner_id = '{}' AND version = 2", owner(1)), &all[1..]),
        (
            format!("SET owner_id = 'nobody 2' WHERE owner_id = '{}' AND version = 1", owner(1)),
            &[all[1].clone(), all[2].clone(), all[4].clone()],
        ),
    ] {
        edit(cellar.folder.path(), Store::Keyring, &[&format!("UPDATE subject_keys {spoilt}")]).await.expect("edited");
        for at_most in [1, 2, 9] {
            assert_eq!(all_under(keyring, 3, at_most).await, there, "{at_most} at once");
        }
    }
    assert_eq!(keyring.keys_under_count(Some(&tenant()), 3).await.expect("read"), 5);
}

#[tokio::test]
async fn a_row_is_moved_where_it_still_is_what_was_read() {
    let cellar = Cellar::new().await;
    let (keyring, now) = (versions(&cellar, 3).await, cellar.clock.now());
    for row in [subject(1, 1, 1), subject(1, 2, 1), subject(2, 1, 1), subject(3, 1, 2), subject(4, 1, 1)] {
        keyring.put_subject_key(&row).await.expect("put");
    }
    keyring.close_tenant_keys(&tenant(), 3, now).await.expect("closed");
    keyring.destroy_owner(&owner(4), now, 7).await.expect("destroyed");
    assert_eq!(keyring.move_subject_keys(&job(), &[]).await.expect("asked"), 0);
    let moves = [
        to(1, 1, 1, 3),
        // Read from another version than it lies under by now.
        to(3, 1, 1, 3),
        // Erased meanwhile, never there.
        to(4, 1, 1, 3),
        to(9, 1, 1, 3),
        // To one that takes no new rows, nobody has, is older, or the same.
        to(1, 2, 1, 2),
        to(2, 1, 1, 4),
        to(3, 1, 2, 1),
        to(3, 1, 2, 2),
    ];
    assert_eq!(keyring.move_subject_keys(&job(), &moves).await.expect("moved"), 1);
    let moved = StoredSubjectKey { tenant_key_version: 3, wrapped: wrapped(0xee), ..subject(1, 1, 1) };
    assert_eq!(keyring.subject_key_version(&owner(1), 1).await.expect("read"), Some(moved));
    for (number, version, under) in [(1, 2, 1), (2, 1, 1), (3, 1, 2)] {
        let there = keyring.subject_key_version(&owner(number), version).await.expect("read");
        assert_eq!(there, Some(subject(number, version, under)), "{number}");
    }
    assert_eq!(keyring.subject_key(&owner(4)).await.expect("read"), None, "erased for ever");
    assert_eq!(keyring.move_subject_keys(&job(), &moves).await.expect("moved"), 0, "it is moved once");
    let rest = [to(1, 2, 1, 3), to(2, 1, 1, 3), to(3, 1, 2, 3)];
    assert_eq!(keyring.move_subject_keys(&job(), &rest).await.expect("moved"), 3);
    let told = async |job| keyring.owners_moved_count(&job).await.expect("read");
    assert_eq!((told(job()).await, told(KeyJobId::from_parts(2, [2; 10])).await), (4, 0));
    assert_eq!(keyring.keys_under_count(Some(&tenant()), 3).await.expect("read"), 0);
}

#[tokio::test]
async fn a_deposit_key_is_moved_where_it_still_is_what_was_read() {
    let cellar = Cellar::new().await;
    let (keyring, now) = (versions(&cellar, 3).await, cellar.clock.now());
    keyring.put_deposit_key(&deposit(1, 1)).await.expect("put");
    keyring.close_tenant_keys(&tenant(), 3, now).await.expect("closed");
    let id = deposit(1, 1).id;
    let asked = async |from, to| keyring.move_deposit_key(&id, from, to, &wrapped(0xee)).await.expect("asked");
    for (from, to) in [(2, 3), (1, 2), (1, 1), (1, 4)] {
        assert!(!asked(from, to).await, "{from} {to}");
    }
    assert_eq!(keyring.deposit_key(&id).await.expect("read"), Some(deposit(1, 1)));
    assert!(asked(1, 3).await);
    let moved = StoredDepositKey { tenant_key_version: 3, wrapped_private: wrapped(0xee), ..deposit(1, 1) };
    assert_eq!(keyring.deposit_key(&id).await.expect("read"), Some(moved));
    assert!(!asked(1, 3).await && !asked(3, 1).await);
    let nobodys = DepositKeyId::from_parts(1, [9; 10]);
    assert!(!keyring.move_deposit_key(&nobodys, 1, 3, &wrapped(0xee)).await.expect("asked"));
}

#[tokio::test]
async fn what_a_version_carries_comes_with_its_shares() {
    let cellar = Cellar::new().await;
    let (keyring, now) = (&cellar.stores.keyring, cellar.clock.now());
    let carried = [CarriedKind::Integrity, CarriedKind::Dedupe].map(|kind| CarriedKey { kind, wrapped: wrapped(7) });
    let twice = [carried[0].clone(), carried[0].clone()];
    let refused = keyring.put_tenant_key(&[share(2, 1)], &twice, now).await;
    assert!(matches!(refused, Err(Error::Exists)), "{refused:?}");
    assert_eq!(keyring.newest_tenant_key(&tenant()).await.expect("read"), 0, "all or none");
    assert!(matches!(keyring.put_tenant_key(&[], &carried, now).await, Err(Error::Shareless)));
    keyring.put_tenant_key(&[share(1, 1)], &[], now).await.expect("put");
    keyring.put_tenant_key(&[share(2, 1)], &carried, now).await.expect("put");
    assert_eq!(keyring.carried_keys(&tenant(), 1).await.expect("read"), []);
    let [integrity, dedupe] = carried;
    assert_eq!(keyring.carried_keys(&tenant(), 2).await.expect("read"), [dedupe, integrity]);
    let again = keyring.put_tenant_key(&[share(2, 1)], &[], now).await;
    assert!(matches!(again, Err(Error::Exists)), "{again:?}");
}

fn job() -> KeyJobId {
    KeyJobId::from_parts(1, [1; 10])
}

async fn outlived(keyring: &Keyring) -> Vec<Outlived> {
    keyring.outlived(None, 9).await.expect("read")
}

/// Retires the versions below one, where that was proven since an instant; gives the number of shares.
async fn retired(keyring: &Keyring, below: u32, since: Timestamp) -> u64 {
    keyring.retire_older(key(below), since, since).await.expect("asked")
}

#[tokio::test]
async fn a_version_is_retired_once_nothing_lies_under_it() {
    let cellar = Cellar::new().await;
    let (keyring, now) = (&cellar.stores.keyring, cellar.clock.now());
    let carried = CarriedKey { kind: CarriedKind::Integrity, wrapped: wrapped(7) };
    for version in [1, 2] {
        keyring.put_tenant_key(&[share(version, 1)], std::slice::from_ref(&carried), now).await.expect("put");
    }
    // The first was wrapped anew once.
    assert!(keyring.replace_wrapping(key(1), 1, vec![share(1, 0)], now).await.expect("replaced"));
    keyring.put_subject_key(&subject(1, 1, 1)).await.expect("put");
    keyring.put_deposit_key(&deposit(1, 1)).await.expect("put");
    keyring.prove_wrapping(key(2), 1, now).await.expect("proven");
    assert_eq!(retired(keyring, 2, now).await, 0, "it takes new rows");
    keyring.close_tenant_keys(&tenant(), 2, now).await.expect("closed");
    assert_eq!(retired(keyring, 2, now).await, 0, "two rows are left");
    let needed = Outlived { tenant: tenant(), below: 2, needed: true };
    assert_eq!(outlived(keyring).await, [needed]);
    assert_eq!(keyring.move_subject_keys(&job(), &[to(1, 1, 1, 2)]).await.expect("moved"), 1);
    assert_eq!(retired(keyring, 2, now).await, 0, "one row is left");
    assert_eq!(outlived(keyring).await, [needed]);
    assert!(!keyring.is_outlived(key(1)).await.expect("read"));
    assert!(keyring.move_deposit_key(&deposit(1, 1).id, 1, 2, &wrapped(8)).await.expect("moved"));
    assert_eq!(retired(keyring, 2, now.plus(Span::micros(1))).await, 0, "it was opened before");
    assert_eq!(retired(keyring, 3, now).await, 0, "the one in force takes new rows");
    let older = Outlived { tenant: tenant(), below: 2, needed: false };
    assert_eq!(outlived(keyring).await, [older]);
    assert!(keyring.is_outlived(key(1)).await.expect("read") && !keyring.is_outlived(key(2)).await.expect("read"));
    assert_eq!(keyring.outlived(Some(&tenant()), 9).await.expect("read"), []);
    assert!(keyring.is_proven(key(2), now, now).await.expect("read"));
    assert!(!keyring.is_proven(key(2), now.plus(Span::micros(1)), now).await.expect("read"), "not since");
    assert!(!keyring.is_proven(key(1), now, now).await.expect("read"), "nobody opened it");
    // It is due for a rewrap as long as it stands.
    let due = Due { target: "any_of(b)", from_key: None };
    assert_eq!(keyring.keys_due(due, None, 9).await.expect("read"), [key(1), key(2)]);
    assert_eq!(retired(keyring, 2, now).await, 2, "both of its wrappings");
    assert_eq!(retired(keyring, 2, now).await, 0, "nothing is left");
    assert_eq!(keyring.keys_due(due, None, 9).await.expect("read"), [key(2)]);
    assert_eq!(outlived(keyring).await, []);
    assert_eq!(keyring.tenant_key(&tenant(), 1).await.expect("read"), []);
    let back = keyring.replace_wrapping(key(1), 2, vec![share(1, 0)], now).await.expect("asked");
    assert!(!back, "it stands there no more");

    let later = now.plus(Span::secs(1));
    // On PostgreSQL they were retired by the clock of its server.
    let long_ago = Timestamp::from_secs(1);
    assert_eq!(keyring.versions_retired(long_ago, None, 9).await.expect("read"), []);
    edit(cellar.folder.path(), Store::Keyring, &["UPDATE tenant_keys SET state_at = 0 WHERE state = 'RETIRED'"])
        .await
        .expect("aged");
    assert_eq!(keyring.versions_retired(long_ago, None, 9).await.expect("read"), [key(1)]);
    assert_eq!(keyring.versions_retired(long_ago, Some(key(1)), 9).await.expect("read"), []);
    assert_eq!(keyring.carried_keys(&tenant(), 1).await.expect("read").len(), 1);
    let destroyed = async |key, by, times| keyring.destroy_version(key, by, times).await.expect("asked");
    let times = (later, now, later);
    assert!(destroyed(key(2), (key(2), 1), times).await.is_none(), "it is in force");
    assert!(destroyed(key(1), (key(2), 2), times).await.is_none(), "another wrapping was opened");
    assert!(destroyed(key(1), (key(2), 1), (later, later, later)).await.is_none(), "it was opened too long ago");
    let destruction = destroyed(key(1), (key(2), 1), times).await.expect("would be");
    drop(destruction);
    assert_eq!(
        keyring.carried_keys(&tenant(), 1).await.expect("read").len(),
        1,
        "what is not committed did not happen"
    );
    // One of its shares was put back meanwhile: it is not gone, and not said to be.
    let put_back = |state| format!("UPDATE tenant_keys SET state = '{state}' WHERE version = 1 AND wrapping = 2");
    edit(cellar.folder.path(), Store::Keyring, &[&put_back("CURRENT")]).await.expect("edited");
    assert!(destroyed(key(1), (key(2), 1), times).await.is_none(), "a share of it is in force");
    edit(cellar.folder.path(), Store::Keyring, &[&put_back("RETIRED")]).await.expect("edited");
    let destruction = destroyed(key(1), (key(2), 1), times).await.expect("would be");
    assert_eq!((destruction.shares(), destruction.commit(7).await.expect("destroyed")), (2, 2));
    assert_eq!(keyring.carried_keys(&tenant(), 1).await.expect("read"), [], "it went with its shares");
    assert_eq!(keyring.carried_keys(&tenant(), 2).await.expect("read").len(), 1);
    assert_eq!(keyring.newest_tenant_key(&tenant()).await.expect("read"), 2);
    let again = keyring.put_tenant_key(&[share(1, 1)], &[], now).await;
    assert!(matches!(again, Err(Error::Destroyed)), "{again:?}");
}

#[tokio::test]
async fn one_tenant_keeps_no_other_from_being_retired() {
    let cellar = Cellar::new().await;
    let (keyring, now) = (&cellar.stores.keyring, cellar.clock.now());
    let tenants = [1, 2, 3].map(|number| TenantId::from_parts(1, [number; 10]));
    for tenant in tenants {
        for version in [1, 2] {
            let share = TenantKeyShare { tenant, ..share(version, 1) };
            keyring.put_tenant_key(&[share], &[], now).await.expect("put");
        }
        keyring.close_tenant_keys(&tenant, 2, now).await.expect("closed");
        keyring.prove_wrapping(KeyVersion { tenant, version: 2 }, 1, now).await.expect("proven");
    }
    let row = StoredSubjectKey { tenant: tenants[1], ..subject(1, 1, 1) };
    edit(
        cellar.folder.path(),
        Store::Keyring,
        &[&format!("INSERT INTO subject_keys VALUES ('{}', 1, '{}', 1, {})", row.owner, row.tenant, bytes("00"))],
    )
    .await
    .expect("somebody put one back");
    let mut shares = Vec::new();
    for tenant in tenants {
        let in_force = KeyVersion { tenant, version: 2 };
        shares.push(keyring.retire_older(in_force, now, now).await.expect("asked"));
    }
    assert_eq!(shares, [1, 0, 1], "one row of one tenant");
    assert_eq!(keyring.tenant_key(&tenants[1], 1).await.expect("read").len(), 1, "it stays");
}
