//! A node with two keys of services, one of which is away when it starts.

#![allow(clippy::expect_used, reason = "a test that cannot go on stops")]

use cofre_envelope::{Backing, Room, Share};
use cofre_model::time::Span;
use cofre_testkit::ca::TestCa;
use cofre_testkit::clock::TestClock;
use cofre_testkit::kms::{CALLER, Kind as KeyKind, Kms, MOUNT};

use super::super::tokens::{self, Away, Driver};
use super::*;
use crate::ceremony;
use crate::clock::SystemClock;
use crate::config::Config;

struct Site {
    here: Kms,
    gone: Kms,
    folder: tempfile::TempDir,
    clock: Arc<TestClock>,
    slab: Arc<Slab>,
}

impl Site {
    /// Two services with their keys.
    async fn new() -> Self {
        let (here, gone) = (Kms::start().await.expect("a port"), Kms::start().await.expect("a port"));
        for kms in [&here, &gone] {
            kms.make("root-1", KeyKind::Aes).expect("a key");
            kms.make("ledger-1", KeyKind::Ed25519).expect("a key");
        }
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("token"), CALLER).expect("written");
        let slab = Slab::with_room(Backing::Mlock, Room { small: 64, large: 1 }).expect("locked memory");
        Self { here, gone, folder, clock: Arc::new(TestClock::default()), slab }
    }

    fn text(&self, set: &str, signer: &str) -> String {
        let key = |kms: &Kms| {
            let (address, token) = (kms.endpoint(), self.folder.path().join("token"));
            let token = token.display();
            format!(
                "transit = {{ address = \"{address}\", mount = \"{MOUNT}\", key = \"root-1\", \
                 signer_key = \"ledger-1:v1\", token = {{ file = \"{token}\" }} }}"
            )
        };
        format!(
            r#"
mode = "dev"
memory = "mlock"
deployment = "cofre.test"
operator = "AISP Ejemplo SL"
region = "eu-nl"
listen = {{ tenants_and_workers = "127.0.0.1:0", people = "127.0.0.1:0" }}
identity = {{ trust_domain = "cofre.test", certificate = "a", key = {{ file = "b" }}, bundle = "c", revocations = "d" }}
custody = {{ default = {set}, signer = "{signer}" }}
policies = {{ dir = "e" }}
[stores]
records = {{ sqlite = "f" }}
ciphertexts = {{ sqlite = "g" }}
keyring = {{ sqlite = "h" }}
[custodians.here]
{here}
[custodians.gone]
{gone}
"#,
            here = key(&self.here),
            gone = key(&self.gone),
        )
    }

    fn config(&self, set: &str, signer: &str) -> Config {
        Config::parse(&self.text(set, signer)).expect("a configuration")
    }

    /// Another key answers to the name.
    fn exchange(&self) {
        let _ = self.gone.take("root-1").expect("a key");
        self.gone.make("root-1", KeyKind::Aes).expect("another key");
    }

    /// The same, where the key that may go away has to be the one of its ceremony, which is held here.
    async fn recorded(&self, set: &str, signer: &str) -> Config {
        let now = SystemClock::new().now();
        let ca = TestCa::new("cofre.test", now).expect("a CA");
        let lists = ca.revocations(&[], now, now.plus(Span::days(1))).expect("a list");
        let file = |name: &str| self.folder.path().join(name);
        std::fs::write(file("bundle"), ca.bundle_pem()).expect("written");
        std::fs::write(file("lists"), lists).expect("written");
        let named = |name: &str| format!("\"{}\"", file(name).display());
        let text = self.text(set, signer).replace("bundle = \"c\"", &format!("bundle = {}", named("bundle")));
        let text = text.replace("revocations = \"d\"", &format!("revocations = {}", named("lists")));
        let config = Config::parse(&format!("{text}ceremony = {{ people = 0, record = {} }}\n", named("record")));
        let config = config.expect("a configuration");
        if !file("record").exists() {
            let custodian = CustodianId::try_from("gone").expect("a name");
            let record = Some(file("record"));
            let order = ceremony::Order { custodian, plan: None, approvals: Vec::new(), record };
            ceremony::init(&config, &order).await.expect("a ceremony");
        }
        config
    }

    async fn open(&self, set: &str, signer: &str, away: Away) -> anyhow::Result<Vec<Driver>> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let drivers = tokens::open(&self.config(set, signer), &clock, &self.slab, away).await?;
        // By name: gone, here.
        Ok(drivers.into_values().collect())
    }

    async fn wrap(&self, with: &Driver) -> Result<Wrapped, Fault> {
        let share = Share::fill(&self.slab, |slot| {
            slot.fill(7);
            Ok::<_, cofre_envelope::Error>(())
        });
        let context = cofre_envelope::context::WrapTenant {
            region: "eu-nl",
            tenant: cofre_model::id::TenantId::from_parts(1_790_000_000_000, [1; 10]),
            tenant_key_version: 1,
            custody_set: [3; 32],
            custodian: "gone",
            share_index: 0,
            share_count: 1,
        };
        let bound = share.expect("room").bind(&context).expect("bound");
        with.custodian().wrap(context.encode(), bound).await
    }
}

