//! What goes across the queue. Plain data and slab handles only: this is the interface that later runs between two
//! processes, keys passing through memory both share.

use cofre_envelope::BoundShare;

use crate::custodian::VerifyingKey;

/// What an owner thread is asked.
pub(super) enum Command {
    /// Connect and say what the token is.
    Facts,
    /// Make sure that the session lives.
    Check,
    /// Wrap a share, the context as associated data.
    Wrap { context: Vec<u8>, share: BoundShare },
    /// Unwrap one.
    Unwrap { context: Vec<u8>, wrapped: Vec<u8> },
    /// Sign.
    Sign { message: Vec<u8> },
}

/// What it answers.
pub(super) enum Reply {
    Facts(Box<Facts>),
    Ready,
    Wrapped(Vec<u8>),
    Share(BoundShare),
    Signature([u8; 64]),
}

/// What a token is.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) manufacturer: String,
    pub(super) model: String,
    pub(super) serial: String,
    pub(super) label: String,
    /// Sessions the token allows, where it says.
    pub(super) max_sessions: Option<usize>,
    pub(super) signer: Option<VerifyingKey>,
}
