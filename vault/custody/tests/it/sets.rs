//! Custody sets at work: who must agree, what the loss of one costs, and that shares cannot be moved or a set loosened.

use cofre_custody::{Broken, Cause, CustodySet, Error, Failed, Warmed};

use crate::bench::{custodian, tenant};
use crate::warm::House;

fn names() -> Vec<cofre_custody::CustodianId> {
    vec![custodian("a"), custodian("b")]
}

#[tokio::test]
async fn any_of_survives_the_loss_of_one_and_lists_both_calls() {
    let house = House::new(&["a", "b"]);
    let tenant = house.tenant(1, &CustodySet::any_of(names()).expect("a set")).await;
    house.custodians[0].take_away();
    house.keys.for_release().warm(&tenant, Warmed::default()).await.map(drop).expect("b serves");
    let results: Vec<_> = house.register.calls().into_iter().map(|call| (call.custodian, call.result)).collect();
    assert_eq!(results, [(custodian("a"), Err(Cause::TokenAbsent)), (custodian("b"), Ok(()))]);
    house.keys.wipe_all();
    house.custodians[1].take_away();
    let error = house.keys.for_release().warm(&tenant, Warmed::default()).await.map(drop).expect_err("both away");
    assert!(matches!(&error, Error::Custodian(fault) if fault.cause == Cause::TokenAbsent) && error.retryable());
}

#[tokio::test]
async fn all_of_needs_every_one() {
    let house = House::new(&["a", "b"]);
    let tenant = house.tenant(1, &CustodySet::all_of(names()).expect("a set")).await;
    house.keys.for_release().warm(&tenant, Warmed::default()).await.map(drop).expect("both serve");
    assert_eq!((house.custodians[0].unwraps(), house.custodians[1].unwraps()), (1, 1));
    for away in [0, 1] {
        house.keys.wipe_all();
        house.custodians[away].take_away();
        house.keys.for_release().warm(&tenant, Warmed::default()).await.map(drop).expect_err("one does not agree");
        house.custodians[away].bring_back();
    }
    let counters = house.keys.counters();
    assert_eq!(counters.custodian_calls, house.register.calls().len() as u64);
    assert_eq!((counters.custodian_calls, counters.failed_calls, counters.warm_ups), (5, 2, 3));
}

#[tokio::test]
async fn a_set_that_lacks_a_share_from_the_start_is_not_made() {
    let house = House::new(&["a", "b"]);
    house.custodians[1].take_away();
    let set = CustodySet::any_of(names()).expect("a set");
    assert!(house.keys.for_wrapping().new_tenant_key("eu-nl", tenant(1), &set).await.is_err());
    let unknown = CustodySet::any_of(vec![custodian("c")]).expect("a set");
    let error = house.keys.for_wrapping().new_tenant_key("eu-nl", tenant(1), &unknown).await.map(drop);
    assert_eq!(error, Err(Error::UnknownCustodian(custodian("c"))));
}

#[tokio::test]
async fn shares_of_another_tenant_do_not_open() {
    let house = House::new(&["a", "b"]);
    for set in [CustodySet::any_of(names()), CustodySet::all_of(names())] {
        let set = set.expect("a set");
        let (one, two) = (house.tenant(1, &set).await, house.tenant(2, &set).await);
        let other = house.register.keys.lock().expect("whole")[&(two.tenant, 1)].clone();
        house.register.keep(one.tenant, other);
        let error = house.keys.for_release().warm(&one, Warmed::default()).await.map(drop);
        assert_eq!(error, Err(Error::Integrity(Broken::Share)));
        let last = house.register.outcomes.lock().expect("whole").last().cloned().expect("recorded");
        assert_eq!(last.result, Err(Failed::Integrity));
    }
}

#[tokio::test]
async fn the_binding_holds_where_the_mechanism_has_none() {
    let house = House::new(&["a"]);
    let set = CustodySet::any_of(vec![custodian("a")]).expect("a set");
    let (one, two) = (house.tenant(1, &set).await, house.tenant(2, &set).await);
    house.custodians[0].forget_contexts();
    house.keys.for_release().warm(&one, Warmed::default()).await.map(drop).expect("its own share opens");
    house.keys.wipe_all();
    let other = house.register.keys.lock().expect("whole")[&(two.tenant, 1)].clone();
    house.register.keep(one.tenant, other);
    assert_eq!(
        house.keys.for_release().warm(&one, Warmed::default()).await.map(drop),
        Err(Error::Integrity(Broken::Share))
    );
}

