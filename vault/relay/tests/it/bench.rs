//! A relay over the stores' small deployment, with one worker and one front end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cofre_model::caller::{Caller, SpiffeId};
use cofre_model::credential::Credential;
use cofre_model::entry::EntryKind;
use cofre_model::id::ChallengeId;
use cofre_model::reason::Reason;
use cofre_model::request::{ChallengeKey, ChallengeRequest, SealKey, SealSuite, SealedAnswer};
use cofre_model::time::{Clock as _, Span};
use cofre_model::wording::{Outcome, ScaKind};
use cofre_relay::{Error, Relay};
use cofre_store::Operation;

use crate::world::{Ask, WORKER, World, told};

pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) relay: Arc<Relay>,
    next: AtomicU64,
}

#[expect(clippy::disallowed_methods, reason = "a test stands for the edge")]
pub(crate) fn caller(identity: &str) -> Caller {
    Caller::from_verified_chain(SpiffeId::parse(identity, "cofre.test").expect("an identity"), [3; 32])
}

pub(crate) fn worker() -> Caller {
    caller(WORKER)
}

pub(crate) fn front_end() -> Caller {
    caller("spiffe://cofre.test/tenant/acme/frontend/web-1")
}

impl Bench {
    /// A relay that follows its records.
    pub(crate) async fn new() -> Self {
        let world = World::new().await;
        let serial = Arc::new(AtomicU64::new(1));
        let ids: cofre_relay::EntryIds = Arc::new(move || {
            let mut id = [0xee; 16];
            id[8..].copy_from_slice(&serial.fetch_add(1, Ordering::SeqCst).to_be_bytes());
            Some(id)
        });
        let relay = Arc::new(Relay::new(world.records().clone(), world.clock.clone(), ids));
        let (following, changes) = (Arc::clone(&relay), world.records().changes());
        tokio::spawn(async move { following.follow(changes).await });
        Self { world, relay, next: AtomicU64::new(1) }
    }

    /// A login under a consent, released to the worker with its investor present.
    pub(crate) async fn leased(&self) -> (Credential, cofre_model::consent::Consent, Ask) {
        let (credential, consent) = self.world.releasable(4).await;
        let ask = self.lease(&credential).await;
        (credential, consent, ask)
    }

    pub(crate) async fn lease(&self, credential: &Credential) -> Ask {
        let ask = self.world.attended(credential);
        assert_eq!(told(&self.world.once(&ask).await), "GRANTED");
        ask
    }

    pub(crate) fn request(&self, ask: &Ask) -> ChallengeRequest {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&self.next.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        ChallengeRequest {
            id: ChallengeId::from_parts(self.world.ms(), random),
            credential: ask.credential,
            job: ask.job,
            kind: ScaKind::AppCode,
            code_length: 6,
            attempt: 1,
            expires: self.world.clock.now().plus(Span::minutes(3)),
            text: "Enter the code of your app".to_owned(),
            key: ChallengeKey {
                key: SealKey { suite: SealSuite::X25519, bytes: vec![1; 32] },
                chain: Vec::new(),
                signature: Vec::new(),
            },
        }
    }

    pub(crate) async fn open(&self, ask: &Ask) -> Result<ChallengeId, Reason> {
        let request = self.request(ask);
        let id = request.id;
        self.relay.open(&worker(), request).await.map(|_| id).map_err(|error| error.reason())
    }

    /// Opened, answered, handed over.
    pub(crate) async fn deliver(&self, ask: &Ask) -> ChallengeId {
        let id = self.open(ask).await.expect("opens");
        self.relay.answer(&front_end(), &id, sealed()).await.expect("answered");
        let answer = self.relay.await_answer(&worker(), &id).await.expect("an answer");
        assert_eq!(answer, cofre_relay::Awaited::Answer(sealed()));
        id
    }

    /// The worker's report, its entry as the release use case writes it.
    pub(crate) async fn report(&self, ask: &Ask, outcome: Outcome) {
        let mut entry = self.world.entry(EntryKind::Reported);
        entry.credential = Some(ask.credential);
        entry.job = Some(ask.job);
        entry.outcome = Some(outcome);
        let (credential, job, worker) = (ask.credential, ask.job, WORKER.to_owned());
        let report = Operation::ReportOutcome { credential, job, worker, outcome, lock: None };
        self.world.records().apply(entry, report).await.expect("reported");
    }

    /// How many challenges the tenant's front ends are shown.
    pub(crate) async fn shown(&self) -> usize {
        self.relay.watch(&front_end()).await.expect("watches").1.len()
    }
}

pub(crate) fn sealed() -> SealedAnswer {
    SealedAnswer { encapsulated_key: vec![4; 32], ciphertext: vec![5; 40] }
}

pub(crate) fn reason<T>(result: Result<T, Error>) -> Option<Reason> {
    result.err().map(|error| error.reason())
}
