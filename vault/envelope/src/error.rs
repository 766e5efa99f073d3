//! Why something could not be sealed, opened, wrapped or unwrapped. Causes only: no value, no name, no key.

/// A cause of failure in the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The first byte names no suite this build reads, or a KEM id is unknown.
    #[error("the suite is unknown")]
    UnknownSuite,
    /// There are fewer bytes than the format needs.
    #[error("the sealed bytes are truncated")]
    Truncated,
    /// The commitment differs: another key or another context sealed this.
    #[error("the key commitment does not match")]
    Commitment,
    /// The authentication tag differs: the bytes were changed, or another context sealed them.
    #[error("the authentication tag does not match")]
    Tag,
    /// The plaintext is not padded as the format demands.
    #[error("the padding is not canonical")]
    Padding,
    /// All slots of locked memory are in use. Wait and try again, or answer UNAVAILABLE.
    #[error("locked memory is full; retry when other calls have ended")]
    SlabFull,
    /// A value is longer than a slot of locked memory, or than its length prefix can say.
    #[error("a value is longer than 4094 bytes")]
    TooLong,
    /// The operating system gave no randomness. Nothing was sealed.
    #[error("the system's randomness is not available")]
    Randomness,
    /// A public key is not one of its suite.
    #[error("the public key does not fit its suite")]
    PublicKey,
    /// An encapsulated key is not one of its suite.
    #[error("the encapsulated key does not fit its suite")]
    Encapsulation,
    /// The tenant key is not the one recorded: its derived id differs.
    #[error("the tenant key is not the one recorded")]
    WrongTenantKey,
    /// A custodian returned a share that was wrapped for another context.
    #[error("the share was wrapped for another context")]
    WrongContext,
    /// A key cannot be split into, or combined from, no shares.
    #[error("at least one share is needed")]
    NoShares,
    /// The fields of a deposit do not stand at positions 0, 1, 2 and so on.
    #[error("the fields are not in the order they were sealed in")]
    Order,
    /// A released payload is not encoded as the format demands.
    #[error("the released payload is not canonical")]
    Payload,
    /// A field that was asked for is not in the login.
    #[error("a field that was asked for is not in the login")]
    FieldAbsent,
    /// A field was named twice.
    #[error("a field is named twice")]
    FieldRepeated,
    /// The form asked for cannot be made from this field.
    #[error("the form asked for cannot be made from this field")]
    FormRefused,
    /// A position is not within the value, or the positions are not ascending, or there are none.
    #[error("positions must be ascending, from 1, within the value")]
    Position,
    /// Positions were asked of a value that is not UTF-8 text.
    #[error("positions were asked of a value that is not text")]
    NotText,
}

/// A row's MAC does not fit its content: somebody without the integrity key wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the row's authentication code does not match")]
pub struct Forged;
