//! The start, in the order that lets nothing serve before it is recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use cofre_audit::{Recorder, note_key};
use cofre_custody::{Custodian, CustodianId, Custodians, Signer, TenantKeys};
use cofre_edge::acceptor::Door;
use cofre_edge::counter::{CounterLayer, Refusals};
use cofre_edge::gate::Listener;
use cofre_edge::limits::{DoorLimits, Rates, server_builder};
use cofre_edge::revocation::Standing;
use cofre_edge::services::{NodeProof, Services, UseCases};
use cofre_envelope::{Backing, NodeKey, Slab, hygiene, random};
use cofre_ledger::promise::NodeStatement;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::permit::{GroupSigner, Mint};
use cofre_model::time::Clock;
use cofre_store::{CommitConfig, Operation, StoreConfig, Stores};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::tokens::Driver;
use super::{Node, late, tokens};
use crate::clock::SystemClock;
use crate::config::{Config, Memory, Mode, StoreKey};
use crate::duties::Duties;
use crate::identity::{Identity, Watch};
use crate::journal::StoreJournal;
use crate::ready::{Ready, Shared};
use crate::refusals::Recorded;
use crate::telemetry::Telemetry;
use crate::telemetry::calls::Calls;
use crate::telemetry::watch::{Looks, Watched};
use crate::wiring::{self, Parts};

/// Protects the process: no core dumps, no tracing by equals, no new privileges. Called before the first thread is
/// started, because the last of the three belongs to a thread and is inherited. Nothing is logged yet then: what
/// development bears is given back, to be said once there is a log.
///
/// # Errors
/// In production, what the kernel refused; in development it is said and borne.
pub fn protect(config: &Config) -> Result<Option<String>> {
    match (hygiene::lock_process().all(), config.mode) {
        (Ok(()), _) => Ok(None),
        (Err(refused), Mode::Production) => bail!("process protection: {refused}"),
        (Err(refused), Mode::Dev) => Ok(Some(refused.to_string())),
    }
}

pub(crate) fn locked_memory(config: &Config) -> Result<Arc<Slab>> {
    let backing = match config.memory {
        Memory::MemfdSecret => Backing::MemfdSecret,
        Memory::Mlock => Backing::Mlock,
    };
    Slab::new(backing).context("memory: locked memory cannot be had; `memory = \"mlock\"` is the other form")
}

