//! The next version of a tenant key: what lies under the one before moves to it, and nothing else opens on the way.

use cofre_custody::{
    Broken, CarriedKeys, CustodySet, Error, MovedKey, SubjectKeyRow, TenantRef, UnderKey, Warmed, WrappedKeys,
    WrappedTenantKey,
};
use cofre_model::id::{KeyJobId, SubjectId};
use cofre_model::permit::{Move, MoveWarrant, Permit};
use cofre_model::sealed::WrappedKey;

use crate::bench::{custodian, entry, mint, tenant};
use crate::open::{Desk, owner};

fn warrant(from: &TenantRef, to: &TenantRef, count: u32) -> MoveWarrant {
    MoveWarrant {
        job: KeyJobId::from_parts(1, [1; 10]),
        tenant: to.tenant,
        from_version: from.key_version,
        from_id: from.key_id,
        to_version: to.key_version,
        to_id: to.key_id,
        count,
    }
}

fn permit(warrant: MoveWarrant) -> Permit<Move> {
    let (at, send_by) = entry();
    mint().permit(at, send_by, warrant)
}

/// Makes the next version and has the register know it.
async fn next(desk: &Desk) -> TenantRef {
    let set = CustodySet::any_of(vec![custodian("a")]).expect("a set");
    let rotating = desk.house.keys.for_rotating();
    let version = desk.tenant.key_version + 1;
    let made = rotating.next_tenant_key(&desk.tenant, version, &set).await.expect("made");
    desk.house.register.keep_version(desk.tenant.tenant, version, made.wrapped);
    TenantRef { key_version: version, key_id: made.key_id, ..desk.tenant.clone() }
}

fn subject(whose: u8) -> UnderKey {
    UnderKey::Subject(owner(whose), 1)
}

async fn moved(desk: &Desk, next: &TenantRef, keys: Vec<(UnderKey, WrappedKey)>) -> Vec<MovedKey> {
    let rotating = desk.house.keys.for_rotating();
    let held = rotating.hold(&desk.tenant, next).await.expect("both come");
    let count = u32::try_from(keys.len()).expect("few");
    let moved = tokio::task::spawn_blocking({
        let permit = permit(warrant(&desk.tenant, next, count));
        move || rotating.move_keys(permit, &held, keys)
    });
    moved.await.expect("no panic").expect("named by the permit")
}

#[tokio::test]
async fn what_lies_under_a_key_moves_to_the_next_and_no_data_key_is_opened() {
    let desk = Desk::new().await;
    let logins: Vec<_> = [desk.rest((1, 1)).await, desk.rest((2, 2)).await, desk.rest((3, 3)).await].into();
    let next = next(&desk).await;
    let before = desk.house.keys.counters().data_keys;
    let keys = logins.iter().zip(1..).map(|((_, wrapped, _), whose)| (subject(whose), wrapped.subject.clone()));
    let moved = moved(&desk, &next, keys.collect()).await;
    assert_eq!(desk.house.keys.counters().data_keys, before, "no data key");
    assert_eq!(moved.iter().map(|moved| moved.key.clone()).collect::<Vec<_>>(), [subject(1), subject(2), subject(3)]);
    for (number, moved) in (1..).zip(moved) {
        let (_, wrapped, _) = &logins[usize::from(number) - 1];
        let after = WrappedKeys { tenant: next.clone(), subject: moved.wrapped.expect("moved"), ..wrapped.clone() };
        let desk = Desk { tenant: next.clone(), key: desk.key.clone(), house: desk.house.share() };
        desk.open((number, number), after.clone()).await.map(drop).expect("opens under the next version");
        let older = WrappedKeys { subject: wrapped.subject.clone(), ..after };
        let refused = desk.open((number, number), older).await.map(drop);
        assert_eq!(refused, Err(Error::Integrity(Broken::SubjectKey)), "what was not moved opens under its own");
    }
}

#[tokio::test]
async fn a_deposit_key_moves_too_and_both_versions_serve_one_deposit() {
    let mut desk = Desk::new().await;
    let (_, wrapped, _) = desk.rest((1, 1)).await;
    let next = next(&desk).await;
    let (older, pair) = (desk.tenant.clone(), desk.key.clone());
    let key =
        UnderKey::Deposit { id: pair.id, suite: pair.suite, not_before: pair.not_before, not_after: pair.not_after };
    let mut moved = moved(&desk, &next, vec![(key, pair.wrapped.clone())]).await;
    desk.key.wrapped = moved.remove(0).wrapped.expect("moved");
    desk.key.under = next.clone();
    desk.tenant = next.clone();
    // The owner's key still lies under the older version.
    let row = SubjectKeyRow { version: 1, under: older, wrapped: wrapped.subject };
    let opened = desk.deposit((2, 1), Some(row.clone())).await.expect("opens");
    assert!(opened.new_subject.is_none());
    let first = desk.deposit((3, 3), None).await.expect("opens");
    assert_eq!(first.new_subject.map(|row| row.under), Some(next.clone()), "what is new lies under the newest");
    let elsewhere = SubjectKeyRow { under: TenantRef { tenant: tenant(9), ..next }, ..row };
    assert_eq!(desk.deposit((2, 1), Some(elsewhere)).await.map(drop), Err(Error::Foreign));
}