const ANY: &str = r#"{ any_of = ["gone", "here"] }"#;
const ALL: &str = r#"{ all_of = ["gone", "here"] }"#;

#[tokio::test]
async fn a_custodian_that_was_away_at_the_start_serves_when_it_is_back() {
    let site = Site::new().await;
    site.gone.go_away();
    let drivers = site.open(ANY, "here", Away::Borne).await.expect("starts");
    let [gone, here] = drivers.as_slice() else { panic!("two custodians") };
    assert_eq!(site.wrap(here).await.expect("serves").mechanism, Mechanism::TransitAead);
    here.custodian().check().await.expect("ready");
    assert_eq!(gone.custodian().describe().manufacturer, "away since the start");
    assert_eq!(gone.custodian().check().await.expect_err("named as not ready").cause, Cause::Transient);
    assert_eq!(site.wrap(gone).await.map(drop).expect_err("away").cause, Cause::Resting);
    site.gone.come_back().await.expect("the port is free");
    let fault = site.wrap(gone).await.map(drop).expect_err("tried a moment ago");
    assert_eq!((fault.cause, fault.request), (Cause::Resting, None), "nobody was asked");
    site.clock.advance(AGAIN);
    site.wrap(gone).await.map(drop).expect("serves");
    gone.custodian().check().await.expect("ready");
    let is = gone.custodian().describe();
    assert_eq!((is.manufacturer.as_str(), is.key_label.as_str()), ("transit", "transit/root-1"));
    gone.close().await.expect("closes");
    assert_eq!(site.wrap(gone).await.map(drop).expect_err("closed").cause, Cause::Stopped);
}

