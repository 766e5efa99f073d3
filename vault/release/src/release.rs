//! The release path. Two functions, read top to bottom; `cargo xtask check` holds their order.

use std::sync::Arc;

use cofre_custody::{ReleaseKeys, Warmed};
use cofre_envelope as envelope;
use cofre_envelope::context::ReleaseContext;
use cofre_model::caller::Caller;
use cofre_model::id::Slug;
use cofre_model::permit::{EntryRef, Evidence, Permit, Release, ReleaseWarrant};
use cofre_model::reason::Reason;
use cofre_model::request::ReleaseRequest;
use cofre_model::sealed::Released;
use cofre_model::time::{Clock, Timestamp};
use cofre_policy::Rules;
use cofre_policy::decision::Decision;
use cofre_store::{Ciphertexts, Committed, Keyring, Promise, Records};
use tokio::try_join;
use tracing::{Instrument as _, info_span};

use crate::error::Error;
use crate::verdicts::{Count, Verdicts};

/// How often the path reads and decides again when an epoch moves under it.
const ATTEMPTS: usize = 3;

/// What `server` hands to this use case: no more than it may use.
#[derive(Debug)]
pub struct Wiring {
    /// The rules in force.
    pub rules: Arc<Rules>,
    /// Records, for facts and for the commit.
    pub records: Records,
    /// Ciphertexts, to read.
    pub ciphertexts: Ciphertexts,
    /// The keyring, to read.
    pub keyring: Keyring,
    /// Keys that open against a release permit.
    pub keys: ReleaseKeys,
    /// The node's clocks.
    pub clock: Arc<dyn Clock>,
    /// The region this cell decides for.
    pub region: Slug,
    /// The ledger's origin, bound into every answer.
    pub origin: String,
}

/// The release use case.
#[derive(Debug)]
pub struct Releases {
    pub(crate) rules: Arc<Rules>,
    pub(crate) records: Records,
    pub(crate) ciphertexts: Ciphertexts,
    pub(crate) keyring: Keyring,
    pub(crate) keys: ReleaseKeys,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) region: Slug,
    pub(crate) origin: String,
    pub(crate) verdicts: Verdicts,
}

/// What a worker is answered. Both kinds stand in the ledger before they are said.
#[derive(Debug)]
pub enum Answer {
    /// The login, sealed to the worker. It leaves before its `send_by`, or not at all.
    Released {
        /// The sealed login.
        released: Released,
        /// The grant.
        entry: Box<Evidence<ReleaseWarrant>>,
        /// The promise that the grant will be in the tree.
        promise: Box<Promise>,
    },
    /// A refusal.
    Denied {
        /// Its entry, where it could be written.
        at: Option<EntryRef>,
        /// The exact reason; the counter gives only its public form.
        reason: Reason,
        /// When trying again makes sense.
        retry_at: Option<Timestamp>,
    },
}

impl Releases {
    /// Takes its wiring.
    #[must_use]
    pub fn new(wiring: Wiring) -> Self {
        let Wiring { rules, records, ciphertexts, keyring, keys, clock, region, origin } = wiring;
        Self { rules, records, ciphertexts, keyring, keys, clock, region, origin, verdicts: Verdicts::default() }
    }

    /// How often which verdict fell since the process started.
    pub fn counts(&self) -> impl Iterator<Item = Count> {
        self.verdicts.counts()
    }

    /// Releases one login to one worker, or refuses. Runs in a task that the caller's hang-up does not cancel, so that
    /// a grant always gets its outcome.
    ///
    /// # Errors
    /// [`Error`] where neither answer could be given; what happened after a grant has its OUTCOME entry by then.
    #[tracing::instrument(skip_all, fields(outcome, reason))]
    pub async fn release(&self, caller: &Caller, request: &ReleaseRequest) -> Result<Answer, Error> {
        let mut warmed = Warmed::default();
        for _ in 0..ATTEMPTS {
            let facts = match self.facts(caller, request).await {
                Ok(facts) => facts,
                Err(cause) => return self.undecided(caller, request, cause).await,
            };
            let decision = info_span!("decide").in_scope(|| self.rules.decide(&facts));
            // Nobody unpermitted costs a custodian call; the warm-up has its own entry.
            if let Decision::Permit(_) = &decision {
                warmed = match self.warm(&facts, warmed).await {
                    Ok(warmed) => warmed,
                    Err(cause) => return self.undecided(caller, request, cause).await,
                };
            }
            match self.records.commit(decision).await? {
                Committed::Granted { permit, promise } => {
                    return self.deliver((permit, warmed), promise, request).await;
                }
                Committed::Denied { at, reason, retry_at } => {
                    self.verdicts.denied(reason);
                    return Ok(Answer::Denied { at: Some(at), reason, retry_at });
                }
                Committed::Moved => {} // an epoch moved and nothing was written: read and decide again
            }
        }
        self.undecided(caller, request, Error::Contended).await
    }

    /// Opens what was granted and seals it to the worker. Eats the permit; whatever fails from here on gets an OUTCOME
    /// entry that names it.
    async fn deliver(
        &self,
        (permit, warmed): (Permit<Release>, Warmed),
        promise: Box<Promise>,
        request: &ReleaseRequest,
    ) -> Result<Answer, Error> {
        let entry = permit.entry().clone(); // evidence may be copied, authority may not
        let released: Result<Released, Error> = async {
            let (sealed, wrapped) = try_join!(self.ciphertexts_of(&entry), self.keyring_of(&entry))?;
            let dek = self.keys.open_keys(permit, wrapped, warmed).instrument(info_span!("open_keys")).await?;
            let _sealing = info_span!("open_and_seal").entered(); // nothing is awaited from here on
            let opened = envelope::open(dek, &sealed, &(&entry.warrant).into())?.narrow(&entry.warrant.fields)?;
            entry.send_by.check(self.clock.monotonic())?;
            let worker_key = envelope::PublicKey::try_from(&request.worker_key)?;
            Ok(envelope::seal_to(&worker_key, opened, &ReleaseContext::of(&self.origin, &entry))?)
        }
        .await;
        match released {
            Ok(released) => {
                self.verdicts.granted();
                Ok(Answer::Released { released, entry: Box::new(entry), promise }) // the counter checks send_by again
            }
            Err(cause) => {
                let cause = self.renewed(&entry, cause).await;
                Err(self.outcome(&entry, cause).await)
            }
        }
    }
}
