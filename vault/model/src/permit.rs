//! Permits: authority as a value. A key opens only against a permit, and a permit is minted only by a committed
//! ledger entry. The one [`Mint`] of a process is made in `server` and moved into `store`.
//!
//! A permit cannot be forged:
//! ```compile_fail
//! # use cofre_model::permit::{Permit, Release, Evidence, ReleaseWarrant};
//! fn forge(entry: Evidence<ReleaseWarrant>) -> Permit<Release> {
//!     Permit { entry } // private field
//! }
//! ```
//! It cannot be copied:
//! ```compile_fail
//! # use cofre_model::permit::{Permit, Release};
//! fn twice(permit: Permit<Release>) -> (Permit<Release>, Permit<Release>) {
//!     (permit.clone(), permit)
//! }
//! ```
//! It cannot be used twice:
//! ```compile_fail
//! # use cofre_model::permit::{Permit, Release};
//! fn open(permit: Permit<Release>) { drop(permit) }
//! fn twice(permit: Permit<Release>) {
//!     open(permit);
//!     open(permit);
//! }
//! ```
//! The passing twin: it can be read, its evidence copied, and the permit moved into one operation.
//! ```
//! # use cofre_model::permit::{Permit, Release, Evidence, ReleaseWarrant};
//! fn open(permit: Permit<Release>) -> Evidence<ReleaseWarrant> {
//!     let evidence = permit.entry().clone();
//!     drop(permit);
//!     evidence
//! }
//! ```

use std::fmt;

use crate::credential::FieldRequest;
use crate::id::{CredentialId, DepositKeyId, EnrolmentId, KeyJobId, SubjectId, TenantId};
use crate::time::{Monotonic, Span, Timestamp};
use crate::wording::Class;

/// The span between submitting a grant's commit and the last instant its answer may leave.
pub const SEND_WITHIN: Span = Span::millis(80);

/// Until when, on this node's monotonic clock, the answer of a grant may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendBy(Monotonic);

/// The answer came too late to leave; it is dropped and recorded as NOT_DELIVERED.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer was not ready within its time to leave")]
pub struct TooLate;

impl SendBy {
    /// Counted from the instant the commit was submitted, not from when it returned.
    #[must_use]
    pub const fn from_submission(submitted: Monotonic) -> Self {
        Self(submitted.plus(SEND_WITHIN))
    }

    /// Whether the answer may still leave at `now`.
    ///
    /// # Errors
    /// [`TooLate`] once the instant has passed.
    pub fn check(self, now: Monotonic) -> Result<(), TooLate> {
        if now <= self.0 { Ok(()) } else { Err(TooLate) }
    }

    /// How long after `now` the answer may still leave; nothing once the instant has passed.
    #[must_use]
    pub fn left(self, now: Monotonic) -> Option<Span> {
        self.check(now).ok().map(|()| Span::micros(self.0.micros().saturating_sub(now.micros())))
    }
}

/// Where an entry stands in the ledger. Evidence, no authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRef {
    /// Index in the ledger, from 0.
    pub index: u64,
    /// RFC 6962 leaf hash of the entry.
    pub leaf_hash: [u8; 32],
    /// The time the commit put on it.
    pub time: Timestamp,
}

/// A committed entry together with what it warrants. It may be copied; it opens nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence<W> {
    /// The entry.
    pub at: EntryRef,
    /// Until when the answer may leave.
    pub send_by: SendBy,
    /// What was committed.
    pub warrant: W,
}

mod sealed {
    #[expect(unnameable_types, reason = "sealed: nobody outside may add a kind of permit")]
    pub trait Sealed {}
}

/// A kind of permit. Closed: there is no way to add one from outside.
pub trait Kind: sealed::Sealed {
    /// What a permit of this kind warrants.
    type Warrant: Clone + fmt::Debug;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $warrant:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $kind {}
        impl sealed::Sealed for $kind {}
        impl Kind for $kind { type Warrant = $warrant; }
    )*};
}

kinds! {
    /// Open the data key of one login for one worker.
    Release => ReleaseWarrant;
    /// Open the deposit key and the owner's subject key to seal one login for rest.
    Deposit => DepositWarrant;
    /// Ask the custodian for one tenant key.
    Warm => WarmWarrant;
    /// Ask the custodians for one tenant key, to wrap it anew.
    Rewrap => RewrapWarrant;
    /// Open keys under one version of a tenant key, to wrap them under another.
    Move => MoveWarrant;
}

/// What a release permit warrants: exactly one version of one login, for one worker's one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseWarrant {
    /// The tenant.
    pub tenant: TenantId,
    /// The credential holder, whose subject key protects the login.
    pub owner: SubjectId,
    /// The login.
    pub credential: CredentialId,
    /// The class of secret.
    pub class: Class,
    /// The current version, from the MACed row.
    pub secret_version: u32,
    /// The id the tenant key must have.
    pub tenant_key_id: [u8; 16],
    /// The worker, as SPIFFE id text.
    pub worker: String,
    /// Digest of the request, bound into the answer.
    pub request_digest: [u8; 32],
    /// The fields and forms that were decided.
    pub fields: Vec<FieldRequest>,
    /// The lease ends at this instant.
    pub lease_until: Timestamp,
}

