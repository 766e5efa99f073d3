//! A deployment small enough for one test: three stores in a folder, a clock moved by hand, a signer with a switch.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cofre_audit::{Integrator, Register, note_key};
use cofre_custody::{Cause, CustodianId, Fault, Pending, Signer, VerifyingKey};
use cofre_ledger::note::NoteKey;
use cofre_model::caller::{Caller, SpiffeId};
use cofre_model::entry::{Entry, EntryKind, Verdict};
use cofre_model::permit::{GroupSigner, Mint};
use cofre_model::reason::Reason;
use cofre_model::time::{Clock, Monotonic, Timestamp};
use cofre_store::{CommitConfig, Operation, Stores};
use ed25519_dalek::{Signer as _, SigningKey};
use tempfile::TempDir;

pub(crate) const ORIGIN: &str = "test-vault/ledger";

/// Time stands still unless it is moved.
#[derive(Debug)]
pub(crate) struct StoppedClock(AtomicU64);

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
    fn monotonic(&self) -> Monotonic {
        Monotonic::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Signs promises of groups.
#[derive(Debug)]
struct NodeKey(SigningKey);

impl GroupSigner for NodeKey {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
    fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }
}

/// A token that signs, until it is taken away.
#[derive(Debug)]
pub(crate) struct TokenOfTest {
    key: SigningKey,
    public: VerifyingKey,
    away: AtomicBool,
    pub(crate) refused: AtomicU64,
}

impl TokenOfTest {
    fn new() -> Arc<Self> {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = VerifyingKey::Ed25519(key.verifying_key().to_bytes());
        Arc::new(Self { key, public, away: AtomicBool::new(false), refused: AtomicU64::new(0) })
    }

    pub(crate) fn take_away(&self) {
        self.away.store(true, Ordering::SeqCst);
    }

    pub(crate) fn bring_back(&self) {
        self.away.store(false, Ordering::SeqCst);
    }
}

impl Signer for TokenOfTest {
    fn public_key(&self) -> &VerifyingKey {
        &self.public
    }
    fn sign<'a>(&'a self, message: &'a [u8]) -> Pending<'a, [u8; 64], Fault> {
        Box::pin(async move {
            if self.away.load(Ordering::SeqCst) {
                self.refused.fetch_add(1, Ordering::SeqCst);
                return Err(Fault {
                    custodian: CustodianId::try_from("hsm-1").expect("a name"),
                    operation: cofre_custody::Operation::Sign,
                    cause: Cause::TokenAbsent,
                    detail: None,
                    request: None,
                });
            }
            Ok(self.key.sign(message).to_bytes())
        })
    }
}

/// One node on one folder.
pub(crate) struct Node {
    pub(crate) folder: TempDir,
    pub(crate) stores: Stores,
    pub(crate) token: Arc<TokenOfTest>,
}

pub(crate) async fn node() -> Node {
    let folder = TempDir::new().expect("a folder");
    let stores = open(folder.path()).await;
    Node { folder, stores, token: TokenOfTest::new() }
}

#[expect(clippy::disallowed_methods, reason = "a test is its own server")]
async fn open(folder: &Path) -> Stores {
    let config = cofre_testkit::stores::config(folder).await.expect("stores can be had");
    let commit = CommitConfig {
        origin: ORIGIN.to_owned(),
        node: "spiffe://cofre.test/node/eu-nl/n1".to_owned(),
        incarnation: [1; 16],
        mint: Mint::assemble(),
        clock: Arc::new(StoppedClock(AtomicU64::new(1_790_000_000_000_000))),
        signer: Arc::new(NodeKey(SigningKey::from_bytes(&[9; 32]))),
    };
    Stores::open(config, commit).await.expect("stores")
}

impl Node {
    pub(crate) fn key(&self) -> NoteKey {
        note_key(ORIGIN, &*self.token).expect("a key")
    }

    pub(crate) fn integrator(&self) -> Integrator {
        Integrator {
            records: self.stores.records.clone(),
            keyring: self.stores.keyring.clone(),
            signer: self.token.clone(),
            key: self.key(),
        }
    }

    pub(crate) fn register(&self) -> Register {
        Register { records: self.stores.records.clone(), key: self.key() }
    }

    /// Writes `count` entries of a worker's refusals; `mark` tells one lineage of entries from another.
    pub(crate) async fn add(&self, count: u64, mark: u8) {
        for n in 0..count {
            let mut id = [mark; 16];
            id[..8].copy_from_slice(&n.to_be_bytes());
            let mut entry = Entry::new(EntryKind::Denied, id).by(&worker("w1"));
            entry.verdict = Some(Verdict::Denied);
            entry.reason = Some(Reason::LeaseHeld);
            self.stores.records.apply(entry, Operation::Note).await.expect("an entry");
        }
    }

    /// Ends the process and starts it anew; `between` may do to the stores what a person could.
    pub(crate) async fn restart(self, between: impl AsyncFnOnce(&Path)) -> Self {
        let Self { folder, stores, token } = self;
        stores.close().await;
        between(folder.path()).await;
        let stores = open(folder.path()).await;
        Self { folder, stores, token }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test is its own counter")]
fn caller(path: &str) -> Caller {
    let identity = SpiffeId::parse(&format!("spiffe://cofre.test/{path}"), "cofre.test").expect("an identity");
    Caller::from_verified_chain(identity, [3; 32])
}

pub(crate) fn worker(name: &str) -> Caller {
    caller(&format!("worker/pool-a/{name}"))
}

pub(crate) fn auditor() -> Caller {
    caller("person/auditor/ana")
}