#[tokio::test]
async fn rows_verify_under_every_version_by_the_keys_of_the_first() {
    let desk = Desk::new().await;
    let rows = desk.house.keys.for_rows();
    let tag = |mac: &cofre_envelope::RowMac| mac.tag("credentials", &[b"a"], &[1; 16]);
    let first = tag(&rows.integrity(&desk.tenant).await.expect("derived"));
    let second = next(&desk).await;
    desk.house.keys.forget_all();
    assert_eq!(tag(&rows.integrity(&second).await.expect("carried")), first);
    let desk = Desk { tenant: second.clone(), key: desk.key.clone(), house: desk.house.share() };
    let third = next(&desk).await;
    desk.house.keys.forget_all();
    assert_eq!(tag(&rows.integrity(&third).await.expect("carried on")), first);
    desk.house.keys.for_rewrapping().prove(&third).await.expect("opens, and the carried keys too");

    let whole = desk.house.register.keys.lock().expect("whole")[&(third.tenant, 3)].clone();
    let carried = whole.carried.clone().expect("beside the key");
    let twice = CarriedKeys { integrity: carried.dedupe.clone(), dedupe: carried.dedupe };
    for broken in [None, Some(twice)] {
        let row = WrappedTenantKey { carried: broken, ..whole.clone() };
        desk.house.register.keep_version(third.tenant, 3, row);
        desk.house.keys.forget_all();
        let integrity = rows.integrity(&third).await.map(drop);
        assert_eq!(integrity, Err(Error::Integrity(Broken::RowKeys)));
        let proven = desk.house.keys.for_rewrapping().prove(&third).await;
        assert_eq!(proven, Err(Error::Integrity(Broken::RowKeys)));
    }
}

#[tokio::test]
async fn a_key_that_was_not_made_beside_the_one_in_force_gets_nothing() {
    let desk = Desk::new().await;
    let next = next(&desk).await;
    // Another first key of the same tenant: whoever made it has not the keys of rows that `next` carries.
    let set = CustodySet::any_of(vec![custodian("a")]).expect("a set");
    let other = desk.house.tenant(1, &set).await;
    desk.house.keys.forget_all();
    let held = desk.house.keys.for_rotating().hold(&other, &next).await.map(drop);
    assert_eq!(held, Err(Error::Integrity(Broken::RowKeys)));
}

#[tokio::test]
async fn what_is_kept_of_a_tenant_does_not_grow_with_its_versions() {
    let mut desk = Desk::new().await;
    let mut kept = Vec::new();
    for _ in 0..5 {
        let next = next(&desk).await;
        desk.house.keys.for_rotating().hold(&desk.tenant, &next).await.map(drop).expect("both come");
        desk.house.keys.wipe_all();
        desk.tenant = next;
        let counts = desk.house.slab.counters();
        kept.push(counts.taken - counts.wiped);
    }
    assert_eq!(kept[1..], [kept[1]; 4], "slots of locked memory");
}

#[tokio::test]
async fn a_permit_moves_what_it_names_and_no_more_of_it() {
    let desk = Desk::new().await;
    let (_, wrapped, _) = desk.rest((1, 1)).await;
    let next = next(&desk).await;
    let rotating = desk.house.keys.for_rotating();
    assert_eq!(rotating.hold(&next, &desk.tenant).await.map(drop), Err(Error::Foreign), "never back");
    let held = rotating.hold(&desk.tenant, &next).await.expect("both come");
    let named = warrant(&desk.tenant, &next, 1);
    let key = || vec![(subject(1), wrapped.subject.clone())];
    for other in [
        MoveWarrant { tenant: tenant(9), ..named.clone() },
        MoveWarrant { from_version: 7, ..named.clone() },
        MoveWarrant { from_id: [7; 16], ..named.clone() },
        MoveWarrant { to_version: 7, ..named.clone() },
        MoveWarrant { to_id: [7; 16], ..named.clone() },
        MoveWarrant { count: 0, ..named.clone() },
    ] {
        assert_eq!(rotating.move_keys(permit(other), &held, key()), Err(Error::Foreign));
    }
    // One that does not open keeps no other from moving.
    let two = vec![(UnderKey::Subject(owner(2), 1), wrapped.subject.clone()), key().remove(0)];
    let moved = rotating.move_keys(permit(MoveWarrant { count: 2, ..named }), &held, two).expect("named");
    let outcome = |whose: SubjectId| {
        let of = |moved: &&MovedKey| moved.key == UnderKey::Subject(whose, 1);
        moved.iter().find(of).expect("answered").wrapped.as_ref().map(drop).map_err(Clone::clone)
    };
    assert_eq!(outcome(owner(2)), Err(Error::Integrity(Broken::SubjectKey)));
    assert_eq!(outcome(owner(1)), Ok(()));
}

#[tokio::test]
async fn both_versions_stay_warm_beside_each_other_and_are_wiped_together() {
    let desk = Desk::new().await;
    let next = next(&desk).await;
    let (keys, release) = (&desk.house.keys, desk.house.keys.for_release());
    keys.forget_all();
    let asked = desk.house.custodians[0].unwraps();
    for _ in 0..3 {
        for version in [&desk.tenant, &next] {
            release.warm(version, Warmed::default()).await.map(drop).expect("warm");
            keys.for_rows().integrity(version).await.map(drop).expect("there");
        }
    }
    assert_eq!((desk.house.custodians[0].unwraps() - asked, keys.counters().warm_now), (2, 2));
    assert!(keys.wipe(&next.tenant));
    assert_eq!(keys.counters().warm_now, 0);
}
