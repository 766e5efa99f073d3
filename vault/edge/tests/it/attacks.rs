//! Attacks on a served vault in a process of its own, spoken by hand, with an honest client beside each.
//!
//! During every attack the honest client's calls succeed and the vault's memory grows by at most [`GROWTH`]; afterwards
//! it serves as before. For every limit there is a twin in which that one limit is taken away and the attack gets
//! through, so that no test here could pass without the limit it is about. `COFRE_LONG=1` attacks twenty times longer.

mod bodies;
mod doors;
mod floods;
mod frames;
mod headers;
mod process;
mod resets;
mod stalls;

use std::time::Duration;

use cofre_model::id::CredentialId;
use cofre_proto::v1::CredentialStateRequest;
use cofre_proto::v1::deposit_service_client::DepositServiceClient;
use cofre_testkit::ca::Issued;
use process::{Attacked, Change};
use tonic::Code;
use tonic::transport::Channel;

use crate::support::{CHECK, WORKER, call, within};

const ATTACKER: &str = "spiffe://cofre.test/worker/pool-b/mallory";
const FRONT_END: &str = "spiffe://cofre.test/tenant/acme/frontend/web-1";

/// What an attack may add to the vault's memory.
const GROWTH: u64 = 64 * 1024 * 1024;
/// Rounds of the honest client at least, during each attack.
const ROUNDS: usize = 10;

/// Whether to attack for long.
fn long() -> bool {
    std::env::var_os("COFRE_LONG").is_some()
}

/// How often to do what is done `usual` times on every run.
fn times(usual: usize) -> usize {
    if long() { usual * 20 } else { usual }
}

/// An attack, which must end by itself; a bound for the day it does not.
async fn bounded<T>(attack: impl Future<Output = T>) -> T {
    let most = Duration::from_secs(if long() { 1_800 } else { 60 });
    tokio::time::timeout(most, attack).await.expect("it never ended")
}

/// Somebody who only wants to be served: asks for readiness, and for a login that is not there, which the store has to
/// look for and the register to record.
struct Honest {
    worker: Issued,
    front_end: Channel,
}

impl Honest {
    async fn new(vault: &Attacked) -> Self {
        let front_end = vault.enter(&vault.issue(FRONT_END)).await;
        Self { worker: vault.issue(WORKER), front_end }
    }

    async fn round(&self, vault: &Attacked) {
        // A connection of its own, so that the door is asked as well.
        let channel = vault.enter(&self.worker).await;
        assert_eq!(call(&channel, CHECK).await.expect("a status").code(), Code::Ok);
        let credential_id = CredentialId::from_parts(1, [1; 10]).to_string();
        let mut deposits = DepositServiceClient::new(self.front_end.clone());
        let mut ask = async || {
            let request = CredentialStateRequest { credential_id: credential_id.clone() };
            deposits.credential_state(request).await.expect_err("none")
        };
        let mut status = ask().await;
        // A connection that was asked to go for its age takes no new call; a client makes it on the next one.
        if status.to_string().contains("GoAway(b\"\", NO_ERROR, Remote)") {
            status = ask().await;
        }
        assert_eq!(status.code(), Code::NotFound, "{status}");
    }
}

/// A vault, an honest client, and how much memory there was before anything happened.
struct Scene {
    vault: Attacked,
    honest: Honest,
    mallory: Issued,
    before: u64,
}

impl Scene {
    async fn new(changes: &[Change]) -> Self {
        let vault = Attacked::start(changes);
        let honest = Honest::new(&vault).await;
        for _ in 0..ROUNDS {
            honest.round(&vault).await;
        }
        let mallory = vault.issue(ATTACKER);
        vault.forget_peak();
        let before = vault.resident();
        Self { vault, honest, mallory, before }
    }

    /// How much memory the vault took at most, beyond what it had.
    fn growth(&self) -> u64 {
        self.vault.peak().saturating_sub(self.before)
    }

    /// Does `attack` while the honest client goes on, and looks at the bars.
    async fn withstands<T>(&mut self, attack: impl AsyncFnOnce(&Attacked, &Issued) -> T) -> T {
        let Self { vault, honest, mallory, .. } = self;
        let vault = &*vault;
        let attack = bounded(attack(vault, mallory));
        let serve = async {
            for _ in 0..ROUNDS {
                within(honest.round(vault)).await;
            }
        };
        let (outcome, ()) = tokio::join!(attack, serve);
        let growth = self.growth();
        assert!(growth <= GROWTH, "the attack took {} MiB", growth >> 20);
        self.honest.round(&self.vault).await;
        outcome
    }

    fn end(self) {
        drop(self.honest);
        self.vault.stop();
    }
}

/// Runs the process that the attacks are made on, and shows that it serves and ends by itself.
#[test]
fn a_vault_serves_in_a_process_of_its_own() {
    if let Some(folder) = process::folder() {
        process::serve(&folder);
        return;
    }
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let mut scene = Scene::new(&[]).await;
        let counts = scene.vault.counts();
        // A readiness and a login for each round; the login that is not there is a refusal of its own.
        assert_eq!((counts.reached, counts.refused), (2 * ROUNDS, ROUNDS));
        assert!(scene.before > 1024 * 1024 && scene.vault.peak() >= scene.before);
        scene.end();
    });
}
