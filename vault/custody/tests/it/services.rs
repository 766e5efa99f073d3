//! Services that fail: a table of causes by driver. Each state of a service gives its own cause; while it lasts nothing is
//! unwrapped, wrapped or signed; when it ends the same driver serves again. A cell that says a service is not touched by a
//! fault is asserted like any other.

use std::time::{Duration, Instant};

use cofre_custody::Cause;
use cofre_custody::remote::Patience;
use cofre_testkit::kms::{CALLER, Kind, Kms, Spoilt, State, Weather};

use crate::bench::{context, share, slab, tries};
use crate::contract::{KEY, SIGNER, runtime, unwrapped, wrapped};
use crate::site::{Form, Held, Served, Wanted};

mod opening;
mod recorded;
mod surroundings;
mod tls;
mod versions;

/// What the custodian answers to one thing asked of it; nothing where it serves.
type Outcome = Option<Cause>;

/// What is expected of unwrap, wrap, sign and check, for each driver.
struct Row {
    what: &'static str,
    /// How long the driver waits: briefly only where the service is slow, so that a busy machine is taken for none.
    patience: Patience,
    begin: fn(&Kms),
    /// By AWS, Google and transit: unwrap, wrap, sign, check.
    expected: [[Outcome; 4]; 3],
}

const SERVES: [Outcome; 4] = [None; 4];

const fn all(cause: Cause) -> [Outcome; 4] {
    [Some(cause); 4]
}

const fn same(what: &'static str, begin: fn(&Kms), cause: Cause) -> Row {
    Row { what, patience: CALM, begin, expected: [all(cause); 3] }
}

fn weather(kms: &Kms, weather: Weather) {
    kms.set_weather(weather);
}

/// Both keys, in every version.
fn state(kms: &Kms, state: State) {
    kms.set(KEY, None, state).expect("a key");
    kms.set(SIGNER, None, state).expect("a key");
}

fn spoil(kms: &Kms, what: Spoilt) {
    weather(kms, Weather { spoilt: Some(what), ..Weather::default() });
}

const BAD: Outcome = Some(Cause::BadChecksum);

const ROWS: &[Row] = &[
    same("throttled", |kms| weather(kms, Weather { throttled: true, ..Weather::default() }), Cause::Throttled),
    same("failing inside", |kms| weather(kms, Weather { broken: true, ..Weather::default() }), Cause::Transient),
    same("answers cut off", |kms| weather(kms, Weather { cut: true, ..Weather::default() }), Cause::Transient),
    same(
        "another server at the address",
        |kms| weather(kms, Weather { stranger: true, ..Weather::default() }),
        Cause::EndpointWrong,
    ),
    same("nothing at the address", Kms::go_away, Cause::Transient),
    Row {
        patience: QUICK,
        ..same(
            "too slow",
            |kms| weather(kms, Weather { latency: Duration::from_secs(60), ..Weather::default() }),
            Cause::Timeout,
        )
    },
    same(
        "caller refused",
        |kms| weather(kms, Weather { denied: [CALLER.to_owned()].into(), ..Weather::default() }),
        Cause::Denied,
    ),
    same("key disabled", |kms| state(kms, State::Disabled), Cause::KeyDisabled),
    same("key scheduled for destruction", |kms| state(kms, State::PendingDeletion), Cause::KeyPendingDeletion),
    Row {
        what: "key destroyed",
        patience: CALM,
        begin: |kms| state(kms, State::Destroyed),
        // AWS and transit know a destroyed key no more than one that never was.
        expected: [all(Cause::KeyMissing), all(Cause::KeyDestroyed), all(Cause::KeyMissing)],
    },
    Row {
        what: "service's clock an hour ahead",
        patience: CALM,
        begin: |kms| weather(kms, Weather { ahead: 3600, ..Weather::default() }),
        expected: [all(Cause::ClockSkew), all(Cause::ClockSkew), SERVES],
    },
    Row {
        what: "service's clock an hour behind",
        patience: CALM,
        begin: |kms| weather(kms, Weather { ahead: -3600, ..Weather::default() }),
        expected: [all(Cause::ClockSkew), all(Cause::ClockSkew), SERVES],
    },
    // Google alone has checksums. A look at a key carries none.
    Row {
        what: "requests changed on the way",
        patience: CALM,
        begin: |kms| spoil(kms, Spoilt::Request),
        expected: [SERVES, [BAD, BAD, BAD, None], SERVES],
    },
    Row {
        what: "answers changed on the way",
        patience: CALM,
        begin: |kms| spoil(kms, Spoilt::Answer),
        expected: [SERVES, [BAD, BAD, BAD, None], SERVES],
    },
    Row {
        what: "checksums not compared by the service",
        patience: CALM,
        begin: |kms| spoil(kms, Spoilt::Unverified),
        expected: [SERVES, [None, BAD, BAD, None], SERVES],
    },
];

