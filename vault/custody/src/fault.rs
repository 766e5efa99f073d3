//! What can go wrong at a custodian: by operation and cause, each cause with one line of advice. No cause carries
//! key material, PINs or a caller's data.

use std::fmt;

use crate::custodian::{CustodianId, RequestId};

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Loading the module.
    Load,
    /// Finding the token and opening a session on it.
    Connect,
    /// Logging in.
    LogIn,
    /// Finding a key and reading its attributes.
    FindKey,
    /// Making a key (ceremony only).
    MakeKey,
    /// Making a token (ceremony only).
    MakeToken,
    /// Wrapping and unwrapping a throw-away value at start.
    Probe,
    /// Asking whether it would serve.
    Check,
    /// Wrapping a share.
    Wrap,
    /// Unwrapping a share.
    Unwrap,
    /// Signing.
    Sign,
    /// Closing down.
    Close,
}

impl Operation {
    /// Every operation.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Load,
        Self::Connect,
        Self::LogIn,
        Self::FindKey,
        Self::MakeKey,
        Self::MakeToken,
        Self::Probe,
        Self::Check,
        Self::Wrap,
        Self::Unwrap,
        Self::Sign,
        Self::Close,
    ];

    /// The text for messages and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Connect => "connect",
            Self::LogIn => "log in",
            Self::FindKey => "find key",
            Self::MakeKey => "make key",
            Self::MakeToken => "make token",
            Self::Probe => "probe",
            Self::Check => "check",
            Self::Wrap => "wrap",
            Self::Unwrap => "unwrap",
            Self::Sign => "sign",
            Self::Close => "close",
        }
    }
}

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $advice:literal;)*) => {
        /// Why a custodian did not serve.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Cause { $($(#[$doc])* $name,)* }

        impl Cause {
            /// Every cause.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The text for ledger entries and metric labels.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// One line for the operator: what to do.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)* }
            }
        }
    };
}

causes! {
    /// A glitch; the session it happened on was replaced.
    Transient = "TRANSIENT", "try again; if it stays, look at the device's own log";
    /// All sessions are in use and the queue did not move in time.
    Busy = "BUSY", "try again; if it stays, raise `sessions`, or close other programs that hold sessions on the token";
    /// The device did not answer in time.
    Timeout = "TIMEOUT", "try again; if it stays, look at the device and the network path to it";
    /// No token of that label or serial number is in any slot.
    TokenAbsent = "TOKEN_ABSENT", "put the token back, or correct `token_label`; service resumes by itself";
    /// The process that holds the module ended. It is started again by itself.
    Crashed = "CRASHED", "try again; if it stays, the module is broken: update it, or ask its vendor";
    /// The token refused the PIN. It is not tried again.
    PinIncorrect = "PIN_INCORRECT", "correct the `pin` reference and restart; the PIN is not tried again, so that the token does not lock";
    /// The token is locked after too many wrong PINs.
    PinLocked = "PIN_LOCKED", "the security officer of the token has to set a new user PIN; then restart";
    /// The PIN is expired, not set, or of a length the token does not take.
    PinUnusable = "PIN_UNUSABLE", "set a user PIN that the token accepts, correct the `pin` reference and restart";
    /// The token failed while the PIN was tried and did not say whether that counted, or it has one try left.
    PinInDoubt = "PIN_IN_DOUBT", "look how many tries the token has left, check the `pin` reference, log in once by hand with the vendor's tool, then restart; the PIN is not tried again by itself";
    /// There is no such key on the token or at the service, or another one than before.
    KeyMissing = "KEY_MISSING", "check `key_label` or `key`, and that this is the right token, account, project or mount; make keys only for a new deployment; nothing was deleted";
    /// Several keys, or several tokens, carry the label.
    KeyAmbiguous = "KEY_AMBIGUOUS", "give each token, and each key on it, a label of its own; none is chosen by chance";
    /// The custodian does not permit this use of the key.
    KeyDisabled = "KEY_DISABLED", "enable the key, its version, or its use for encryption, decryption or signing; service resumes by itself";
    /// The key, or its version, is scheduled for destruction.
    KeyPendingDeletion = "KEY_PENDING_DELETION", "cancel the deletion now, while the waiting period lasts, and enable the key: what is wrapped under it is lost with it";
    /// The key, or the version that wrapped, is destroyed.
    KeyDestroyed = "KEY_DESTROYED", "nothing brings the key back: use the other custodians of the set, or a backup of the key where its service allows one";
    /// The service allows so many calls in a time and no more.
    Throttled = "THROTTLED", "try again later; if it stays, ask the provider for a higher quota, or raise `warm_for`";
    /// The service knows the caller and refuses, or does not accept who the caller says it is.
    Denied = "DENIED", "check the node's credentials, and that they are allowed to describe, encrypt, decrypt and sign with this key; service resumes by itself";
    /// Something answers at the address that is not the service.
    EndpointWrong = "ENDPOINT_WRONG", "check `endpoint` or `address`, `region` and `mount`, the name service, and any proxy between: what answers there is not this service";
    /// The service finds the node's clock too far from its own.
    ClockSkew = "CLOCK_SKEW", "set this machine's clock, and see that its time service runs; service resumes by itself";
    /// A checksum of the request or of the answer did not match.
    BadChecksum = "BAD_CHECKSUM", "try again; if it stays, something on the way changes requests or answers: look for a proxy that rewrites them, and at the memory of this machine";
    /// The key may leave the token, or may do more than its purpose.
    KeyUnsafe = "KEY_UNSAFE", "use a key that is sensitive, not extractable or exportable, and allowed nothing but its purpose";
    /// Something on the token has the label already.
    KeyExists = "KEY_EXISTS", "choose labels that nothing on the token has; a key that is there is never overwritten or deleted";
    /// The token takes no new objects.
    TokenReadOnly = "TOKEN_READ_ONLY", "lift the token's write protection, or make the keys on a machine that may write to it";
    /// Wrapped bytes do not open under this key and context.
    Integrity = "INTEGRITY_FAILURE", "treat it as an incident: a keyring row was changed or moved, or the key is another one";
    /// The token, or the key, cannot do what is needed.
    Unsupported = "UNSUPPORTED", "a token's key must go with AES-GCM, AES-KWP or RSA-OAEP with SHA-256, and with `mechanism` where that is set; a service's key must encrypt with associated data; signing takes Ed25519 or ECDSA P-256";
    /// The module cannot be loaded, or is not the pinned one.
    ModuleUnusable = "MODULE_UNUSABLE", "check `module`: the path, its permissions, and its SHA-256 if one is configured";
    /// The process that holds the module could not be started, or not be walled in.
    Unprotected = "UNPROTECTED", "the detail says what the kernel refused; give the module what it needs by `sandbox`, or a kernel with Landlock and seccomp";
    /// A token of that label exists already.
    TokenExists = "TOKEN_EXISTS", "choose another label; an existing token is never initialised anew";
    /// There was no room in locked memory.
    LockedMemory = "LOCKED_MEMORY", "try again; if it stays, raise the limit of locked memory";
    /// Several calls in a row found the custodian in trouble: for seconds it is not asked.
    Resting = "RESTING", "look at the faults before this one, which say what is wrong; the custodian is left alone for four seconds at most, and service resumes by itself";
    /// The driver was closed.
    Stopped = "STOPPED", "the process is shutting down";
}