impl Node {
    /// Starts a node and serves.
    ///
    /// # Errors
    /// What is missing or wrong, by the key of the configuration where there is one.
    pub async fn start(config: Config, telemetry: Arc<Telemetry>) -> Result<Self> {
        let slab = locked_memory(&config)?;
        let identity = Identity::read(&config.identity)?;
        let rules = Arc::new(wiring::rules(&config)?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let tokens = tokens::open(&config, &clock, &slab, tokens::Away::Borne).await?;
        let signer = tokens.get(&config.signer).context("custody.signer")?.signer();
        let signer: Arc<dyn Signer> =
            signer.map_err(|fault| anyhow::anyhow!("custody.signer: {fault}; {}", fault.advice()))?;

        let origin = cofre_ledger::checkpoint::origin(&config.deployment);
        let note_key = note_key(&origin, &*signer)?;
        let node_key: Arc<dyn GroupSigner> = Arc::new(NodeKey::generate(&slab)?);
        let incarnation = random::array()?;
        #[expect(clippy::disallowed_methods, reason = "the one mint of this process, moved into store")]
        let mint = Mint::assemble();
        let stores = Stores::open(
            StoreConfig {
                records: config.stores.records.open(StoreKey::Records)?,
                ciphertexts: config.stores.ciphertexts.open(StoreKey::Ciphertexts)?,
                keyring: config.stores.keyring.open(StoreKey::Keyring)?,
                mode: config.mode.into(),
                ceiling: config.stores.ceiling(),
            },
            CommitConfig {
                origin: origin.clone(),
                node: identity.spiffe_id.clone(),
                incarnation,
                mint,
                clock: Arc::clone(&clock),
                signer: Arc::clone(&node_key),
            },
        )
        .await
        .context("stores")?;

        let proof = record_start(&stores, &*signer, &*node_key, &identity, origin, incarnation, &*clock).await?;
        activate(&stores, &rules).await?;

        say_who_waits(&stores, &tokens).await?;
        let (wrapping, unwrapping) = Custodians::new(tokens.values().map(Driver::custodian))?.split();
        let keys = TenantKeys::new(cofre_custody::Wiring {
            wrapping,
            unwrapping,
            journal: Arc::new(StoreJournal { records: stores.records.clone(), keyring: stores.keyring.clone() }),
            clock: Arc::clone(&clock),
            slab: Arc::clone(&slab),
        });
        let parts = Parts { stores, keys, signer, note_key, rules, slab, clock, incarnation };
        let cases = parts.use_cases(&config);
        serve(&config, &identity, parts, cases, proof, tokens.into_values().collect(), telemetry).await
    }
}

/// Says how many tenant keys no custodian that is there opens: their sets are the keyring's, not the configuration's.
async fn say_who_waits(stores: &Stores, tokens: &BTreeMap<CustodianId, Driver>) -> Result<()> {
    if !tokens.values().any(Driver::is_late) {
        return Ok(());
    }
    let there = |id: &CustodianId| tokens.get(id).is_some_and(|driver| !driver.is_late());
    let keys = late::waiting(&stores.keyring, there).await.context("stores")?;
    if keys > 0 {
        tracing::warn!(keys, "tenant keys do not open until the custodians that are away are back");
    }
    Ok(())
}

/// Records the start of this incarnation and has the custodian's signer certify the node's key.
async fn record_start(
    stores: &Stores,
    signer: &dyn Signer,
    node_key: &dyn GroupSigner,
    identity: &Identity,
    origin: String,
    incarnation: [u8; 16],
    clock: &dyn Clock,
) -> Result<NodeProof> {
    stores.records.apply(Entry::new(EntryKind::NodeStarted, random::array()?), Operation::NodeStarted).await?;
    let statement = NodeStatement {
        origin,
        node: identity.spiffe_id.clone(),
        incarnation,
        public_key: node_key.public_key(),
        time: clock.now(),
    }
    .to_bytes()?;
    let signature = signer.sign(&statement).await.context("the custodian's signer must certify the node's key")?;
    let mut entry = Entry::new(EntryKind::NodeCertified, random::array()?);
    entry.digest = Some(cofre_envelope::sha256(&statement));
    stores.records.apply(entry, Operation::NodeCertified).await?;
    Ok(NodeProof { key: node_key.public_key(), statement, signature: signature.to_vec() })
}

/// Records the policy set where it is another than the one in force.
async fn activate(stores: &Stores, rules: &cofre_policy::Rules) -> Result<()> {
    let digest = *rules.digest();
    if stores.records.policy().await? == Some(digest) {
        return Ok(());
    }
    let mut entry = Entry::new(EntryKind::PolicyActivated, random::array()?);
    entry.policy_digest = Some(digest);
    entry.rules = rules.ids().map(str::to_owned).collect();
    stores.records.apply(entry, Operation::PolicyActivated { digest }).await?;
    Ok(())
}

/// Opens the listener for metrics, where the configuration has one.
async fn scraped(
    config: &Config,
    telemetry: &Arc<Telemetry>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Option<std::net::SocketAddr>> {
    let Some(address) = config.listen.metrics else { return Ok(None) };
    let listener = TcpListener::bind(address).await.with_context(|| format!("listen.metrics: {address}"))?;
    let address = listener.local_addr()?;
    let (telemetry, stop) = (Arc::clone(telemetry), stop.clone());
    tasks.spawn(async move { telemetry.serve(listener, stop).await });
    Ok(Some(address))
}

async fn serve(
    config: &Config,
    identity: &Identity,
    parts: Parts,
    cases: UseCases,
    proof: NodeProof,
    tokens: Vec<Driver>,
    telemetry: Arc<Telemetry>,
) -> Result<Node> {
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let standing = Standing::new(&identity.material(), &config.identity.trust_domain, Arc::clone(&parts.clock))?;
    let rates = Arc::new(Rates::standard(Arc::clone(&parts.clock)));
    let custodians: Vec<Arc<dyn Custodian>> = tokens.iter().map(Driver::custodian).collect();
    let readiness = Arc::new(Shared::new(
        Ready {
            records: parts.stores.records.clone(),
            ciphertexts: parts.stores.ciphertexts.clone(),
            keyring: parts.stores.keyring.clone(),
            custodians: custodians.clone(),
            clock: Arc::clone(&parts.clock),
        },
        Arc::clone(&parts.clock),
    ));
    let mut recorders = Vec::new();
    let mut addresses = Vec::new();
    for (listener, address, name) in [
        (Listener::TenantsAndWorkers, config.listen.tenants_and_workers, "tenants_and_workers"),
        (Listener::People, config.listen.people, "people"),
    ] {
        let recorder = Arc::new(Recorder::new(parts.stores.records.clone(), name));
        recorders.push(Arc::clone(&recorder));
        let refusals: Arc<dyn Refusals> = Arc::new(Recorded { recorder, meters: telemetry.meters() });
        let tcp = TcpListener::bind(address).await.with_context(|| format!("listen.{name}: {address}"))?;
        addresses.push(tcp.local_addr()?);
        let door = Door {
            listener,
            standing: Arc::clone(&standing),
            refusals: Arc::clone(&refusals),
            limits: DoorLimits::of(listener),
        };
        let incoming = door.open(tcp, stop.clone());
        let about = cofre_edge::services::Node {
            proof: proof.clone(),
            signer_key: parts.note_key.to_string(),
            trust_domain: config.identity.trust_domain.clone(),
            readiness: Arc::clone(&readiness) as _,
            clock: Arc::clone(&parts.clock),
        };
        let services = Services::new(cases.clone(), about, Arc::clone(&refusals), stop.clone());
        let routes = match listener {
            Listener::TenantsAndWorkers => services.tenants_and_workers(),
            Listener::People => services.people(),
        };
        let layer = CounterLayer::new(listener, Arc::clone(&standing), Arc::clone(&rates), refusals);
        let calls = Calls::new(telemetry.meters());
        let ended = stop.clone().cancelled_owned();
        tasks.spawn(async move {
            let served = server_builder()
                .layer(calls)
                .layer(layer)
                .add_routes(routes)
                .serve_with_incoming_shutdown(incoming, ended)
                .await;
            if let Err(error) = served {
                tracing::error!(listener = name, error = %error, "a listener ended");
            }
            services.idle().await;
        });
    }
    let metrics = scraped(config, &telemetry, &tasks, &stop).await?;
    let watched = Watched {
        records: parts.stores.records.clone(),
        ciphertexts: parts.stores.ciphertexts.clone(),
        keyring: parts.stores.keyring.clone(),
        keys: parts.keys.clone(),
        slab: Arc::clone(&parts.slab),
        custodians,
        standing: Arc::clone(&standing),
        releases: Arc::clone(&cases.releases),
        clock: Arc::clone(&parts.clock),
    };
    let hangups = signal(SignalKind::hangup()).context("the signal SIGHUP")?;
    let watch = Watch::new(
        config.identity.clone(),
        identity.spiffe_id.clone(),
        Arc::clone(&standing),
        Arc::clone(&parts.clock),
    );
    tasks.spawn(watch.run(hangups, stop.clone()));
    Duties {
        integrator: parts.integrator(),
        keys: parts.keys.clone(),
        deposits: cases.deposits,
        consents: cases.consents,
        erasures: cases.erasures,
        key_jobs: cases.key_jobs,
        relay: cases.relay,
        recorders: recorders.clone(),
        records: parts.stores.records.clone(),
        looks: Looks::new(watched, telemetry.meters()),
    }
    .start(&tasks, &stop);
    let [tenants_and_workers, people] = addresses.as_slice() else { bail!("a listener has no address") };
    Ok(Node {
        tenants_and_workers: *tenants_and_workers,
        people: *people,
        metrics,
        stop,
        tasks,
        stores: parts.stores,
        keys: parts.keys,
        tokens,
        recorders,
    })
}
