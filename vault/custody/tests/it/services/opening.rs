//! Opening a driver against a service that is not as it should be: each start that fails says why, and makes nothing.

use cofre_custody::aws::{self, AwsKms};
use cofre_custody::gcp::{self, GcpKms};
use cofre_custody::transit::TransitKey;
use cofre_custody::{Cause, Fault, Operation};
use cofre_testkit::kms::{CALLER, Kind, SECRET, State, Weather};

use crate::bench::slab;
use crate::contract::{KEY, SIGNER, runtime, unwrapped, wrapped};
use crate::site::{Form, Held, Served, Wanted};

const WITH_SIGNER: Wanted = Wanted { key: KEY, signer: Some(SIGNER) };

async fn start(form: Form) -> Served {
    Served::start(form, Kind::Ed25519).await
}

fn refused(opened: Result<Held, Fault>) -> Fault {
    opened.map(drop).expect_err("must not open")
}

#[test]
fn a_start_says_what_is_wrong_with_the_key() {
    runtime().block_on(async {
        for form in Form::ALL {
            let served = start(form).await;
            let missing = refused(served.open(Wanted { key: "root-9", ..Wanted::default() }).await);
            assert_eq!((missing.operation, missing.cause), (Operation::FindKey, Cause::KeyMissing), "{form:?}");
            // A key that signs is none that wraps.
            let other = refused(served.open(Wanted { key: SIGNER, ..Wanted::default() }).await);
            assert_eq!(other.cause, Cause::Unsupported, "{form:?}");
            let turned = refused(served.open(Wanted { key: KEY, signer: Some(KEY) }).await);
            assert!(matches!(turned.cause, Cause::Unsupported | Cause::KeyMissing), "{form:?} {turned}");
            for (state, cause) in
                [(State::Disabled, Cause::KeyDisabled), (State::PendingDeletion, Cause::KeyPendingDeletion)]
            {
                served.kms.set(KEY, None, state).expect("a key");
                assert_eq!(refused(served.open(WITH_SIGNER).await).cause, cause, "{form:?}");
            }
            served.kms.set(KEY, None, State::Enabled).expect("a key");
            served.open(WITH_SIGNER).await.map(drop).unwrap_or_else(|fault| panic!("{form:?}: {fault}"));
        }
    });
}

#[test]
fn a_start_says_what_is_wrong_with_the_address_and_the_caller() {
    runtime().block_on(async {
        for form in [Form::Aws, Form::Gcp, Form::Transit] {
            let served = start(form).await;
            if form == Form::Transit {
                std::fs::write(served.token(), "somebody").expect("written");
            }
            assert_eq!(refused(served.open_as(WITH_SIGNER, "somebody").await).cause, Cause::Denied, "{form:?}");
            std::fs::write(served.token(), CALLER).expect("written");
            served.kms.set_weather(Weather { stranger: true, ..Weather::default() });
            assert_eq!(refused(served.open(WITH_SIGNER).await).cause, Cause::EndpointWrong, "{form:?}");
            served.kms.set_weather(Weather::default());
            served.kms.go_away();
            let away = refused(served.open(WITH_SIGNER).await);
            assert!(away.cause == Cause::Transient && away.cause.retryable(), "{form:?} {away}");
            served.kms.come_back().await.expect("the port is still free");
            served.open(WITH_SIGNER).await.map(drop).unwrap_or_else(|fault| panic!("{form:?}: {fault}"));
        }
    });
}