/// Whom only tenants' own sets name does not keep the node from starting: what it costs is those tenants' keys, and they
/// open when it is back. A set of new tenants that needs it does.
#[tokio::test]
async fn one_that_only_tenants_own_sets_name_is_opened_late_whatever_those_sets_are() {
    let site = Site::new().await;
    site.gone.go_away();
    let drivers = site.open(r#"{ any_of = ["here"] }"#, "here", Away::Borne).await.expect("starts");
    let [gone, here] = drivers.as_slice() else { panic!("two custodians") };
    assert!(gone.is_late() && !here.is_late());
    site.wrap(here).await.map(drop).expect("serves");
    assert_eq!(site.wrap(gone).await.map(drop).expect_err("away").cause, Cause::Transient);
    site.gone.come_back().await.expect("the port is free");
    site.clock.advance(AGAIN);
    site.wrap(gone).await.map(drop).expect("serves");
    site.gone.go_away();
    let error = site.open(r#"{ any_of = ["gone"] }"#, "here", Away::Borne).await.map(drop).expect_err("new tenants");
    assert!(format!("{error:#}").contains("custodian gone"), "{error:#}");
}

/// What is found wrong when it is back is found by the checks of a start, and nothing is wrapped.
#[tokio::test]
async fn a_late_custodian_is_held_to_every_check_of_a_start() {
    let site = Site::new().await;
    site.gone.go_away();
    let drivers = site.open(ANY, "here", Away::Borne).await.expect("starts");
    let [gone, _] = drivers.as_slice() else { panic!("two custodians") };
    site.gone.make_exportable("root-1").expect("a key");
    site.gone.come_back().await.expect("the port is free");
    let fault = site.wrap(gone).await.map(drop).expect_err("a key that may leave");
    assert_eq!(fault.cause, Cause::KeyUnsafe, "{fault}");
    assert_eq!(site.gone.count("root-1", "encrypt"), 0, "it was used");
}

#[tokio::test]
async fn closing_also_ends_what_was_never_opened() {
    let site = Site::new().await;
    site.gone.go_away();
    let drivers = site.open(ANY, "here", Away::Borne).await.expect("starts");
    let [gone, _] = drivers.as_slice() else { panic!("two custodians") };
    gone.close().await.expect("closes");
    site.gone.come_back().await.expect("the port is free");
    assert_eq!(site.wrap(gone).await.map(drop).expect_err("closed").cause, Cause::Stopped);
}

#[tokio::test]
async fn without_whom_no_key_opens_or_who_refuses_keeps_the_node_from_starting() {
    let site = Site::new().await;
    site.open(ALL, "gone", Away::Refused).await.expect("both are there");
    site.gone.go_away();
    for (set, signer, away) in [(ALL, "here", Away::Borne), (ANY, "gone", Away::Borne), (ANY, "here", Away::Refused)] {
        let error = site.open(set, signer, away).await.map(drop).expect_err(set);
        let said = format!("{error:#}");
        assert!(said.contains("custodian gone") && said.contains("TRANSIENT"), "{said}");
    }
    site.here.go_away();
    let error = site.open(ANY, "here", Away::Borne).await.map(drop).expect_err("nobody is there");
    assert!(format!("{error:#}").contains("custodian "), "{error:#}");
    site.here.come_back().await.expect("the port is free");
    site.gone.come_back().await.expect("the port is free");
    drop(site.gone.take("root-1"));
    let error = site.open(ANY, "here", Away::Borne).await.map(drop).expect_err("its key is missing");
    assert!(format!("{error:#}").contains("KEY_MISSING"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_key_is_not_the_recorded_one_starts_nothing() {
    let site = Site::new().await;
    let config = site.recorded(ANY, "here").await;
    let clock: Arc<dyn Clock> = site.clock.clone();
    let open = async |config: &Config| tokens::open(config, &clock, &site.slab, Away::Borne).await.map(drop);
    open(&config).await.expect("the recorded key");
    site.exchange();
    open(&site.config(ANY, "here")).await.expect("without a ceremony any key of the name serves");
    let why = format!("{:#}", open(&config).await.expect_err("another key"));
    assert!(why.contains("KEY_MISSING") && why.contains("at its ceremony does not open"), "{why}");
}

/// Who was away at the start is held to the record when it comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_comes_back_with_another_key_serves_nothing() {
    let site = Site::new().await;
    let config = site.recorded(ANY, "here").await;
    site.gone.go_away();
    let clock: Arc<dyn Clock> = site.clock.clone();
    let drivers = tokens::open(&config, &clock, &site.slab, Away::Borne).await.expect("starts");
    let drivers: Vec<_> = drivers.into_values().collect();
    let [gone, _] = drivers.as_slice() else { panic!("two custodians") };
    assert_eq!(site.wrap(gone).await.map(drop).expect_err("away").cause, Cause::Transient);
    site.exchange();
    site.gone.come_back().await.expect("the port is free");
    site.clock.advance(AGAIN);
    let fault = site.wrap(gone).await.map(drop).expect_err("another key");
    assert_eq!(fault.cause, Cause::KeyMissing, "{fault}");
    assert!(fault.to_string().contains("at its ceremony does not open"), "{fault}");
}
