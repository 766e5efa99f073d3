//! What the drivers tell of keys is what a record takes, of each service that a driver speaks to.

#![allow(clippy::expect_used, reason = "a test that cannot go on stops")]

use cofre_custody::remote::Patience;
use cofre_custody::{aws, gcp};
use cofre_envelope::{Backing, Room};
use cofre_ledger::ceremony::Plan;
use cofre_model::time::Timestamp;
use cofre_testkit::kms::{CALLER, Kind, Kms, REGION, SECRET};

use super::*;

fn one() -> CustodianId {
    CustodianId::try_from("one").expect("a name")
}

fn told_in_a_record(service: &Service, place: String, label: String, mechanism: &str) -> Record {
    let mechanism = mechanism.to_owned();
    let plan = Plan {
        deployment: "cofre.test".into(),
        custodian: "one".into(),
        place,
        module_sha256: "-".into(),
        people: 2,
        keys: vec![PlannedKey { used_to: Use::Wrap, label, mechanism }],
    };
    let at = Timestamp::from_secs(1_790_000_000);
    let ordered = Ordered { plan, approvals: Vec::new(), at, tool: "cofred 0.1.0".into() };
    Record::of(body(service, ordered, None)).expect("as such a key has to be")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_drivers_tell_is_what_a_record_takes() {
    let kms = Kms::start().await.expect("a port");
    kms.make("root-1", Kind::Aes).expect("a key");
    let slab = Slab::with_room(Backing::Mlock, Room { small: 64, large: 1 }).expect("locked memory");
    let patience = Patience::default();

    let settings = aws::Settings {
        id: one(),
        key: Kms::arn("root-1"),
        region: REGION.into(),
        endpoint: kms.endpoint(),
        signer_key: None,
        patience,
    };
    let caller = aws::Credentials::Fixed { id: CALLER.to_owned(), secret: SECRET.to_owned().into() };
    let opened = Service::Aws(aws::AwsKms::connect(settings, caller, &slab).await.expect("opens"));
    let place = format!("aws-kms {}", kms.endpoint());
    let text = told_in_a_record(&opened, place, Kms::arn("root-1"), "aws-kms").to_string();
    assert!(text.contains("attribute Origin AWS_KMS\n") && text.contains("attribute KeyState Enabled\n"), "{text}");

    let settings =
        gcp::Settings { id: one(), key: Kms::resource("root-1"), endpoint: kms.endpoint(), signer_key: None, patience };
    let (caller, clock): (_, Arc<dyn Clock>) =
        (gcp::Credentials::Bearer(CALLER.to_owned().into()), Arc::new(SystemClock::new()));
    let opened = Service::Gcp(gcp::GcpKms::connect(settings, caller, clock, &slab).await.expect("opens"));
    let place = format!("gcp-kms {}", kms.endpoint());
    let text = told_in_a_record(&opened, place, Kms::resource("root-1"), "gcp-kms").to_string();
    assert!(text.contains("attribute importOnly false\nattribute importJob none\n"), "{text}");
}