#[tokio::test]
async fn a_loosened_set_does_not_open() {
    let house = House::new(&["a", "b"]);
    let strict = CustodySet::all_of(names()).expect("a set");
    let tenant = house.tenant(1, &strict).await;
    let mut rows = house.register.keys.lock().expect("whole")[&(tenant.tenant, 1)].clone();
    rows.set = CustodySet::any_of(names()).expect("a set");
    house.register.keep(tenant.tenant, rows);
    assert_eq!(
        house.keys.for_release().warm(&tenant, Warmed::default()).await.map(drop),
        Err(Error::Integrity(Broken::Share))
    );
}

#[tokio::test]
async fn swapped_or_missing_shares_do_not_combine() {
    let house = House::new(&["a", "b"]);
    let tenant = house.tenant(1, &CustodySet::all_of(names()).expect("a set")).await;
    let rows = house.register.keys.lock().expect("whole")[&(tenant.tenant, 1)].clone();
    let mut lacking = rows.clone();
    lacking.shares.pop();
    house.register.keep(tenant.tenant, lacking);
    assert_eq!(house.keys.for_release().warm(&tenant, Warmed::default()).await.map(drop), Err(Error::Incomplete));
    let mut swapped = rows;
    for share in &mut swapped.shares {
        share.share = 1 - share.share;
    }
    house.register.keep(tenant.tenant, swapped);
    assert_eq!(house.keys.for_release().warm(&tenant, Warmed::default()).await.map(drop), Err(Error::Incomplete));
}

#[tokio::test]
async fn a_substituted_key_is_an_incident() {
    let house = House::new(&["a"]);
    let set = CustodySet::any_of(vec![custodian("a")]).expect("a set");
    let old = house.tenant(1, &set).await;
    // The same tenant, version and set: only the id tells the two keys apart.
    let _newer = house.tenant(1, &set).await;
    assert_eq!(
        house.keys.for_release().warm(&old, Warmed::default()).await.map(drop),
        Err(Error::Integrity(Broken::TenantKey))
    );
}

fn set(text: &str) -> CustodySet {
    text.parse().expect("a set")
}

/// Which of three custodians have to be there, for sets inside a set, by every combination of those that are.
#[tokio::test]
async fn a_set_in_a_set_opens_with_those_it_names_and_no_others() {
    type Opens = fn([bool; 3]) -> bool;
    let rules: [(&str, Opens); 4] = [
        ("all_of(a,any_of(b,c))", |[a, b, c]| a && (b || c)),
        ("any_of(a,all_of(b,c))", |[a, b, c]| a || (b && c)),
        ("any_of(all_of(b,c),a)", |[a, b, c]| a || (b && c)),
        ("all_of(any_of(b,c),a)", |[a, b, c]| a && (b || c)),
    ];
    for (text, opens) in rules {
        let house = House::new(&["a", "b", "c"]);
        let tenant = house.tenant(1, &set(text)).await;
        for there in 0..8 {
            let there = [there & 1 != 0, there & 2 != 0, there & 4 != 0];
            for (custodian, there) in house.custodians.iter().zip(there) {
                if there { custodian.bring_back() } else { custodian.take_away() }
            }
            house.keys.wipe_all();
            let answer = house.keys.for_release().warm(&tenant, Warmed::default()).await.map(drop);
            assert_eq!(answer.is_ok(), opens(there), "{text} with {there:?}: {answer:?}");
            assert!(answer.is_ok() || answer.is_err_and(|error| error.retryable()), "{text} with {there:?}");
        }
    }
}

/// The part of an `all_of` that stands alone says nothing, and a share of one place does not serve at another.
#[tokio::test]
async fn a_loosened_inner_set_does_not_open() {
    for (made, claimed) in [
        ("any_of(a,all_of(b,c))", "any_of(a,b,c)"),
        ("all_of(a,any_of(b,c))", "any_of(b,c)"),
        ("all_of(a,any_of(b,c))", "all_of(a,b)"),
        ("any_of(a,all_of(b,c))", "all_of(b,c)"),
    ] {
        let house = House::new(&["a", "b", "c"]);
        let tenant = house.tenant(1, &set(made)).await;
        let mut rows = house.register.keys.lock().expect("whole")[&(tenant.tenant, 1)].clone();
        rows.set = set(claimed);
        house.register.keep(tenant.tenant, rows);
        let answer = house.keys.for_release().warm(&tenant, Warmed::default()).await.map(drop);
        assert!(matches!(answer, Err(Error::Integrity(_) | Error::Incomplete)), "{made} as {claimed}: {answer:?}");
    }
}
