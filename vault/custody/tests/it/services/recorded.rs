//! Keys of services held to the record of their ceremony: a key of the same name that is another is refused, whatever it
//! says of itself.

use std::time::Duration;

use cofre_custody::recorded::{Recorded, Witness};
use cofre_custody::{Cause, Fault, Mechanism, Operation, VerifyingKey};
use cofre_testkit::kms::{Kind, State, Taken, Weather};

use crate::bench::{context, share, slab};
use crate::contract::{KEY, SIGNER, runtime};
use crate::site::{Form, Held, Served, Wanted};

const WITH_SIGNER: Wanted = Wanted { key: KEY, signer: Some(SIGNER) };

async fn opened(served: &Served) -> Held {
    served.open(WITH_SIGNER).await.unwrap_or_else(|fault| panic!("{fault}"))
}

/// What its ceremony would have recorded of it.
fn recorded(held: &Held) -> (Recorded, String) {
    let Witness { wrapped: witness, key, sha256 } = held.witness();
    let signer = Some(*held.signer().expect("it signs").public_key());
    (Recorded { witness, sha256, signer, mechanism: held.describe().mechanism }, key)
}

fn another(held: Result<(), Fault>, words: &str) {
    let fault = held.expect_err("another");
    assert_eq!((fault.operation, fault.cause), (Operation::Probe, Cause::KeyMissing), "{fault}");
    assert!(fault.to_string().contains(words), "{fault}");
}

#[test]
fn a_key_of_a_service_is_the_recorded_one_or_is_refused() {
    runtime().block_on(async {
        for form in Form::ALL {
            let served = Served::start(form, Kind::Ed25519).await;
            let (was, key) = recorded(&opened(&served).await);
            let version = match form {
                Form::Aws => served.name(KEY),
                Form::Gcp => format!("{}/cryptoKeyVersions/1", served.name(KEY)),
                Form::Transit | Form::Derived => format!("{}:v1", served.name(KEY)),
            };
            assert_eq!(key, version);
            opened(&served).await.is_recorded(&was).await.unwrap_or_else(|fault| panic!("{form:?}: {fault}"));
            served.kms.rotate(KEY).expect("rotates");
            opened(&served).await.is_recorded(&was).await.unwrap_or_else(|fault| panic!("{form:?}: {fault}"));

            // Another key answers to the name, and does all that a key has to.
            let taken = served.kms.take(KEY).expect("a key");
            let kind = if form == Form::Derived { Kind::Derived } else { Kind::Aes };
            served.kms.make(KEY, kind).expect("another key");
            another(opened(&served).await.is_recorded(&was).await, "wrapped at its ceremony does not open");
            served.kms.put(KEY, taken);

            let held = opened(&served).await;
            let changed = |change: fn(&mut Recorded)| {
                let mut recorded = was.clone();
                change(&mut recorded);
                recorded
            };
            let value = changed(|recorded| recorded.sha256 = [7; 32]);
            another(held.is_recorded(&value).await, "wrapped at its ceremony does not open");
            let none = changed(|recorded| recorded.witness.clear());
            another(held.is_recorded(&none).await, "wrapped at its ceremony does not open");
            let signer = changed(|recorded| recorded.signer = Some(VerifyingKey::Ed25519([7; 32])));
            another(held.is_recorded(&signer).await, "signs with another key");
            let way = changed(|recorded| recorded.mechanism = Mechanism::AesGcm);
            another(held.is_recorded(&way).await, "wraps in another way");
            held.is_recorded(&was).await.unwrap_or_else(|fault| panic!("{form:?}: {fault}"));
        }
    });
}

/// Of an ended version the service says so: what was recorded under it has to be recorded anew.
#[test]
fn a_version_that_was_ended_since_is_named() {
    for (form, state, cause) in
        [(Form::Gcp, State::Destroyed, Cause::KeyDestroyed), (Form::Transit, State::Disabled, Cause::KeyDisabled)]
    {
        runtime().block_on(async {
            let served = Served::start(form, Kind::Ed25519).await;
            let (was, _) = recorded(&opened(&served).await);
            served.kms.rotate(KEY).expect("rotates");
            served.kms.set(KEY, Some(1), state).expect("a version");
            let fault = opened(&served).await.is_recorded(&was).await.expect_err("ended");
            assert_eq!(fault.cause, cause, "{fault}");
        });
    }
}

