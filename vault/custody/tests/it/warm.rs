//! Warm keys: one asking however many wait, no longer than allowed, every asking on record.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cofre_custody::{
    Custodian, Custodians, CustodySet, Error, IDLE, JournalError, TenantKeys, TenantRef, WARM_FOR, Warmed, Wiring,
};
use cofre_envelope::Slab;
use cofre_model::reason::Reason;
use cofre_model::time::Span;
use cofre_testkit::custody::Memory;

use crate::bench::{HandClock, custodian, slab, tenant, tenant_ref};
use crate::memory::Register;

/// Tenant keys over custodians and a register in memory.
pub(crate) struct House {
    pub(crate) custodians: Vec<Arc<Memory>>,
    pub(crate) register: Arc<Register>,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) slab: Arc<Slab>,
    pub(crate) keys: TenantKeys,
}

impl House {
    pub(crate) fn new(names: &[&str]) -> Self {
        let custodians: Vec<_> = names.iter().map(|name| Memory::new(custodian(name), slab())).collect();
        let drivers = custodians.iter().map(|memory| memory.clone() as Arc<dyn Custodian>).collect();
        Self { custodians, ..Self::over(drivers) }
    }

    /// Over drivers of another kind.
    pub(crate) fn over(drivers: Vec<Arc<dyn Custodian>>) -> Self {
        let (wrapping, unwrapping) = Custodians::new(drivers).expect("names differ").split();
        let (register, clock, slab) = (Arc::new(Register::default()), Arc::new(HandClock::default()), slab());
        let keys = TenantKeys::new(Wiring {
            wrapping,
            unwrapping,
            journal: register.clone(),
            clock: clock.clone(),
            slab: slab.clone(),
        });
        Self { custodians: Vec::new(), register, clock, slab, keys }
    }

    /// The same house, for another look at it.
    pub(crate) fn share(&self) -> Self {
        let Self { custodians, register, clock, slab, keys } = self;
        let (register, clock, slab) = (register.clone(), clock.clone(), slab.clone());
        Self { custodians: custodians.clone(), register, clock, slab, keys: keys.clone() }
    }

    pub(crate) async fn tenant(&self, number: u8, set: &CustodySet) -> TenantRef {
        let made = self.keys.for_wrapping().new_tenant_key("eu-nl", tenant(number), set).await.expect("wraps");
        self.register.keep(tenant(number), made.wrapped);
        tenant_ref(number, made.key_id)
    }
}

async fn one() -> (House, TenantRef) {
    let house = House::new(&["a"]);
    let tenant = house.tenant(1, &CustodySet::any_of(vec![custodian("a")]).expect("a set")).await;
    (house, tenant)
}

/// Starts `count` warm-ups that overlap, and answers their results.
async fn together(house: &House, tenant: &TenantRef, count: usize) -> Vec<Result<(), Error>> {
    let memory = &house.custodians[0];
    let held = memory.places().acquire_many(Memory::PLACES).await.expect("open");
    let before = memory.unwraps();
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let (keys, tenant) = (house.keys.for_release(), tenant.clone());
            tokio::spawn(async move { keys.warm(&tenant, Warmed::default()).await.map(drop) })
        })
        .collect();
    while memory.unwraps() == before {
        tokio::task::yield_now().await;
    }
    // The single-threaded runtime has polled every task once by now.
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
    drop(held);
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("no panic"));
    }
    results
}

#[tokio::test]
async fn concurrent_misses_make_one_call_and_one_entry() {
    let (house, tenant) = one().await;
    assert!(together(&house, &tenant, 32).await.iter().all(Result::is_ok));
    assert_eq!((house.custodians[0].unwraps(), house.register.entries()), (1, 1));
    let counters = house.keys.counters();
    assert_eq!((counters.custodian_calls, counters.warm_ups, counters.warm_now), (1, 1, 1));
    house.keys.for_release().warm(&tenant, Warmed::default()).await.map(drop).expect("warm");
    assert_eq!(house.custodians[0].unwraps(), 1);
}

#[tokio::test]
async fn a_failure_is_shared_by_those_who_wait_and_not_kept() {
    let (house, tenant) = one().await;
    house.custodians[0].take_away();
    assert!(together(&house, &tenant, 16).await.iter().all(Result::is_err));
    assert_eq!((house.custodians[0].unwraps(), house.register.entries()), (1, 1));
    house.custodians[0].bring_back();
    house.keys.for_release().warm(&tenant, Warmed::default()).await.map(drop).expect("back");
}