#[test]
fn a_wrong_secret_a_wrong_region_and_a_name_nobody_knows_differ() {
    runtime().block_on(async {
        // No name server has to be asked: a label of a name is no longer than 63.
        let nobody = format!("http://{}.invalid:80", "k".repeat(64));
        let served = start(Form::Aws).await;
        let fixed = |secret: &str| aws::Credentials::Fixed { id: CALLER.into(), secret: secret.to_owned().into() };
        let wrong = AwsKms::connect(served.aws(WITH_SIGNER), fixed("not the secret"), &slab()).await;
        let fault = wrong.map(drop).expect_err("not the secret");
        assert_eq!(fault.cause, Cause::Denied);
        assert!(!format!("{fault} {fault:?}").contains("not the secret"));
        let mut elsewhere = served.aws(WITH_SIGNER);
        elsewhere.region = "eu-south-2".into();
        let fault = AwsKms::connect(elsewhere, fixed(SECRET), &slab()).await.map(drop).expect_err("another region");
        assert_eq!(fault.cause, Cause::EndpointWrong, "{fault}");
        let mut nowhere = served.aws(WITH_SIGNER);
        nowhere.endpoint = nobody.clone();
        let fault = AwsKms::connect(nowhere, fixed(SECRET), &slab()).await.map(drop).expect_err("no such name");
        assert_eq!(fault.cause, Cause::EndpointWrong, "{fault}");
        let served = start(Form::Gcp).await;
        let mut nowhere = served.gcp(WITH_SIGNER);
        nowhere.endpoint = nobody.clone();
        let bearer = gcp::Credentials::Bearer(CALLER.to_owned().into());
        let clock = std::sync::Arc::new(crate::bench::HandClock::default());
        let fault = GcpKms::connect(nowhere, bearer, clock, &slab()).await.map(drop).expect_err("no such name");
        assert_eq!(fault.cause, Cause::EndpointWrong, "{fault}");
    });
}

#[test]
fn a_key_of_transit_that_may_leave_is_refused_and_a_renewed_token_is_taken() {
    runtime().block_on(async {
        let served = start(Form::Transit).await;
        let held = served.open(WITH_SIGNER).await.expect("opens");
        let bytes = wrapped(&held).await;
        std::fs::remove_file(served.token()).expect("removed");
        let check = async |held: &Held| unwrapped(held, bytes.clone()).await.map(drop).map_err(|fault| fault.cause);
        assert_eq!(check(&held).await, Err(Cause::Denied));
        std::fs::write(served.token(), "expired").expect("written");
        assert_eq!(check(&held).await, Err(Cause::Denied));
        std::fs::write(served.token(), CALLER).expect("written");
        assert_eq!(check(&held).await, Ok(()));
        served.kms.make_exportable(KEY).expect("a key");
        let context = crate::bench::context("hsm-1");
        let bound = crate::bench::share(&slab(), 7).bind(&context).expect("bound");
        let wrapping = held.wrap(context.encode(), bound).await.map(drop);
        assert_eq!(wrapping.expect_err("it may leave now").cause, Cause::KeyUnsafe);
        assert_eq!(refused(served.open(WITH_SIGNER).await).cause, Cause::KeyUnsafe);
        let mut elsewhere = served.transit(WITH_SIGNER);
        elsewhere.mount = "elsewhere".into();
        let fault = TransitKey::connect(elsewhere, &slab()).await.map(drop).expect_err("no such mount");
        assert_eq!(fault.cause, Cause::EndpointWrong, "{fault}");
    });
}

/// A share goes where the configuration says and nowhere else, whatever an answer says.
#[test]
fn a_redirect_is_not_followed() {
    runtime().block_on(async {
        for form in [Form::Aws, Form::Gcp, Form::Transit] {
            let (served, other) = (start(form).await, start(form).await);
            let held = served.open(WITH_SIGNER).await.expect("opens");
            let bytes = wrapped(&held).await;
            let elsewhere = Some(other.kms.endpoint());
            served.kms.set_weather(Weather { elsewhere, ..Weather::default() });
            let before = served.kms.requests();
            assert_eq!(
                unwrapped(&held, bytes.clone()).await.expect_err("moved").cause,
                Cause::EndpointWrong,
                "{form:?}"
            );
            let signing = held.signer().expect("a signer").sign(b"a message").await;
            assert_eq!(signing.expect_err("moved").cause, Cause::EndpointWrong, "{form:?}");
            assert_eq!((served.kms.requests(), other.kms.requests()), (before + 2, 0), "{form:?}");
            served.kms.set_weather(Weather::default());
            assert_eq!(unwrapped(&held, bytes).await.expect("opens"), 7);
        }
    });
}

#[test]
fn nothing_a_driver_says_shows_who_it_is() {
    runtime().block_on(async {
        for form in [Form::Aws, Form::Gcp, Form::Transit] {
            let served = start(form).await;
            let held = served.open(WITH_SIGNER).await.expect("opens");
            let denied = Weather { denied: [CALLER.to_owned()].into(), ..Weather::default() };
            served.kms.set_weather(denied);
            let fault = held.signer().expect("a signer").sign(b"a message").await.expect_err("denied");
            let said = format!("{held:?} {fault} {fault:?} {:?}", held.describe());
            assert!(!said.contains(SECRET) && !said.contains(CALLER), "{said}");
        }
    });
}
