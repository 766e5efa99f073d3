//! What became of a request when the path could not be walked to its end. Every refusal and every failure after a
//! grant gets its entry, as long as the ledger can be written at all.

use cofre_envelope::{PublicKey, random};
use cofre_model::caller::Caller;
use cofre_model::entry::{Entry, EntryId, EntryKind, Verdict};
use cofre_model::permit::{Evidence, ReleaseWarrant, TooLate};
use cofre_model::request::ReleaseRequest;
use cofre_store::Operation;

use crate::error::Error;
use crate::release::{Answer, Releases};

/// The method these entries are about.
pub(crate) const METHOD: &str = "cofre.v1.ReleaseService/Release";
/// What an OUTCOME entry refers to where the answer, or a part of it, may have left.
const UNKNOWN: &str = "DELIVERY_UNKNOWN";

/// The field to mend, and the way out, of a request that was refused as BAD_REQUEST after it was parsed: its key, which
/// is looked at first, or else the time in its id.
#[must_use]
pub fn to_mend(request: &ReleaseRequest) -> (&'static str, &'static str) {
    match PublicKey::try_from(&request.worker_key) {
        Err(_) => ("seal_key", "must be a public key of its suite; make a fresh pair"),
        Ok(_) => ("request_id", "must carry the present time, within five minutes"),
    }
}

impl Releases {
    /// No decision could be committed: a dependency failed. Records the refusal; if even that cannot be written, the
    /// caller is still refused, with the ledger as the reason.
    pub(crate) async fn undecided(
        &self,
        caller: &Caller,
        request: &ReleaseRequest,
        cause: Error,
    ) -> Result<Answer, Error> {
        let reason = cause.reason();
        tracing::warn!(reason = reason.as_str(), cause = %cause, "release could not be decided");
        let mut entry = Entry::new(EntryKind::Denied, random::array().map_err(|_| Error::Randomness)?).by(caller);
        entry.method = Some(METHOD.into());
        entry.credential = Some(request.credential);
        entry.verdict = Some(Verdict::Denied);
        entry.reason = Some(reason);
        entry.class = Some(request.class);
        self.verdicts.denied(reason);
        match self.records.apply(entry, Operation::Note).await {
            Ok(at) => Ok(Answer::Denied { at: Some(at), reason, retry_at: None }),
            Err(error) => Err(error.into()),
        }
    }

    /// A grant was committed and its answer cannot leave: says so in an OUTCOME entry.
    pub(crate) async fn outcome(&self, granted: &Evidence<ReleaseWarrant>, cause: Error) -> Error {
        let reason = cause.reason();
        self.verdicts.undelivered(reason);
        tracing::warn!(reason = reason.as_str(), index = granted.at.index, cause = %cause, "grant not delivered");
        self.follow(granted, |entry| (entry.verdict, entry.reason) = (Some(Verdict::Denied), Some(reason))).await;
        Error::Undelivered { cause: Box::new(cause), granted: granted.at }
    }

    /// Appends the OUTCOME of `granted`, with what `says` writes into it.
    async fn follow(&self, granted: &Evidence<ReleaseWarrant>, says: impl FnOnce(&mut Entry)) {
        let Ok(id) = random::array() else {
            tracing::error!(index = granted.at.index, "outcome not recorded: no randomness");
            return;
        };
        let mut entry = outcome_of(granted, id);
        says(&mut entry);
        if let Err(error) = self.records.apply(entry, Operation::Note).await {
            tracing::error!(index = granted.at.index, error = %error, "outcome not recorded");
        }
    }

    /// The answer was given to the transport and nobody knows how much of it left. SECURITY: an outcome without a verdict
    /// takes nothing back. The lease stays, since whoever delays his own reading may hold the login.
    pub async fn unknown(&self, granted: &Evidence<ReleaseWarrant>) {
        self.verdicts.unknown();
        tracing::warn!(index = granted.at.index, "nobody knows whether a grant was delivered");
        self.follow(granted, |entry| entry.reference = Some(UNKNOWN.into())).await;
    }

    /// The answer never left, and will not.
    pub async fn abandoned(&self, granted: &Evidence<ReleaseWarrant>) {
        let _ = self.outcome(granted, TooLate.into()).await;
    }
}

fn outcome_of(granted: &Evidence<ReleaseWarrant>, id: EntryId) -> Entry {
    let mut entry = Entry::new(EntryKind::Outcome, id);
    entry.method = Some(METHOD.into());
    entry.tenant = Some(granted.warrant.tenant);
    entry.credential = Some(granted.warrant.credential);
    entry.owner = Some(granted.warrant.owner);
    entry.follows = Some(granted.at.index);
    entry
}
