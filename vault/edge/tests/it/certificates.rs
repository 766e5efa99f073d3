//! Certificates that are nobody's: each is refused before any handler runs.

use cofre_edge::peer::{PeerError, caller_from_certificate};
use cofre_model::caller::IdentityError;
use cofre_model::reason::Reason;
use cofre_model::time::{Clock, Span};
use cofre_testkit::ca::{Issued, Name, Options, Purpose, TestCa, Usage};

use crate::support::{House, Plan, TRUST_DOMAIN, WORKER, is_spoken_to, not_admitted};

/// URIs that a right root signed and that are no identity of this deployment.
const ODD_URIS: [&str; 15] = [
    "spiffe://cofre.test",
    "spiffe://cofre.test/",
    "spiffe://other.test/worker/pool-a/w1",
    "spiffe://Cofre.test/worker/pool-a/w1",
    "spiffe://cofre.test.evil/worker/pool-a/w1",
    "https://cofre.test/worker/pool-a/w1",
    "SPIFFE://cofre.test/worker/pool-a/w1",
    "spiffe://cofre.test:7443/worker/pool-a/w1",
    "spiffe://user@cofre.test/worker/pool-a/w1",
    "spiffe://cofre.test/worker/pool-a%2Fw1/x",
    "spiffe://cofre.test/worker/pool-a/w1/",
    "spiffe://cofre.test/worker/../w1",
    "spiffe://cofre.test/worker/pool-a/W1",
    "spiffe://cofre.test/person/root/x",
    "spiffe://cofre.test/worker/pool-a/w1?role=security",
];

fn bad(house: &House) -> Vec<(&'static str, Issued)> {
    let now = house.clock.now();
    let ca = &house.ca;
    let good = Options::default;
    let with = |options: Options| ca.issue(WORKER, &options).expect("issued");
    let named = |names: &[Name]| ca.issue_named(names, &good()).expect("issued");
    let uri = |uri: &str| Name::Uri(uri.to_owned());
    let stranger = TestCa::new(TRUST_DOMAIN, now).expect("another root");
    let leaf = ca.issue(WORKER, &good()).expect("issued");
    let raw = |bytes: &[u8]| named(&[Name::RawUri(bytes.to_vec())]);
    let purposes = |purposes: &[Purpose]| with(Options { purposes: purposes.to_vec(), ..good() });
    let usages = |usages: &[Usage]| with(Options { usages: usages.to_vec(), ..good() });
    let mut cases = vec![
        ("expired", with(Options { not_after: Some(now.minus(Span::secs(1))), ..good() })),
        ("at the second of expiry", with(Options { not_after: Some(now), ..good() })),
        ("not yet valid", with(Options { not_before: Some(now.plus(Span::hours(1))), ..good() })),
        ("no names at all", named(&[])),
        ("DNS name only", named(&[Name::Dns("w1.cofre.test".to_owned())])),
        ("two URIs", named(&[uri(WORKER), uri("spiffe://cofre.test/person/security/sol")])),
        ("the same URI twice", named(&[uri(WORKER), uri(WORKER)])),
        ("NUL in the URI", raw(b"spiffe://cofre.test/worker/pool-a/w1\0")),
        ("non-ASCII in the URI", raw("spiffe://cofre.test/worker/pool-a/w\u{e9}".as_bytes())),
        ("invalid UTF-8 in the URI", raw(b"spiffe://cofre.test/worker/pool-a/\xff")),
        ("authority", with(Options { authority: true, ..good() })),
        ("server purpose only", purposes(&[Purpose::ServerAuth])),
        ("any purpose only", purposes(&[Purpose::Any])),
        ("no purpose", purposes(&[])),
        ("may sign certificates", usages(&[Usage::DigitalSignature, Usage::KeyCertSign])),
        ("may sign revocation lists", usages(&[Usage::DigitalSignature, Usage::CrlSign])),
        ("no key usage", usages(&[])),
        ("no digital signature", usages(&[Usage::KeyAgreement])),
        ("unknown critical extension", with(Options { unknown_critical: true, ..good() })),
        ("9 KiB", with(Options { padding: 9 * 1024, ..good() })),
        ("60 KiB", with(Options { padding: 60 * 1024, ..good() })),
        ("self-signed", with(Options { self_signed: true, ..good() })),
        ("another root", stranger.issue(WORKER, &good()).expect("issued")),
        ("signed by a leaf", ca.issue_under(&leaf, WORKER, &good()).expect("issued")),
    ];
    cases.extend(ODD_URIS.map(|odd| (odd, named(&[uri(odd)]))));
    cases
}

