//! What can go wrong with the register, and why the integrator refuses to sign.

use cofre_model::reason::Reason;

/// The integrator will not sign: what records hold is not what it committed itself to. Nothing is signed until a
/// person has looked; entries go on being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// Records hold fewer entries than were committed to.
    #[error(
        "records end at entry {records} but a tree of {committed} was committed to: records were restored from an older \
         copy; re-import the mirrored entries at their indices, nothing is signed before"
    )]
    RecordsBehind {
        /// Entries that records hold.
        records: u64,
        /// The size committed to.
        committed: u64,
    },
    /// The entries give another root than the one committed to.
    #[error(
        "fork: the first {size} entries do not give the root that was committed to; treat it as an incident, records or \
         keyring were changed"
    )]
    Fork {
        /// The size at which the roots differ.
        size: u64,
    },
    /// A checkpoint is published for which the keyring holds no commitment, or a smaller one.
    #[error(
        "a checkpoint of {published} entries is published but the keyring committed to {committed}: the keyring was \
         restored from an older copy; restore its newest one"
    )]
    KeyringBehind {
        /// The size committed to; 0 for none.
        committed: u64,
        /// The size published.
        published: u64,
    },
    /// The stored hash tiles do not give the root of the published checkpoint.
    #[error("the stored tiles do not give the root of the checkpoint of {size} entries; restore records from a backup")]
    Tiles {
        /// The size of the checkpoint.
        size: u64,
    },
}

/// Why a checkpoint was not signed, or a read of the register not answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Refused; where the caller can mend it, the field and the way out are named.
    #[error("refused: {reason}")]
    Refused {
        /// The exact reason.
        reason: Reason,
        /// The field and what it has to be. Holds nothing of what was sent.
        field: Option<(&'static str, &'static str)>,
    },
    /// The integrator refuses to sign.
    #[error(transparent)]
    Halted(#[from] Halt),
    /// The stores cannot be reached or do not answer.
    #[error("store: {0}")]
    Store(#[from] cofre_store::Error),
    /// The commit refused, or could not be had.
    #[error("commit: {0}")]
    Commit(#[from] cofre_store::CommitError),
    /// The signer in the token failed.
    #[error("signer: {0}")]
    Signer(#[from] cofre_custody::Fault),
    /// The token gave a signature that does not hold under its own public key.
    #[error("the token gave a signature that does not hold under its own public key")]
    FaultySignature,
    /// The deployment's verifier key cannot be made.
    #[error("verifier key: {0}")]
    Key(&'static str),
    /// The stored checkpoint is not one that the deployment's signer made.
    #[error("stored checkpoint: {0}")]
    Checkpoint(#[from] cofre_ledger::checkpoint::CheckpointError),
    /// A stored entry is not one this program writes.
    #[error("stored entry {index}: {cause}")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong with it.
        cause: cofre_ledger::entry::EntryError,
    },
    /// An entry or a tile that must be there is not.
    #[error("the register lacks what its checkpoint covers")]
    Missing,
    /// A line of an export could not be written.
    #[error("export: {0}")]
    Export(#[from] cofre_ledger::export::WriteError),
    /// No randomness was to be had.
    #[error("the system gives no randomness")]
    Randomness,
}

impl From<cofre_ledger::tile::MissingTile> for Error {
    fn from(_: cofre_ledger::tile::MissingTile) -> Self {
        Self::Missing
    }
}

impl Error {
    pub(crate) const fn refused(reason: Reason) -> Self {
        Self::Refused { reason, field: None }
    }

    pub(crate) const fn field(reason: Reason, field: &'static str, advice: &'static str) -> Self {
        Self::Refused { reason, field: Some((field, advice)) }
    }

    /// The exact reason for the register.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused { reason, .. } => *reason,
            Self::Store(cofre_store::Error::Corrupt { .. })
            | Self::Halted(_)
            | Self::Checkpoint(_)
            | Self::Entry { .. }
            | Self::Missing => Reason::IntegrityFailure,
            Self::Store(_) => Reason::AuditUnavailable,
            Self::Commit(error) => error.reason(),
            Self::Signer(_) | Self::FaultySignature | Self::Key(_) => Reason::KeyServiceUnavailable,
            Self::Export(_) | Self::Randomness => Reason::Internal,
        }
    }

    /// The field that the caller can mend, and what it has to be.
    #[must_use]
    pub const fn advice(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Refused { field, .. } => *field,
            _ => None,
        }
    }
}
