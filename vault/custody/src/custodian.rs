//! The seam in front of the hardware: what a custodian and a signer can do, whatever makes them.
//!
//! A driver moves opaque bytes: it is handed a share already bound to its context and gives one back still bound.
//! Binding and the constant-time check of the binding are in [`crate::Wrapping`] and [`crate::Unwrapping`], once for
//! all drivers, so that no driver can forget them.

use std::fmt;
use std::pin::Pin;

use cofre_envelope::BoundShare;
use cofre_model::id::{IdError, Slug};
use cofre_model::permit::{Permit, Warm};
use cofre_model::sealed::WrappedKey;

use crate::fault::Fault;
use crate::set::WrappedShare;
use crate::tally::Usage;

/// A future of a trait method that is called through `dyn`.
pub type Pending<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// The configured name of a custodian, such as `hsm-1`. It is part of what a share is bound to: renaming one means
/// wrapping anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustodianId(Slug);

impl CustodianId {
    /// The text, exactly as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<&str> for CustodianId {
    type Error = IdError;
    fn try_from(text: &str) -> Result<Self, IdError> {
        Slug::try_from(text).map(Self)
    }
}

impl fmt::Display for CustodianId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a share was wrapped. Kept beside the wrapped bytes, so that several may be in use during a rewrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// AES-256-GCM inside the token, the context as associated data (NIST SP 800-38D).
    /// Bytes: nonce(12) ‖ ciphertext(64) ‖ tag(16).
    AesGcm,
    /// AES-KWP inside the token (RFC 5649) over a secret of 64 bytes. No associated data: the share's second half binds
    /// the context. Bytes: 72.
    AesKwp,
    /// RSA-OAEP with SHA-256 and MGF1 with SHA-256, without a label (RFC 8017). No associated data either. Bytes: as
    /// long as the modulus.
    RsaOaepSha256,
    /// Encrypt of AWS KMS under a symmetric key, the context as encryption context. Bytes: the service's own.
    AwsKms,
    /// Encrypt of Google Cloud KMS, the context as additional authenticated data. Bytes: the service's own.
    GcpKms,
    /// Encrypt of a transit engine, the context as associated data. Bytes: the engine's text, `vault:v<version>:…`.
    TransitAead,
    /// As [`Mechanism::TransitAead`], under a key that the engine derives from the context besides.
    TransitDerived,
}

impl Mechanism {
    /// Every mechanism.
    pub const ALL: [Self; 7] = [
        Self::AesGcm,
        Self::AesKwp,
        Self::RsaOaepSha256,
        Self::AwsKms,
        Self::GcpKms,
        Self::TransitAead,
        Self::TransitDerived,
    ];

    /// The text in keyring rows and configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AesGcm => "aes-gcm",
            Self::AesKwp => "aes-kwp",
            Self::RsaOaepSha256 => "rsa-oaep-sha256",
            Self::AwsKms => "aws-kms",
            Self::GcpKms => "gcp-kms",
            Self::TransitAead => "transit-aead",
            Self::TransitDerived => "transit-derived",
        }
    }

    /// From its exact text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }
}

/// The id under which one call of a custodian can be found again. A cloud service gives its own; a token gives none,
/// so its driver makes one: custodian, process run, running number. A call that was tried again has one for each try: the
/// custodian may have served every one of them, and its own log shows them all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId {
    text: String,
    tries: u32,
}

impl RequestId {
    /// Takes the id a custodian answered with, or one a driver made.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self { text, tries: 1 }
    }

    /// This call, of which `earlier` tries were lost or failed.
    #[cfg(any(feature = "aws", feature = "gcp", feature = "transit"))]
    pub(crate) fn after(self, earlier: Option<Self>) -> Self {
        match earlier {
            Some(earlier) => Self {
                text: format!("{},{}", earlier.text, self.text),
                tries: earlier.tries.saturating_add(self.tries),
            },
            None => self,
        }
    }

    /// The text for ledger entries: the ids of all tries, a comma between.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How often the custodian was asked; one unless a try was lost or failed.
    #[must_use]
    pub const fn tries(&self) -> u32 {
        self.tries
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What wrapping one share gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// The wrapped bytes, opaque to everybody but this custodian.
    pub bytes: WrappedKey,
    /// How they were made.
    pub mechanism: Mechanism,
    /// Which of the custodian's keys made them.
    pub custodian_key: String,
    /// The call.
    pub request: RequestId,
}

