//! The contract, third part: what is wrapped opens under its key and context, and under no other.

use cofre_custody::pkcs11::ceremony;
use cofre_custody::{Broken, Cause, Custodian, CustodySet, Error, Operation, Warmed};

use super::{Case, KEY, USER_PIN, cases, open, opened, pin, settings, unwrapped, wrapped};
use crate::bench::{Child, any_warm_permit, bytes_of, context, custodian, row, share, slab};

pub(super) const CASES: &[Case] = cases![
    a_share_survives_wrapping,
    wrapping_twice_differs_and_shows_nothing,
    another_context_is_refused,
    changed_bytes_are_refused,
    cut_and_lengthened_bytes_are_refused,
    a_row_of_another_key_is_refused,
    bytes_of_another_key_are_refused,
    a_tenant_key_is_made_and_comes_back,
];

/// Two processes, one after the other, on one token.
pub(super) const HALVES: &[Case] = cases![first_process_wraps, second_process_unwraps];

async fn a_share_survives_wrapping(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    let context = context("hsm-1");
    let answer = token.unwrap(&any_warm_permit(), context.encode(), &row(token.id(), KEY, bytes)).await.expect("opens");
    let expected = share(&slab(), 7).bind(&context).expect("bound");
    assert_eq!(bytes_of(&answer.share), bytes_of(&expected));
}

async fn wrapping_twice_differs_and_shows_nothing(child: &Child) {
    let token = opened(child).await;
    let (one, two) = (wrapped(&token).await, wrapped(&token).await);
    assert_eq!((one.len(), two.len()), (92, 92));
    assert_ne!(one[..12], two[..12], "a nonce was used twice");
    assert_ne!(one[12..], two[12..]);
    assert!(!one.windows(8).any(|run| run == [7; 8]), "the share shows");
}

async fn another_context_is_refused(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    let mut other = context("hsm-1");
    other.tenant_key_version = 2;
    let answer = token.unwrap(&any_warm_permit(), other.encode(), &row(token.id(), KEY, bytes.clone())).await;
    assert_eq!(answer.map(drop).expect_err("must not open").cause, Cause::Integrity);
    assert_eq!(unwrapped(&token, bytes).await.expect("the session is sound"), 7);
}

async fn changed_bytes_are_refused(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    for place in [0, 11, 12, 43, 44, 75, 76, 91] {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        let fault = unwrapped(&token, changed).await.expect_err("must not open");
        assert_eq!((fault.operation, fault.cause), (Operation::Unwrap, Cause::Integrity), "byte {place}");
    }
    assert_eq!(unwrapped(&token, bytes).await.expect("the session is sound"), 7);
}

async fn cut_and_lengthened_bytes_are_refused(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    for len in [0, 1, 11, 12, 13, 27, 28, 76, 91] {
        let cut = bytes[..len].to_vec();
        assert_eq!(unwrapped(&token, cut).await.expect_err("must not open").cause, Cause::Integrity, "{len} bytes");
    }
    let longer = [bytes.clone(), vec![0]].concat();
    assert_eq!(unwrapped(&token, longer).await.expect_err("must not open").cause, Cause::Integrity);
    assert_eq!(unwrapped(&token, bytes).await.expect("the session is sound"), 7);
}

async fn a_row_of_another_key_is_refused(child: &Child) {
    let token = opened(child).await;
    let row = row(token.id(), "root-0", wrapped(&token).await);
    let answer = token.unwrap(&any_warm_permit(), context("hsm-1").encode(), &row).await;
    assert_eq!(answer.map(drop).expect_err("must not open").cause, Cause::KeyMissing);
}

async fn bytes_of_another_key_are_refused(child: &Child) {
    let bytes = wrapped(&*opened(child).await).await;
    let mut second = settings(child);
    second.key_label = "root-2".into();
    ceremony::ensure_keys(&second, pin(USER_PIN), &slab()).expect("a second key");
    let token = open(second).await.expect("opens");
    let row = row(token.id(), "root-2", bytes);
    let answer = token.unwrap(&any_warm_permit(), context("hsm-1").encode(), &row).await;
    assert_eq!(answer.map(drop).expect_err("must not open").cause, Cause::Integrity);
}

async fn a_tenant_key_is_made_and_comes_back(child: &Child) {
    let house = crate::warm::House::over(vec![opened(child).await]);
    let set = CustodySet::any_of(vec![custodian("hsm-1")]).expect("a set");
    let (one, two) = (house.tenant(1, &set).await, house.tenant(2, &set).await);
    house.keys.for_release().warm(&one, Warmed::default()).await.map(drop).expect("comes back");
    house.keys.for_release().warm(&two, Warmed::default()).await.map(drop).expect("comes back");
    let calls = house.register.calls();
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call.result.is_ok() && call.request.is_some()), "{calls:?}");
    let other = house.register.keys.lock().expect("whole")[&two.tenant].clone();
    house.register.keep(one.tenant, other);
    house.keys.wipe_all();
    assert_eq!(
        house.keys.for_release().warm(&one, Warmed::default()).await.map(drop),
        Err(Error::Integrity(Broken::Share))
    );
}

async fn first_process_wraps(child: &Child) {
    std::fs::write(child.tokens.parent().expect("parent").join("wrapped"), wrapped(&*opened(child).await).await)
        .expect("kept");
}

async fn second_process_unwraps(child: &Child) {
    let bytes = std::fs::read(child.tokens.parent().expect("parent").join("wrapped")).expect("kept");
    assert_eq!(unwrapped(&*opened(child).await, bytes).await.expect("opens"), 7);
}
