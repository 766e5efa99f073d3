//! The contract, third part: what is wrapped opens under its key and context, and under no other.

use cofre_custody::{Broken, Cause, CustodySet, Error, Operation, Warmed};

use super::{Case, KEY, abilities_of, cases, opened, unwrapped, wrapped};
use crate::bench::{Child, any_warm_permit, bytes_of, context, custodian, row_of, share, slab};
use crate::site::{Site, Wanted};

pub(super) const CASES: &[Case<Site>] = cases![
    a_share_survives_wrapping,
    wrapping_twice_differs_and_shows_nothing,
    what_was_wrapped_names_its_key_and_its_call,
    another_context_is_refused,
    changed_bytes_are_refused,
    cut_and_lengthened_bytes_are_refused,
    a_row_of_another_key_is_refused,
    bytes_of_another_key_are_refused,
    a_tenant_key_is_made_and_comes_back,
];

/// Two processes, one after the other, on one token.
pub(super) const HALVES: &[Case] = cases![first_process_wraps, second_process_unwraps];

async fn a_share_survives_wrapping(site: &Site) {
    let held = site.opened().await;
    let bytes = wrapped(&held).await;
    let context = context("hsm-1");
    let answer = held.unwrap(&any_warm_permit(), context.encode(), &row_of(&*held, bytes)).await.expect("opens");
    let expected = share(&slab(), 7).bind(&context).expect("bound");
    assert_eq!(bytes_of(&answer.share), bytes_of(&expected));
}

async fn wrapping_twice_differs_and_shows_nothing(site: &Site) {
    let held = site.opened().await;
    let (one, two) = (wrapped(&held).await, wrapped(&held).await);
    assert_eq!(one.len(), two.len());
    assert_ne!(one, two);
    if let Site::Token(_) = site {
        assert_eq!(one.len(), 92);
        assert_ne!(one[..12], two[..12], "a nonce was used twice");
        assert_ne!(one[12..], two[12..]);
    }
    // Neither as it is nor as text.
    assert!(!one.windows(8).any(|run| run == [7; 8] || run == b"BwcHBwcH"), "the share shows");
}

async fn what_was_wrapped_names_its_key_and_its_call(site: &Site) {
    let held = site.opened().await;
    let context = context("hsm-1");
    let bound = share(&slab(), 7).bind(&context).expect("bound");
    let made = held.wrap(context.encode(), bound).await.expect("wraps");
    assert!(made.custodian_key.starts_with(&site.row_key(KEY)), "{}", made.custodian_key);
    assert_eq!(made.mechanism, held.describe().mechanism);
    assert!(!made.request.as_str().is_empty());
    // The row as it is kept opens, not only the one that names the key without a version.
    let mut row = row_of(&*held, made.bytes.as_bytes().to_vec());
    row.custodian_key = made.custodian_key;
    held.unwrap(&any_warm_permit(), context.encode(), &row).await.map(drop).expect("opens");
}

async fn another_context_is_refused(site: &Site) {
    let held = site.opened().await;
    let bytes = wrapped(&held).await;
    let (mut version, mut tenant, mut region) = (context("hsm-1"), context("hsm-1"), context("hsm-1"));
    version.tenant_key_version = 2;
    tenant.tenant = crate::bench::tenant(2);
    region.region = "eu-fr";
    for other in [version, tenant, region, context("hsm-2")] {
        let answer = held.unwrap(&any_warm_permit(), other.encode(), &row_of(&*held, bytes.clone())).await;
        assert_eq!(answer.map(drop).expect_err("must not open").cause, Cause::Integrity);
    }
    assert_eq!(unwrapped(&held, bytes).await.expect("it serves on"), 7);
}

async fn changed_bytes_are_refused(site: &Site) {
    let held = site.opened().await;
    let (naming, foreign) = abilities_of(site).names_its_key;
    let bytes = wrapped(&held).await;
    let last = bytes.len() - 1;
    let places = match site {
        Site::Token(_) => vec![0, 11, 12, 43, 44, 75, 76, 91],
        // The end of a base64 text has bits that mean nothing.
        Site::Service(_) | Site::Second(_) => vec![0, 7, last / 4, last / 2, last - 20, last - 3],
    };
    for place in places {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        let fault = unwrapped(&held, changed).await.expect_err("must not open");
        let cause = if place < naming { foreign } else { Cause::Integrity };
        assert_eq!((fault.operation, fault.cause), (Operation::Unwrap, cause), "byte {place}");
    }
    assert_eq!(unwrapped(&held, bytes).await.expect("it serves on"), 7);
}

async fn cut_and_lengthened_bytes_are_refused(site: &Site) {
    let held = site.opened().await;
    let bytes = wrapped(&held).await;
    let last = bytes.len() - 1;
    for len in [0, 1, 11, 12, 13, 27, 28, 76, last] {
        let cut = bytes[..len].to_vec();
        assert_eq!(unwrapped(&held, cut).await.expect_err("must not open").cause, Cause::Integrity, "{len} bytes");
    }
    for more in [&[0][..], &[0; 10_000]] {
        let longer = [bytes.clone(), more.to_vec()].concat();
        assert_eq!(unwrapped(&held, longer).await.expect_err("must not open").cause, Cause::Integrity);
    }
    assert_eq!(unwrapped(&held, bytes).await.expect("it serves on"), 7);
}

async fn a_row_of_another_key_is_refused(site: &Site) {
    let held = site.opened().await;
    let mut row = row_of(&*held, wrapped(&held).await);
    row.custodian_key = site.row_key("root-0");
    let answer = held.unwrap(&any_warm_permit(), context("hsm-1").encode(), &row).await;
    assert_eq!(answer.map(drop).expect_err("must not open").cause, Cause::KeyMissing);
}

async fn bytes_of_another_key_are_refused(site: &Site) {
    let bytes = wrapped(&site.opened().await).await;
    site.make_second("root-2").await;
    let held = site.open(Wanted { key: "root-2", ..Wanted::default() }).await.expect("opens");
    assert_eq!(unwrapped(&held, bytes).await.expect_err("must not open").cause, abilities_of(site).names_its_key.1);
}

async fn a_tenant_key_is_made_and_comes_back(site: &Site) {
    let house = crate::warm::House::over(vec![site.opened().await.custodian()]);
    let set = CustodySet::any_of(vec![custodian("hsm-1")]).expect("a set");
    let (one, two) = (house.tenant(1, &set).await, house.tenant(2, &set).await);
    house.keys.for_release().warm(&one, Warmed::default()).await.map(drop).expect("comes back");
    house.keys.for_release().warm(&two, Warmed::default()).await.map(drop).expect("comes back");
    let calls = house.register.calls();
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call.result.is_ok() && call.request.is_some()), "{calls:?}");
    let other = house.register.keys.lock().expect("whole")[&(two.tenant, 1)].clone();
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