/// What unwrapping one share gave: still bound, not yet checked.
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct Unwrapped {
    /// The share with the digest it was bound to.
    pub share: BoundShare,
    /// The call.
    pub request: RequestId,
}

/// What a custodian is, for start-up messages, `cofred check` and the refusal of simulators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its configured name.
    pub custodian: CustodianId,
    /// Who made the library, as it says itself; of a service, its name.
    pub manufacturer: String,
    /// Model of the token; of a service, what kind of key wraps.
    pub model: String,
    /// Serial number of the token; of a service, the account, project or mount.
    pub serial: String,
    /// Label of the token; of a service, the address it is reached at.
    pub token_label: String,
    /// Label of the wrapping key; of a service, the key's full name.
    pub key_label: String,
    /// The mechanism that was found to work.
    pub mechanism: Mechanism,
    /// Parallel sessions in use; of a service, calls that may be under way at once.
    pub sessions: usize,
    /// Algorithm of the signing key, where one is configured.
    pub signer: Option<&'static str>,
}

impl Description {
    /// What hsm-sim answers for its manufacturer. Repeated here because nothing may link that crate.
    const SIMULATOR: &'static str = "Cofre hsm-sim";

    /// Whether this is the development module, which production refuses.
    #[must_use]
    pub fn is_simulator(&self) -> bool {
        self.manufacturer == Self::SIMULATOR
    }
}

/// Wraps and unwraps shares of tenant keys under a key that never leaves the hardware.
pub trait Custodian: Send + Sync + fmt::Debug {
    /// Its configured name.
    fn id(&self) -> &CustodianId;

    /// What it is. Known since it was opened; costs no call.
    fn describe(&self) -> Description;

    /// What was asked of it lately; nothing where nobody counts.
    fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Whether it would serve now. Costs a call to the hardware, and no use of a key. How seldom it is asked is for
    /// [`crate::Guarded`] to say.
    ///
    /// # Errors
    /// The [`Fault`] that a wrap or unwrap would meet.
    fn check(&self) -> Pending<'_, (), Fault>;

    /// Wraps a bound share; `context` is sent as associated data where the mechanism has any.
    ///
    /// # Errors
    /// Any [`Fault`]; nothing was wrapped then.
    fn wrap(&self, context: Vec<u8>, share: BoundShare) -> Pending<'_, Wrapped, Fault>;

    /// Unwraps a share. The permit is the witness that a Warm entry is committed; it is consumed by the caller, who
    /// may need several custodians for one tenant key.
    ///
    /// # Errors
    /// [`crate::Cause::Integrity`] when the bytes do not open under this key and context; else what failed.
    fn unwrap<'a>(
        &'a self,
        permit: &'a Permit<Warm>,
        context: Vec<u8>,
        wrapped: &'a WrappedShare,
    ) -> Pending<'a, Unwrapped, Fault>;
}

/// Signs with a private key that never leaves the hardware.
pub trait Signer: Send + Sync + fmt::Debug {
    /// The public half, read when the signer was opened.
    fn public_key(&self) -> &VerifyingKey;

    /// Signs `message`: Ed25519 (RFC 8032, pure), or ECDSA over its SHA-256 digest as r ‖ s.
    ///
    /// # Errors
    /// Any [`Fault`]; no signature was given then.
    fn sign<'a>(&'a self, message: &'a [u8]) -> Pending<'a, [u8; 64], Fault>;
}

/// The public half of a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyingKey {
    /// RFC 8032.
    Ed25519([u8; 32]),
    /// ECDSA on P-256 with SHA-256 (FIPS 186-5); the point in SEC 1 uncompressed form.
    P256([u8; 65]),
}

impl VerifyingKey {
    /// The name of the algorithm in configuration, receipts and exports.
    #[must_use]
    pub const fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "ed25519",
            Self::P256(_) => "ecdsa-p256-sha256",
        }
    }

    /// The key's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Ed25519(bytes) => bytes,
            Self::P256(bytes) => bytes,
        }
    }
}
