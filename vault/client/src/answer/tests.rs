//! Challenge keys under the authorities, and whoever else could have put one there.

use super::*;
use crate::identity::Identity;
use crate::samples::{NOW, Standing};
use cofre_envelope::{Suite, WorkerKeyPair, open_answer};
use cofre_model::request::SealKey;
use cofre_model::time::Span;
use cofre_testkit::ca::{Options, TestCa};

const WORKER: &str = "spiffe://cofre.test/worker/pool-a/w1";

fn identity(ca: &TestCa, uri: &str, bundle: &TestCa) -> Identity {
    let issued = ca.issue(uri, &Options::default()).expect("issued");
    let (chain, key) = (issued.chain_pem().to_owned(), issued.key_pem());
    Identity::from_pem(chain.as_bytes(), key.as_bytes(), bundle.bundle_pem().as_bytes()).expect("an identity")
}

fn trust(ca: &TestCa) -> Trust {
    let front_end = identity(ca, "spiffe://cofre.test/tenant/gestora/frontend/web", ca);
    Trust { roots: Arc::clone(front_end.roots()), trust_domain: "cofre.test".into(), clock: Arc::new(Standing) }
}

fn shown(by: &Identity, pair: &WorkerKeyPair) -> v1::WatchResponse {
    let (credential, challenge) = (CredentialId::from_parts(1, [1; 10]), ChallengeId::from_parts(1, [2; 10]));
    let key = SealKey { suite: pair.public().suite().into(), bytes: pair.public().as_bytes().to_vec() };
    let expires = NOW.plus(Span::minutes(2));
    let signed = statement::challenge_key(credential, challenge, 1, expires, &key);
    v1::WatchResponse {
        challenge_id: challenge.to_string(),
        credential_id: credential.to_string(),
        owner_id: SubjectId::from_parts(1, [3; 10]).to_string(),
        kind: ScaKind::SmsOtp.number(),
        code_length: 6,
        attempt: 1,
        expires_us: expires.micros(),
        key: Some(v1::ChallengeKey {
            suite: key.suite.number(),
            public_key: key.bytes,
            certificate_chain: by.chain().iter().map(|certificate| certificate.to_vec()).collect(),
            signature: by.sign(&signed).expect("signs"),
        }),
        tenant_id: TenantId::from_parts(1, [4; 10]).to_string(),
    }
}

fn refused(trust: &Trust, wire: v1::WatchResponse) -> NotVerified {
    match trust.challenge(wire) {
        Err(Error::NotVerified(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_reaches_the_worker_that_asked_and_nobody_else() {
    let ca = TestCa::new("cofre.test", NOW).and_then(TestCa::with_intermediate).expect("a CA");
    let pair = WorkerKeyPair::generate(Suite::MlKem768X25519).expect("a pair");
    let challenge = trust(&ca).challenge(shown(&identity(&ca, WORKER, &ca), &pair)).expect("verified");
    assert_eq!(challenge.worker.to_string(), WORKER);
    let sealed = challenge.seal(ClientSecret::copy_of(b"493027")).expect("sealed");
    let context = |attempt| AnswerContext {
        tenant: challenge.tenant,
        credential: challenge.credential,
        challenge: challenge.id,
        attempt,
    };
    let opened = open_answer(&pair, &context(1), &sealed).expect("opens");
    assert!(opened.with_bytes(|code| code == b"493027"));
    assert!(open_answer(&pair, &context(2), &sealed).is_err());
    let other = WorkerKeyPair::generate(Suite::MlKem768X25519).expect("a pair");
    assert!(open_answer(&other, &context(1), &sealed).is_err());
}

#[test]
fn a_key_put_there_on_the_way_is_refused() {
    let ca = TestCa::new("cofre.test", NOW).expect("a CA");
    let worker = identity(&ca, WORKER, &ca);
    let pair = WorkerKeyPair::generate(Suite::MlKem768X25519).expect("a pair");
    let own = WorkerKeyPair::generate(Suite::MlKem768X25519).expect("a pair");
    let changes: [&dyn Fn(&mut v1::WatchResponse); 4] = [
        &|wire| wire.key.as_mut().expect("there").public_key = own.public().as_bytes().to_vec(),
        &|wire| wire.attempt = 2,
        &|wire| wire.expires_us += 1,
        &|wire| wire.credential_id = CredentialId::from_parts(9, [1; 10]).to_string(),
    ];
    for change in changes {
        let mut wire = shown(&worker, &pair);
        change(&mut wire);
        assert_eq!(refused(&trust(&ca), wire), NotVerified::ChallengeKey);
    }
}

#[test]
fn only_a_trusted_workers_identity_counts() {
    let ca = TestCa::new("cofre.test", NOW).expect("a CA");
    let foreign = TestCa::new("cofre.test", NOW).expect("a CA");
    let pair = WorkerKeyPair::generate(Suite::MlKem768X25519).expect("a pair");
    for by in [
        identity(&foreign, WORKER, &foreign),
        identity(&ca, "spiffe://cofre.test/node/eu-nl/n1", &ca),
        identity(&ca, "spiffe://cofre.test/tenant/gestora/frontend/web", &ca),
        identity(&ca, "spiffe://other.test/worker/pool-a/w1", &ca),
    ] {
        assert_eq!(refused(&trust(&ca), shown(&by, &pair)), NotVerified::ChallengeIdentity);
    }
}