#[tokio::test]
async fn nobody_gets_to_a_handler_with_a_bad_certificate() {
    let house = Plan::new().open().await;
    let cases = bad(&house);
    assert_eq!(cases.len(), 39);
    for (count, (name, who)) in cases.iter().enumerate() {
        assert!(!is_spoken_to(&house, who).await, "{name} was let in");
        house.register.has(count + 1).await;
        let refusal = house.register.last();
        assert_eq!((refusal.reason, refusal.caller), (Reason::PeerUntrusted, None), "{name}");
        assert_eq!((house.reached(), house.standing.connections()), (0, 0), "{name}");
    }
    assert_eq!(house.register.all().len(), cases.len(), "one refusal for one attempt");
    assert!(is_spoken_to(&house, &house.issue(WORKER)).await, "the probe itself can be let in");
    house.enter(&house.issue(WORKER)).await.expect("a good one is let in after all these");
}

#[tokio::test]
async fn the_client_says_not_admitted_and_tries_once() {
    let house = Plan::new().open().await;
    let foreign = house.issue("spiffe://other.test/worker/pool-a/w1");
    let stranger =
        TestCa::new(TRUST_DOMAIN, house.clock.now()).expect("another root").issue(WORKER, &Options::default());
    for (count, who) in [foreign, stranger.expect("issued")].iter().enumerate() {
        let outcome = house.enter(who).await;
        assert!(not_admitted(&outcome), "{:?}", outcome.err());
        house.register.has(count + 1).await;
        assert_eq!(house.register.all().len(), count + 1, "one attempt is one handshake");
    }
    assert_eq!(house.reached(), 0);
}

#[test]
fn the_leaf_is_read_by_itself_and_says_what_is_wrong() {
    let plan = Plan::new();
    let now = plan.clock.now();
    let ca = &plan.ca;
    let read = |issued: Issued| {
        caller_from_certificate(issued.der(), TRUST_DOMAIN).map(|caller| caller.identity().to_string())
    };
    let with = |options: Options| read(ca.issue(WORKER, &options).expect("issued"));
    let named = |names: &[Name]| read(ca.issue_named(names, &Options::default()).expect("issued"));
    let good = Options::default;
    let other = Name::Uri("spiffe://cofre.test/worker/pool-a/w2".to_owned());
    let worker = Name::Uri(WORKER.to_owned());

    assert_eq!(with(good()), Ok(WORKER.to_owned()));
    assert_eq!(named(&[Name::Dns("w1".to_owned()), worker.clone()]), Ok(WORKER.to_owned()), "other kinds mean nothing");
    assert_eq!(with(Options { authority: true, ..good() }), Err(PeerError::Authority));
    assert_eq!(with(Options { purposes: vec![Purpose::Any], ..good() }), Err(PeerError::ExtendedKeyUsage));
    assert_eq!(with(Options { purposes: vec![], ..good() }), Err(PeerError::ExtendedKeyUsage));
    assert_eq!(with(Options { usages: vec![], ..good() }), Err(PeerError::KeyUsage));
    assert_eq!(with(Options { usages: vec![Usage::KeyAgreement], ..good() }), Err(PeerError::KeyUsage));
    let signing = vec![Usage::DigitalSignature, Usage::KeyCertSign];
    assert_eq!(with(Options { usages: signing, ..good() }), Err(PeerError::SigningKey));
    assert_eq!(with(Options { unknown_critical: true, ..good() }), Err(PeerError::UnknownCritical));
    assert_eq!(with(Options { padding: 9 * 1024, ..good() }), Err(PeerError::TooLarge));
    assert_eq!(named(&[]), Err(PeerError::NoUri));
    assert_eq!(named(&[worker, other]), Err(PeerError::SeveralUris));
    assert_eq!(named(&[Name::RawUri(vec![0xff])]), Err(PeerError::Malformed));
    let foreign = Name::Uri("spiffe://other.test/worker/pool-a/w1".to_owned());
    assert_eq!(named(&[foreign]), Err(PeerError::Identity(IdentityError::TrustDomain)));

    let whole = ca.issue(WORKER, &Options { not_before: Some(now), ..good() }).expect("issued").der().to_vec();
    for cut in 0..whole.len() {
        let read = caller_from_certificate(&whole[..cut], TRUST_DOMAIN);
        assert_eq!(read, Err(PeerError::Malformed), "cut at {cut}");
    }
    let known = caller_from_certificate(&whole, TRUST_DOMAIN).expect("a good leaf");
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x01;
        // The signature is not this function's business; that other bytes are another caller is.
        let read = caller_from_certificate(&flipped, TRUST_DOMAIN);
        assert!(read.is_err() || read.is_ok_and(|caller| caller.fingerprint() != known.fingerprint()), "flip at {at}");
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert_eq!(caller_from_certificate(&longer, TRUST_DOMAIN), Err(PeerError::Malformed));
}
