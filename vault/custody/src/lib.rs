//! Keys held by an HSM or a key management service: wrap, unwrap and sign, custody sets and warm tenant keys.
//!
//! ```text
//! use case ── ReleaseKeys │ DepositKeys │ WrapKey │ RowKeys     narrow handles; the dangerous calls eat a permit
//!                 └───────────── TenantKeys ─────────────┘      warm cache, single flight, one Warm entry per ask
//!                          Wrapping │ Unwrapping                custody sets: any_of, all_of
//!                              Custodian                        the seam: one trait, a driver per kind of hardware
//!                               Guarded                         each behind a breaker: left alone while in trouble
//!                pkcs11 │ aws │ gcp │ transit                  a token, or a service; the last three by cargo feature
//! ```
//! This room opens no key without a committed entry, keeps no key longer than its tenant allows, never deletes key
//! material, never tries a refused PIN again, and hands nothing out in the clear because a custodian failed.
//!
//! Opening takes a permit, and takes it away:
//! ```
//! # use cofre_custody::{Error, ReleaseKeys, Warmed, WrappedKeys};
//! # use cofre_envelope::Dek;
//! # use cofre_model::permit::{Permit, Release};
//! async fn once(keys: &ReleaseKeys, permit: Permit<Release>, rows: WrappedKeys) -> Result<Dek, Error> {
//!     keys.open_keys(permit, rows, Warmed::default()).await
//! }
//! ```
//! It cannot be used twice:
//! ```compile_fail,E0382
//! # use cofre_custody::{Error, ReleaseKeys, Warmed, WrappedKeys};
//! # use cofre_envelope::Dek;
//! # use cofre_model::permit::{Permit, Release};
//! async fn twice(keys: &ReleaseKeys, permit: Permit<Release>, rows: WrappedKeys) -> Result<Dek, Error> {
//!     keys.open_keys(permit, rows.clone(), Warmed::default()).await?;
//!     keys.open_keys(permit, rows, Warmed::default()).await
//! }
//! ```
//! A handle that wraps has no way to open:
//! ```compile_fail,E0599
//! # use cofre_custody::{Error, Warmed, WrapKey, WrappedKeys};
//! # use cofre_envelope::Dek;
//! # use cofre_model::permit::{Permit, Release};
//! async fn open(keys: &WrapKey, permit: Permit<Release>, rows: WrappedKeys) -> Result<Dek, Error> {
//!     keys.open_keys(permit, rows, Warmed::default()).await
//! }
//! ```
//! A PIN has no text form (`Settings` has one):
//! ```
//! # use cofre_custody::pkcs11::Settings;
//! fn show(settings: &Settings) -> String {
//!     format!("{settings:?}")
//! }
//! ```
//! ```compile_fail,E0277
//! # use cofre_custody::pkcs11::Pin;
//! fn show(pin: &Pin) -> String {
//!     format!("{pin:?}")
//! }
//! ```

#[cfg(feature = "aws")]
pub mod aws;
mod breaker;
mod custodian;
mod error;
mod fault;
#[cfg(feature = "gcp")]
pub mod gcp;
mod guarded;
mod journal;
mod open;
pub mod pkcs11;
pub mod recorded;
#[cfg(any(feature = "aws", feature = "gcp", feature = "transit"))]
pub mod remote;
mod rewrap;
mod rotate;
mod set;
mod shares;
mod tally;
#[cfg(feature = "transit")]
pub mod transit;
mod warm;

pub use breaker::{AGAIN, FRESH, IN_A_ROW, LONGEST};
pub use custodian::{
    Custodian, CustodianId, Description, Mechanism, Pending, RequestId, Signer, Unwrapped, VerifyingKey, Wrapped,
};
pub use error::{Broken, Error};
pub use fault::{Cause, Detail, Fault, Operation};
pub use guarded::Guarded;
pub use journal::{Call, Failed, Journal, JournalError, WarmOutcome};
pub use open::{
    DepositKeyRow, DepositKeys, DepositRows, NewTenantKey, OpenedDeposit, ReleaseKeys, RowKeys, SubjectKeyRow, Warmed,
    WrapKey, WrappedKeys,
};
pub use rewrap::{RewrapKeys, Rewrapped};
pub use rotate::{Held, MovedKey, RotateKeys, UnderKey};
pub use set::{CarriedKeys, CustodySet, Member, Rule, SetError, WrappedShare, WrappedTenantKey};
pub use shares::{Custodians, Unwrapping, Wrapping};
pub use tally::Usage;
pub use warm::{Counters, IDLE, TenantKeys, TenantRef, WARM_FOR, Wiring};
