//! Custodians of different makes for different tenants in one process: two PKCS#11 modules and a service at once, what the
//! loss of one costs, and what pulling a key does.

use std::collections::BTreeMap;
use std::sync::Arc;

use cofre_custody::aws::{self, AwsKms};
use cofre_custody::pkcs11::Token;
use cofre_custody::{Cause, Custodian, Error, TenantRef, WARM_FOR, Warmed};
use cofre_model::time::Span;
use cofre_testkit::hsm::{Module, TokenFolder};
use cofre_testkit::kms::{CALLER, Kind, SECRET, State};

use crate::bench::{Child, Runs, custodian, faults, slab};
use crate::contract::{KEY, USER_PIN, pin, prepared, settings};
use crate::site::{Form, Served, Wanted};
use crate::warm::House;

/// Who holds whose key.
const TENANTS: [(u8, &str); 6] = [
    (1, "any_of(sim)"),
    (2, "any_of(soft)"),
    (3, "any_of(kms)"),
    (4, "all_of(sim,kms)"),
    (5, "any_of(soft,kms)"),
    (6, "all_of(sim,any_of(soft,kms))"),
];

struct Mixed {
    house: House,
    tenants: BTreeMap<u8, TenantRef>,
    sim: Child,
    kms: Served,
    tokens: [Arc<Token>; 2],
    _folders: [TokenFolder; 2],
}

impl Mixed {
    async fn new() -> Self {
        let folders = [prepared(Module::HsmSim), prepared(Module::SoftHsm)];
        let [sim, soft] = [(Module::HsmSim, &folders[0]), (Module::SoftHsm, &folders[1])]
            .map(|(kind, folder)| Child::on(kind, folder, Runs::Hosted));
        let tokens = [token(&sim, "sim").await, token(&soft, "soft").await];
        let kms = Served::start(Form::Aws, Kind::Ed25519).await;
        let service = aws::Settings { id: custodian("kms"), ..kms.aws(Wanted::default()) };
        let credentials = aws::Credentials::Fixed { id: CALLER.to_owned(), secret: SECRET.to_owned().into() };
        let service = AwsKms::connect(service, credentials, &slab()).await.unwrap_or_else(|fault| panic!("{fault}"));
        let drivers: Vec<Arc<dyn Custodian>> = vec![tokens[0].clone(), tokens[1].clone(), service];
        let house = House::over(drivers);
        let mut tenants = BTreeMap::new();
        for (number, set) in TENANTS {
            tenants.insert(number, house.tenant(number, &set.parse().expect("a set")).await);
        }
        Self { house, tenants, sim, kms, tokens, _folders: folders }
    }

    /// Asks for every tenant's key at once; those that do not come, and why.
    async fn refused(&self) -> BTreeMap<u8, Cause> {
        let mut asked = tokio::task::JoinSet::new();
        for (number, tenant) in self.tenants.clone() {
            let keys = self.house.keys.for_release();
            asked.spawn(async move { (number, keys.warm(&tenant, Warmed::default()).await.map(drop)) });
        }
        let answers = asked.join_all().await.into_iter();
        let refused = answers.filter_map(|(number, answer)| match answer {
            Ok(()) => None,
            Err(Error::Custodian(fault)) => Some((number, fault.cause)),
            Err(other) => panic!("tenant {number}: {other}"),
        });
        refused.collect()
    }

    /// The same, of custodians and not of warm keys.
    async fn refused_cold(&self) -> BTreeMap<u8, Cause> {
        self.house.keys.wipe_all();
        self.refused().await
    }
}

async fn token(child: &Child, name: &str) -> Arc<Token> {
    let mut settings = settings(child);
    settings.id = custodian(name);
    Token::open(settings, pin(USER_PIN), &slab()).await.unwrap_or_else(|fault| panic!("{fault}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_modules_and_a_service_serve_different_tenants_at_once() {
    let mixed = Mixed::new().await;
    assert_eq!(mixed.refused_cold().await, BTreeMap::new());
    let asked: Vec<String> = mixed.house.register.calls().into_iter().map(|call| call.custodian.to_string()).collect();
    for name in ["sim", "soft", "kms"] {
        assert!(asked.iter().any(|asked| asked == name), "{asked:?}");
    }
    for token in &mixed.tokens {
        token.close().await.expect("closes");
    }
}

/// Whoever has another to turn to goes on; whoever needs the one that is gone opens nothing; all is well when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_one_custodian_costs_those_who_need_it() {
    let mixed = Mixed::new().await;
    faults(&mixed.sim, "removed = true\n");
    assert_eq!(mixed.refused_cold().await.into_keys().collect::<Vec<_>>(), [1, 4, 6]);
    faults(&mixed.sim, "");
    assert_eq!(mixed.refused_cold().await, BTreeMap::new());
    mixed.kms.kms.go_away();
    assert_eq!(mixed.refused_cold().await.into_keys().collect::<Vec<_>>(), [3, 4]);
    mixed.kms.kms.come_back().await.expect("the port is free");
    assert_eq!(mixed.refused_cold().await, BTreeMap::new());
}

/// A tenant that disables the key it holds stops its own releases when the warm copy ends, and nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn pulling_a_key_stops_its_tenants_within_warm_for_and_no_others() {
    let mixed = Mixed::new().await;
    assert_eq!(mixed.refused_cold().await, BTreeMap::new());
    mixed.kms.kms.set(KEY, None, State::Disabled).expect("a key");
    assert_eq!(mixed.refused().await, BTreeMap::new(), "warm for a while yet");
    // In use all the time, so that it is the time that ends them and not idleness.
    for _ in 0..WARM_FOR.as_micros() / Span::secs(30).as_micros() {
        mixed.house.clock.forward(Span::secs(30));
        mixed.refused().await;
    }
    let stopped = BTreeMap::from([(3, Cause::KeyDisabled), (4, Cause::KeyDisabled)]);
    assert_eq!(mixed.refused().await, stopped);
    mixed.kms.kms.set(KEY, None, State::Enabled).expect("a key");
    assert_eq!(mixed.refused().await, BTreeMap::new());
}