/// What a deposit permit warrants: sealing one version of one login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepositWarrant {
    /// The tenant.
    pub tenant: TenantId,
    /// The credential holder.
    pub owner: SubjectId,
    /// The login.
    pub credential: CredentialId,
    /// The class of secret.
    pub class: Class,
    /// The version this deposit will be.
    pub secret_version: u32,
    /// The enrolment it belongs to.
    pub enrolment: EnrolmentId,
    /// The template its fields must follow.
    pub template_version: u32,
    /// The deposit key it was sealed to.
    pub deposit_key: DepositKeyId,
    /// The id the tenant key must have.
    pub tenant_key_id: [u8; 16],
}

/// What a warm permit warrants: one custodian call for one version of one tenant key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmWarrant {
    /// The tenant.
    pub tenant: TenantId,
    /// The version of its key.
    pub tenant_key_version: u32,
    /// The id the key must have.
    pub tenant_key_id: [u8; 16],
}

/// What a rewrap permit warrants: one opening of one version of one tenant key, for one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewrapWarrant {
    /// The job.
    pub job: KeyJobId,
    /// Where it moves the key: the text of a custody set.
    pub target: String,
    /// The tenant.
    pub tenant: TenantId,
    /// The version of its key.
    pub tenant_key_version: u32,
    /// The id the key must have.
    pub tenant_key_id: [u8; 16],
}

/// What a move permit warrants: opening as many keys as it says that lie directly under one version of a tenant key, and
/// wrapping them under the one in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveWarrant {
    /// The job.
    pub job: KeyJobId,
    /// The tenant.
    pub tenant: TenantId,
    /// The version they leave.
    pub from_version: u32,
    /// The id that version's key must have.
    pub from_id: [u8; 16],
    /// The version they go to: the one in force.
    pub to_version: u32,
    /// The id that version's key must have.
    pub to_id: [u8; 16],
    /// Keys at most.
    pub count: u32,
}

/// The right to mint permits. A process has one: `server` makes it and moves it into `store`.
///
/// ```compile_fail
/// # use cofre_model::permit::Mint;
/// fn forge() -> Mint {
///     Mint(()) // private field
/// }
/// ```
#[derive(Debug)]
pub struct Mint(());

impl Mint {
    /// Makes the mint. Clippy refuses this call everywhere but in `server`'s wiring and in `testkit`.
    #[must_use]
    pub fn assemble() -> Self {
        Self(())
    }

    /// Mints the permit of a committed entry. Whoever holds the mint answers for the entry being durable.
    pub fn permit<K: Kind>(&self, at: EntryRef, send_by: SendBy, warrant: K::Warrant) -> Permit<K> {
        Permit { entry: Evidence { at, send_by, warrant } }
    }
}

/// Authority to open keys once. Not `Clone`; the operation that opens keys takes it by value.
#[must_use = "a permit not used is a grant not served"]
pub struct Permit<K: Kind> {
    entry: Evidence<K::Warrant>,
}

impl<K: Kind> Permit<K> {
    /// The committed entry and what it warrants.
    #[must_use]
    pub fn entry(&self) -> &Evidence<K::Warrant> {
        &self.entry
    }
}

impl Permit<Rewrap> {
    /// Spends the permit on asking the custodians for the tenant key it names. Nothing is gained: asking is part of
    /// what it warrants, and it is gone afterwards.
    pub fn ask(self) -> Permit<Warm> {
        let Evidence { at, send_by, warrant } = self.entry;
        let RewrapWarrant { tenant, tenant_key_version, tenant_key_id, .. } = warrant;
        Permit { entry: Evidence { at, send_by, warrant: WarmWarrant { tenant, tenant_key_version, tenant_key_id } } }
    }
}

impl<K: Kind> fmt::Debug for Permit<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("index", &self.entry.at.index).finish_non_exhaustive()
    }
}

/// Signs the promise of a committed group with the node's own key. Implemented by the envelope's node key.
pub trait GroupSigner: Send + Sync + fmt::Debug {
    /// Ed25519 signature (RFC 8032) over `message`.
    fn sign(&self, message: &[u8]) -> [u8; 64];
    /// The public half.
    fn public_key(&self) -> [u8; 32];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn send_by_counts_from_submission() {
        let by = SendBy::from_submission(Monotonic::from_micros(1_000));
        assert!(by.check(Monotonic::from_micros(81_000)).is_ok());
        assert_eq!(by.check(Monotonic::from_micros(81_001)), Err(TooLate));
        assert_eq!(by.left(Monotonic::from_micros(1_000)), Some(SEND_WITHIN));
        assert_eq!(by.left(Monotonic::from_micros(81_000)), Some(Span::default()));
        assert_eq!(by.left(Monotonic::from_micros(81_001)), None);
    }
}
