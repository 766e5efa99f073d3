//! What can go wrong with a call, so that a caller can act: the vault refused and says what to do, it did not answer,
//! or what it said does not hold.

use std::time::Duration;

use cofre_model::reason::PublicReason;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::connect::{Cause, cause};

/// The domain of the vault's `google.rpc.ErrorInfo`. Reasons of other domains are somebody else's words.
const DOMAIN: &str = "cofre";
/// Where `ErrorInfo` carries the index of the refusal's ledger entry.
const ENTRY: &str = "entry";

/// A field of the request to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// Its path, such as `fields[2].key`.
    pub field: String,
    /// What it has to be.
    pub way_out: String,
}

/// The vault said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused{}: {message}", .reason.map(|reason| format!(" ({reason})")).unwrap_or_default())]
pub struct Refused {
    /// The status code.
    pub code: Code,
    /// The public reason; none where what answered is not the vault's counter.
    pub reason: Option<PublicReason>,
    /// The vault's own sentence about what to do.
    pub message: String,
    /// The index of the ledger entry that records the refusal, where it has one of its own.
    pub entry: Option<u64>,
    /// When the same call may do better.
    pub retry_after: Option<Duration>,
    /// Fields to mend.
    pub fields: Vec<FieldProblem>,
}

impl Refused {
    /// The text of the public reason, or that of the status code.
    #[must_use]
    pub fn public_reason(&self) -> &'static str {
        self.reason.map_or_else(|| self.code.description(), PublicReason::as_str)
    }
}

/// Something that was signed or sealed does not hold. Nothing of it may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotVerified {
    /// A deposit key that the deployment's signer did not sign.
    #[error("the deposit key is not the pinned deployment's for the pinned tenant; seal nothing, check what is pinned")]
    DepositKey,
    /// A deposit key outside its validity.
    #[error("the deposit key is not valid at this time; fetch the current one, check this machine's clock")]
    DepositKeyTime,
    /// A receipt or certificate.
    #[error("the receipt or certificate is not the pinned deployment's word about what was asked")]
    Paper,
    /// A chain of receipts with a link missing.
    #[error("a receipt does not name the digest of the one before it")]
    PaperChain,
    /// A notice whose lines do not have the digest it claims.
    #[error("the notice's digest is not that of its lines; do not show it")]
    Notice,
    /// A challenge key whose chain does not lead to the trusted authorities, or of no worker.
    #[error("the challenge key is not vouched for by a trusted worker's certificate; do not answer")]
    ChallengeIdentity,
    /// A challenge key whose signature does not hold.
    #[error("the challenge key is not signed by the worker it names; do not answer")]
    ChallengeKey,
    /// A promise.
    #[error("the promise about the ledger entry does not hold under the pinned deployment")]
    Promise,
    /// A proof.
    #[error("the proof does not show the entry in the pinned deployment's ledger")]
    Proof,
    /// The answer was sealed for another request, entry or worker.
    #[error("the answer does not open for this request, entry and worker")]
    Answer,
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The vault said no, and what to do.
    #[error(transparent)]
    Refused(Box<Refused>),
    /// The vault could not be asked.
    #[error("no answer: {0}")]
    NoAnswer(#[from] Cause),
    /// The connection broke, or the call took too long, before an answer was whole.
    #[error("the call to the vault broke off; whether it took effect is in its ledger")]
    BrokenOff,
    /// An answer whose field is malformed: the vault and this client are not of one version.
    #[error("the vault's answer: {0} is missing or malformed")]
    Answer(&'static str),
    /// What was said does not hold.
    #[error(transparent)]
    NotVerified(#[from] NotVerified),
    /// A statement given to this client cannot be read.
    #[error("{0}: not a statement of this kind")]
    Statement(&'static str),
    /// Sealing or key generation failed.
    #[error("sealing: {0}")]
    Sealing(#[from] cofre_envelope::Error),
    /// This process's identity cannot sign.
    #[error(transparent)]
    Material(#[from] crate::identity::MaterialError),
    /// Where an export is written to.
    #[error("writing the export: {0}")]
    Write(#[from] std::io::Error),
}

impl Error {
    /// The refusal, if it is one.
    #[must_use]
    pub fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            _ => None,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        let Some(info) = info else {
            if let Some(cause) = cause(&status) {
                return Self::NoAnswer(cause);
            }
            // Codes a transport makes by itself when a stream dies under a call.
            if matches!(status.code(), Code::Unknown | Code::Cancelled | Code::DeadlineExceeded | Code::Unavailable) {
                return Self::BrokenOff;
            }
            return Self::Refused(Box::new(Refused {
                code: status.code(),
                reason: None,
                message: status.message().to_owned(),
                entry: None,
                retry_after: None,
                fields: Vec::new(),
            }));
        };
        let fields = details.bad_request().into_iter().flat_map(|bad| &bad.field_violations);
        Self::Refused(Box::new(Refused {
            code: status.code(),
            reason: PublicReason::from_text(&info.reason),
            message: status.message().to_owned(),
            entry: info.metadata.get(ENTRY).and_then(|index| index.parse().ok()),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            fields: fields
                .map(|each| FieldProblem { field: each.field.clone(), way_out: each.description.clone() })
                .collect(),
        }))
    }
}

#[cfg(test)]
mod tests;