#[tokio::test]
async fn whoever_waits_takes_over_from_a_cancelled_asker() {
    let (house, tenant) = one().await;
    let memory = house.custodians[0].clone();
    let held = memory.places().acquire_many(Memory::PLACES).await.expect("open");
    let start = |keys: cofre_custody::ReleaseKeys, tenant: TenantRef| {
        tokio::spawn(async move { keys.warm(&tenant, Warmed::default()).await.map(drop) })
    };
    let first = start(house.keys.for_release(), tenant.clone());
    while memory.unwraps() == 0 {
        tokio::task::yield_now().await;
    }
    let second = start(house.keys.for_release(), tenant.clone());
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.expect_err("aborted").is_cancelled());
    drop(held);
    second.await.expect("no panic").expect("takes over");
    assert_eq!((memory.unwraps(), house.register.entries()), (2, 2), "a call of its own under an entry of its own");
}

#[tokio::test]
async fn a_warm_key_ends_with_its_time_and_with_idleness() {
    let (house, tenant) = one().await;
    let keys = house.keys.for_release();
    keys.warm(&tenant, Warmed::default()).await.map(drop).expect("asks");
    let step = Span::secs(50);
    for _ in 0..5 {
        house.clock.forward(step);
        assert_eq!(house.keys.sweep(), 0);
        keys.warm(&tenant, Warmed::default()).await.map(drop).expect("warm");
    }
    assert_eq!(house.custodians[0].unwraps(), 1, "used every 50 s it stays for 250 s");
    house.clock.forward(step);
    assert_eq!(house.keys.sweep(), 1, "after {WARM_FOR:?} it is wiped though it was in use");
    keys.warm(&tenant, Warmed::default()).await.map(drop).expect("asks");
    assert_eq!(house.custodians[0].unwraps(), 2);
    house.clock.forward(IDLE);
    keys.warm(&tenant, Warmed::default()).await.map(drop).expect("asks, also where nobody swept");
    assert_eq!(house.custodians[0].unwraps(), 3);
    assert_eq!(house.keys.counters().wiped, 2);
}

#[tokio::test]
async fn warm_for_zero_asks_every_time() {
    let (house, mut tenant) = one().await;
    tenant.warm_for = Span::default();
    for asked in 1..4 {
        house.keys.for_release().warm(&tenant, Warmed::default()).await.map(drop).expect("asks");
        assert_eq!((house.custodians[0].unwraps(), house.keys.counters().warm_now), (asked, 0));
    }
}

#[tokio::test]
async fn warm_for_zero_asks_for_each_of_those_who_come_at_once() {
    let (house, mut tenant) = one().await;
    tenant.warm_for = Span::default();
    let keys = house.keys.for_release();
    let ask = || keys.warm(&tenant, Warmed::default());
    let (one, two, three) = tokio::join!(ask(), ask(), ask());
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!((house.custodians[0].unwraps(), house.keys.counters().warm_ups), (3, 3));
}

/// Asked before the commit and not again after it, however often the commit has to be tried.
#[tokio::test]
async fn warm_for_zero_asks_once_for_one_operation() {
    let (house, mut tenant) = one().await;
    tenant.warm_for = Span::default();
    let keys = house.keys.for_release();
    let first = keys.warm(&tenant, Warmed::default()).await.expect("asks");
    let again = keys.warm(&tenant, first).await.expect("has it");
    assert_eq!(house.custodians[0].unwraps(), 1);
    let mut newer = tenant.clone();
    newer.key_id = [9; 16];
    assert!(keys.warm(&newer, again).await.is_err(), "a key that is held serves under its own id only");
    assert_eq!(house.custodians[0].unwraps(), 2);
}

#[tokio::test]
async fn wiping_leaves_nothing_in_locked_memory() {
    let (house, tenant) = one().await;
    let before = house.slab.counters().in_use;
    house.keys.for_release().warm(&tenant, Warmed::default()).await.map(drop).expect("asks");
    assert!(house.slab.counters().in_use > before || house.custodians[0].unwraps() == 1);
    assert!(house.keys.wipe(&tenant.tenant) && !house.keys.wipe(&tenant.tenant));
    assert_eq!(house.keys.counters().warm_now, 0);
    house.keys.for_release().warm(&tenant, Warmed::default()).await.map(drop).expect("asks");
    assert_eq!(house.keys.wipe_all(), 1);
    house.keys.forget_all();
    let counters = house.slab.counters();
    assert_eq!((counters.in_use, counters.taken), (before, counters.wiped + before));
}