impl Cause {
    /// Whether the same call may succeed later with nothing changed by a person.
    #[must_use]
    pub const fn retryable(self) -> bool {
        matches!(
            self,
            Self::Transient
                | Self::Busy
                | Self::Timeout
                | Self::TokenAbsent
                | Self::Crashed
                | Self::LockedMemory
                | Self::Throttled
                | Self::BadChecksum
                | Self::Resting
        )
    }
}

/// What a fault says of its custodian as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// It is away, too slow, or asks to be spared: others who ask now will wait in vain.
    Trouble,
    /// It answers, though it refuses this.
    Answers,
    /// Nothing: the call was kept from it.
    Nothing,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which library function answered what, by its standard names; for the operator's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail(pub(crate) String);

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A custodian did not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which one.
    pub custodian: CustodianId,
    /// What it was asked.
    pub operation: Operation,
    /// Why it did not.
    pub cause: Cause,
    /// What the library said, where it said anything.
    pub detail: Option<Detail>,
    /// The call, where one was made.
    pub request: Option<RequestId>,
}

impl Fault {
    /// One line for the operator: what to do.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        self.cause.advice()
    }

    /// What it says of the custodian as a whole.
    pub(crate) const fn says(&self) -> Says {
        match self.cause {
            Cause::Transient | Cause::Timeout | Cause::Crashed | Cause::Throttled => Says::Trouble,
            Cause::Busy | Cause::LockedMemory | Cause::Resting | Cause::Stopped => Says::Nothing,
            // A driver refuses a row that it can tell is not its own without asking anybody.
            Cause::KeyMissing | Cause::Integrity if self.request.is_none() => Says::Nothing,
            _ => Says::Answers,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "custodian {} could not {}: {}", self.custodian, self.operation.as_str(), self.cause)?;
        if let Some(detail) = &self.detail {
            write!(f, " ({detail})")?;
        }
        write!(f, "; {}", self.advice())
    }
}

impl std::error::Error for Fault {}
