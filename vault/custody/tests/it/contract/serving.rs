//! The contract, fifth part: an open token serves many at once, says what it is, and closes for good.

use cofre_custody::pkcs11::Token;
use cofre_custody::{Cause, Custodian, Signer};
use cryptoki::context::Pkcs11;

use super::{
    Case, KEY, LABEL, SIGNER, abilities, abilities_of, cases, open, opened, pin, settings, unwrapped, wrapped,
};
use crate::bench::{Child, context, share, slab};
use crate::site::{Site, Wanted};

pub(super) const CASES: &[Case<Site>] = cases![
    it_says_what_it_is,
    it_is_ready,
    many_at_once_all_come_back,
    request_ids_do_not_repeat,
    after_closing_it_serves_no_more_and_can_be_opened_again,
];

pub(super) const OF_TOKENS: &[Case] = cases![it_holds_no_more_sessions_than_it_says];

async fn it_says_what_it_is(site: &Site) {
    let expected = abilities_of(site);
    let is = site.open(Wanted { signer: Some(SIGNER), ..Wanted::default() }).await.expect("opens").describe();
    let (place, parallel) = match site {
        Site::Token(_) => (LABEL.to_owned(), 3),
        Site::Service(served) => (served.kms.endpoint(), 64),
        Site::Second(second) => (second.endpoint(), 64),
    };
    assert_eq!((is.manufacturer.as_str(), is.is_simulator()), (expected.manufacturer, expected.simulator));
    assert_eq!((is.mechanism.as_str(), is.sessions, is.signer), (expected.mechanism, parallel, Some(expected.signer)));
    assert_eq!((is.custodian.as_str(), is.token_label, is.key_label), ("hsm-1", place, site.row_key(KEY)));
}

async fn it_is_ready(site: &Site) {
    site.opened().await.check().await.expect("ready");
}

async fn many_at_once_all_come_back(site: &Site) {
    let held = site.opened().await.custodian();
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let held = held.clone();
            tokio::spawn(async move { unwrapped(&held, wrapped(&held).await).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.expect("no panic").expect("opens"), 7);
    }
}

/// By the token's own count, after calls that went well and calls that did not.
async fn it_holds_no_more_sessions_than_it_says(child: &Child) {
    let token = opened(child).await;
    let bytes = wrapped(&token).await;
    let tasks: Vec<_> = (0..32)
        .map(|n| {
            let (token, mut bytes) = (token.clone(), bytes.clone());
            tokio::spawn(async move {
                bytes[12] ^= u8::from(n % 2 == 0);
                unwrapped(&token, bytes).await.map_err(|fault| fault.cause)
            })
        })
        .collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.expect("no panic"), if n % 2 == 0 { Err(Cause::Integrity) } else { Ok(7) });
    }
    let counted = token.open_sessions().await.expect("serves");
    let counts = abilities(child.kind).counts_sessions;
    assert_eq!(counted.is_some_and(|count| (1..=3).contains(&count)), counts, "{counted:?} are open, 3 may be held");
}

async fn request_ids_do_not_repeat(site: &Site) {
    let (one, two) = (site.opened().await, site.opened().await);
    let mut seen = std::collections::BTreeSet::new();
    for held in [&one, &one, &two, &two] {
        let context = context("hsm-1");
        let bound = share(&slab(), 7).bind(&context).expect("bound");
        let request = held.wrap(context.encode(), bound).await.expect("wraps").request;
        if let Site::Token(_) = site {
            assert!(request.as_str().starts_with("hsm-1/"), "{request}");
        }
        assert!(seen.insert(request.to_string()), "{request} was given twice");
    }
}

/// Another library of this process logs out, and the driver with it: whatever is asked next is served after a new login,
/// though modules say in three ways that the old one is gone.
pub(super) async fn a_login_lost_behind_its_back_is_made_good(child: &Child) {
    let mut settings = settings(child);
    settings.signer_label = Some(SIGNER.into());
    settings.sessions = 1;
    let token = open(settings).await.expect("opens");
    let signer = token.signer().expect("a signer");
    let bytes = wrapped(&token).await;
    let module = Pkcs11::new(&child.module).expect("loads");
    let slot = module.get_slots_with_initialized_token().expect("slots")[0];
    let log_out = || module.open_ro_session(slot).expect("a session").logout().expect("logged in until now");
    log_out();
    assert_eq!(unwrapped(&token, bytes).await.expect("unwraps"), 7);
    log_out();
    let again = wrapped(&token).await;
    log_out();
    signer.sign(b"a message").await.expect("signs");
    log_out();
    token.check().await.expect("is ready");
    assert_eq!(unwrapped(&token, again).await.expect("unwraps"), 7);
}

async fn after_closing_it_serves_no_more_and_can_be_opened_again(site: &Site) {
    let held = site.opened().await;
    let bytes = wrapped(&held).await;
    held.close().await.expect("closes");
    assert_eq!(unwrapped(&held, bytes.clone()).await.expect_err("closed").cause, Cause::Stopped);
    if let Site::Token(child) = site {
        // The login ended with the sessions: a wrong PIN is refused again, the right one serves.
        let wrong = Token::open(settings(child), pin("0000-wrong-pin"), &slab()).await;
        assert_eq!(wrong.map(drop).expect_err("logged out").cause, Cause::PinIncorrect);
    }
    assert_eq!(unwrapped(&site.opened().await, bytes).await.expect("opens"), 7);
}