#[tokio::test]
async fn a_key_under_way_when_all_are_wiped_is_not_kept() {
    let (house, tenant) = one().await;
    let memory = house.custodians[0].clone();
    let held = memory.places().acquire_many(Memory::PLACES).await.expect("open");
    let (keys, asked) = (house.keys.for_release(), tenant.clone());
    let task = tokio::spawn(async move { keys.warm(&asked, Warmed::default()).await.map(drop) });
    while memory.unwraps() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.keys.sweep(), 0);
    house.keys.wipe_all();
    drop(held);
    task.await.expect("no panic").expect("whoever waited is served");
    assert_eq!(house.keys.counters().warm_now, 0);
}

#[tokio::test]
async fn whoever_asks_after_a_wipe_does_not_board_what_was_under_way() {
    let (house, tenant) = one().await;
    let memory = house.custodians[0].clone();
    let held = memory.places().acquire_many(Memory::PLACES).await.expect("open");
    let start = |keys: cofre_custody::ReleaseKeys, tenant: TenantRef| {
        tokio::spawn(async move { keys.warm(&tenant, Warmed::default()).await.map(drop) })
    };
    let before = start(house.keys.for_release(), tenant.clone());
    while memory.unwraps() == 0 {
        tokio::task::yield_now().await;
    }
    // A lockdown: warm keys are wiped, and the register refuses from now on.
    house.keys.wipe(&tenant.tenant);
    house.register.refuses.store(true, Ordering::SeqCst);
    let after = start(house.keys.for_release(), tenant.clone());
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    drop(held);
    before.await.expect("no panic").expect("whoever waited is served");
    let refused = after.await.expect("no panic");
    assert_eq!(refused, Err(Error::Journal(JournalError::Refused(Reason::Lockdown))));
    assert_eq!((memory.unwraps(), house.keys.counters().warm_now), (1, 0));
}

#[tokio::test]
async fn row_keys_stay_and_do_not_keep_the_tenant_key_warm() {
    let (house, tenant) = one().await;
    let rows = house.keys.for_rows();
    let mac = rows.integrity(&tenant).await.expect("asks").tag("consents", &[b"row"], &[1; 16]);
    assert_eq!((house.custodians[0].unwraps(), house.keys.counters().warm_now), (1, 0));
    house.clock.forward(Span::hours(5));
    house.keys.sweep();
    house.keys.wipe_all();
    house.custodians[0].take_away();
    let again = house.keys.for_deposit().integrity(&tenant).await.expect("there");
    again.verify("consents", &[b"row"], &[1; 16], &mac).expect("the same key");
    house.keys.for_deposit().dedupe(&tenant).await.expect("there too");
    assert_eq!(house.custodians[0].unwraps(), 1);
    house.keys.forget(&tenant.tenant);
    assert!(rows.integrity(&tenant).await.is_err(), "the node has stopped serving the tenant");
}

#[tokio::test]
async fn without_an_entry_no_custodian_is_asked() {
    let (house, tenant) = one().await;
    house.register.refuses.store(true, Ordering::SeqCst);
    assert_eq!(
        house.keys.for_release().warm(&tenant, Warmed::default()).await.map(drop),
        Err(Error::Journal(JournalError::Refused(Reason::Lockdown)))
    );
    assert_eq!(house.custodians[0].unwraps(), 0);
}

#[tokio::test]
async fn a_call_that_is_not_on_record_serves_nobody() {
    let (house, tenant) = one().await;
    house.register.loses_outcomes.store(true, Ordering::SeqCst);
    assert_eq!(
        house.keys.for_release().warm(&tenant, Warmed::default()).await.map(drop),
        Err(Error::Journal(JournalError::Unavailable))
    );
    assert_eq!(house.keys.counters().warm_now, 0);
}

#[tokio::test]
async fn a_permit_for_another_tenant_opens_nothing() {
    let (house, asked) = one().await;
    *house.register.confuses.lock().expect("whole") = Some(tenant(9));
    assert_eq!(house.keys.for_release().warm(&asked, Warmed::default()).await.map(drop), Err(Error::Foreign));
    assert_eq!(house.custodians[0].unwraps(), 0);
}