/// What became of wrapping a share.
async fn wrap(held: &Held) -> Result<(), Fault> {
    let context = context("hsm-1");
    let bound = share(&slab(), 7).bind(&context).expect("bound");
    held.wrap(context.encode(), bound).await.map(drop)
}

/// Another key under the same name, and the one that was there.
fn remade(served: &Served) -> Taken {
    let taken = served.kms.take(KEY).expect("a key");
    let kind = if served.form == Form::Derived { Kind::Derived } else { Kind::Aes };
    served.kms.make(KEY, kind).expect("another key");
    taken
}

const LOST: &str = "wrapped at its ceremony does not open";

/// Who was opened on the recorded key is held to it afterwards. A check costs one call, as one that only looks.
#[test]
fn a_key_that_is_remade_while_it_is_open_is_found_by_checks_and_wraps_nothing_then() {
    runtime().block_on(async {
        for form in Form::ALL {
            let served = Served::start(form, Kind::Ed25519).await;
            let held = opened(&served).await;
            held.hold_to(&recorded(&held).0).await.unwrap_or_else(|fault| panic!("{form:?}: {fault}"));
            let before = served.kms.requests();
            for _ in 0..10 {
                held.check().await.unwrap_or_else(|fault| panic!("{form:?}: {fault}"));
            }
            assert_eq!(served.kms.requests() - before, 10, "{form:?}: a check is one call");
            let mut others = recorded(&held).0;
            others.witness = served_by_nobody(&others.witness);
            assert!(held.hold_to(&others).await.is_err(), "{form:?}: held to one record");

            let was = remade(&served);
            assert!(held.check().await.is_ok(), "{form:?}: it looks, and what it sees is as it was");
            another(held.check().await, LOST);
            another(wrap(&held).await, LOST);
            another(held.check().await, LOST);
            served.kms.put(KEY, was);
            held.check().await.unwrap_or_else(|fault| panic!("{form:?}: {fault}"));
            wrap(&held).await.unwrap_or_else(|fault| panic!("{form:?}: {fault}"));
        }
    });
}

fn served_by_nobody(witness: &[u8]) -> Vec<u8> {
    let mut bytes = witness.to_vec();
    let last = bytes.last_mut().expect("bytes");
    *last = if *last == b'A' { b'B' } else { b'A' };
    bytes
}

/// While a service does not answer its key may be remade: after any try that failed the value is opened before a wrap.
#[test]
fn after_trouble_nothing_is_wrapped_before_the_recorded_value_opened() {
    runtime().block_on(async {
        for form in Form::ALL {
            let served = Served::start(form, Kind::Ed25519).await;
            let held = opened(&served).await;
            held.hold_to(&recorded(&held).0).await.unwrap_or_else(|fault| panic!("{form:?}: {fault}"));
            served.kms.set_weather(Weather { throttled: true, ..Weather::default() });
            assert_eq!(wrap(&held).await.expect_err("throttled").cause, Cause::Throttled);
            let was = remade(&served);
            served.kms.set_weather(Weather::default());
            another(wrap(&held).await, LOST);
            served.kms.put(KEY, was);
            wrap(&held).await.unwrap_or_else(|fault| panic!("{form:?}: {fault}"));
        }
    });
}

/// Without trouble, and without a check: ten seconds after the value opened it is opened again before a wrap.
#[test]
fn seconds_after_the_recorded_value_opened_it_is_opened_again_before_a_wrap() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for form in Form::ALL {
            let served = Served::start(form, Kind::Ed25519).await;
            let held = opened(&served).await;
            held.hold_to(&recorded(&held).0).await.unwrap_or_else(|fault| panic!("{form:?}: {fault}"));
            wrap(&held).await.unwrap_or_else(|fault| panic!("{form:?}: {fault}"));
            let _was = remade(&served);
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(10)).await;
            tokio::time::resume();
            another(wrap(&held).await, LOST);
        }
    });
}