const fn column(form: Form) -> usize {
    match form {
        Form::Aws => 0,
        Form::Gcp => 1,
        Form::Transit | Form::Derived => 2,
    }
}

#[test]
fn aws_kms_fails_as_the_table_says() {
    table(Form::Aws);
}

#[test]
fn google_cloud_kms_fails_as_the_table_says() {
    table(Form::Gcp);
}

#[test]
fn transit_fails_as_the_table_says() {
    table(Form::Transit);
}

fn table(form: Form) {
    let wrong: Vec<String> = runtime().block_on(async {
        let mut wrong = Vec::new();
        for row in ROWS {
            wrong.extend(put_to(form, row).await);
        }
        wrong
    });
    assert!(wrong.is_empty(), "{} cells of the table are wrong\n{}", wrong.len(), wrong.join("\n"));
}

/// Limits that only a service is beyond which does not answer.
pub(crate) const CALM: Patience =
    Patience { attempt: Duration::from_secs(20), total: Duration::from_secs(60), at_once: 64 };
/// Short limits, so that a service that does not answer costs little.
pub(crate) const QUICK: Patience =
    Patience { attempt: Duration::from_millis(500), total: Duration::from_millis(1200), at_once: 64 };

/// A service, and a driver that served before.
pub(crate) async fn open(form: Form) -> (Served, Held, Vec<u8>) {
    open_with(form, CALM).await
}

async fn open_with(form: Form, patience: Patience) -> (Served, Held, Vec<u8>) {
    let mut served = Served::start(form, Kind::P256).await;
    let wanted = Wanted { signer: Some(SIGNER), ..Wanted::default() };
    let bytes = wrapped(&served.open(wanted).await.unwrap_or_else(|fault| panic!("{fault}"))).await;
    served.patience = patience;
    let held = served.opened_in_the_end(wanted).await;
    (served, held, bytes)
}

/// What it answers now to unwrap, wrap, sign and check.
async fn asked(held: &Held, bytes: &[u8]) -> [Outcome; 4] {
    let unwrapping = unwrapped(held, bytes.to_vec()).await.map(|share| assert_eq!(share, 7, "a share nobody wrapped"));
    let context = context("hsm-1");
    let bound = share(&slab(), 7).bind(&context).expect("bound");
    let wrapping = held.wrap(context.encode(), bound).await.map(drop);
    let signing = held.signer().expect("a signer").sign(b"a message").await.map(drop);
    let checking = held.check().await;
    [unwrapping, wrapping, signing, checking].map(|answer| answer.err().map(|fault| fault.cause))
}

async fn put_to(form: Form, row: &Row) -> Vec<String> {
    let (served, held, bytes) = open_with(form, row.patience).await;
    let expected = row.expected[column(form)];
    let mut wrong = Vec::new();
    (row.begin)(&served.kms);
    for number in 0..tries() {
        let found = asked(&held, &bytes).await;
        if found != expected {
            wrong.push(format!("{}, {form:?}, try {number}: expected {expected:?}, found {found:?}", row.what));
            break;
        }
    }
    // The cause ends. The same driver serves again, and what was wrapped before is still there.
    served.kms.set_weather(Weather::default());
    state(&served.kms, State::Enabled);
    served.kms.come_back().await.expect("the port is still free");
    if let Err(last) = serves_within(&held, &bytes, Duration::from_secs(10)).await {
        wrong.push(format!("{}, {form:?}: serves no more afterwards: {last:?}", row.what));
    }
    wrong
}

/// Whether the driver serves again: ten seconds are enough for it, and on a machine that hardly moves it is asked as often
/// as it would be elsewhere in a part of them.
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is asked")]
pub(crate) async fn serves_within(held: &Held, bytes: &[u8], limit: Duration) -> Result<(), [Outcome; 4]> {
    let begun = Instant::now();
    for asking in 1.. {
        let found = asked(held, bytes).await;
        if found == SERVES {
            break;
        }
        if begun.elapsed() > limit && asking > 20 {
            return Err(found);
        }
    }
    Ok(())
}

/// Every cause that a service can give has a row, and advice of its own.
#[test]
fn every_cause_of_a_service_is_in_the_table() {
    let said: Vec<Cause> = ROWS.iter().flat_map(|row| row.expected.iter().flatten().filter_map(|cell| *cell)).collect();
    for cause in [
        Cause::Transient,
        Cause::Timeout,
        Cause::Throttled,
        Cause::Denied,
        Cause::KeyDisabled,
        Cause::KeyPendingDeletion,
        Cause::KeyDestroyed,
        Cause::KeyMissing,
        Cause::EndpointWrong,
        Cause::ClockSkew,
        Cause::BadChecksum,
    ] {
        assert!(said.contains(&cause), "{cause} has no row");
    }
    let advice: std::collections::BTreeSet<&str> = Cause::ALL.iter().map(|cause| cause.advice()).collect();
    assert_eq!(advice.len(), Cause::ALL.len(), "two causes share their advice");
}
