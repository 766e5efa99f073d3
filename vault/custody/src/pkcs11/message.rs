//! What goes to an owner thread and comes back. Plain data and slab handles only: the same words run between threads of
//! one process and, as `wire` writes them, between two processes, keys passing through memory both share.

use cofre_envelope::BoundShare;

use super::ceremony::Begun;
use super::login::Standing;
use super::trouble::Trouble;
use crate::custodian::{Mechanism, VerifyingKey};
use crate::fault::Cause;

/// What an owner thread is asked. Every command can be done twice without harm.
pub(super) enum Command {
    /// Connect and say what the token is.
    Facts,
    /// Make sure that the session lives.
    Check,
    /// Say how many sessions the token counts.
    Census,
    /// Wrap a share, the context as associated data.
    Wrap { context: Vec<u8>, share: BoundShare },
    /// Unwrap one that was wrapped so.
    Unwrap { mechanism: Mechanism, context: Vec<u8>, wrapped: Vec<u8> },
    /// Sign.
    Sign { message: Vec<u8> },
}

/// What it answers.
pub(super) enum Reply {
    Facts(Box<Facts>),
    Ready,
    /// Sessions of this process that are open by the token's own count; none where it does not say.
    Sessions(Option<u64>),
    Wrapped(Vec<u8>),
    Share(BoundShare),
    Signature([u8; 64]),
}

/// An answer of either kind.
pub(super) type Answer = Result<Reply, Trouble>;

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) manufacturer: String,
    pub(super) model: String,
    pub(super) serial: String,
    pub(super) label: String,
    /// Sessions the token allows, where it says.
    pub(super) max_sessions: Option<usize>,
    pub(super) signer: Option<VerifyingKey>,
}

/// What makes a token the one it was: kept by whoever may have to open it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// A throw-away value wrapped when the token was first seen: opens as long as the key is the same one.
    pub(super) sealed: Vec<u8>,
    /// The public half of the signing key, where one is configured.
    pub(super) signer: Option<VerifyingKey>,
    /// How the wrapping key wraps.
    pub(super) mechanism: Mechanism,
    /// What showed it.
    pub(super) why: String,
}

/// What an owner wants known beside its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    /// A session was opened on the token of this serial number.
    SessionOpened(String),
    /// A session was given up: the cause, and what the library said.
    SessionGivenUp(Cause, String),
    /// The token did not take a session back, and said this.
    SessionKept(String),
    /// What is known about the PIN now. Said *before* a try as well, so that a process that dies in it leaves word.
    Pin(Standing),
    /// How far a key of a ceremony came. Said *before* a step that may make it as well, for the same reason.
    Key(Box<Begun>),
}

/// Where notes go. Called on owner threads; must not wait for one.
pub(super) type Notes = Box<dyn Fn(Note) + Send + Sync>;

impl Note {
    /// Writes the note to the log.
    pub(super) fn log(&self, custodian: &str) {
        match self {
            Self::SessionOpened(serial) => tracing::info!(custodian, serial, "session opened"),
            Self::SessionGivenUp(cause, said) => {
                tracing::warn!(custodian, cause = cause.as_str(), error = said, "session given up");
            }
            Self::SessionKept(said) => tracing::warn!(custodian, error = said, "session not taken back"),
            Self::Pin(standing) => tracing::debug!(custodian, standing = ?standing, "PIN"),
            Self::Key(begun) => {
                tracing::info!(custodian, label = begun.key.label, reached = ?begun.reached, "key of a ceremony");
            }
        }
    }
}
