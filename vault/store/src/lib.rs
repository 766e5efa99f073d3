//! The cellar: records, ciphertexts and keyring on SQLite or PostgreSQL, and the one commit that orders everything.
//!
//! Only sealed secrets and wrapped keys come down here; this room knows no cipher and no secret type. Whatever
//! changes records is a typed operation of the one commit, and each brings its ledger entry in the same
//! transaction. Permits are minted here, after the transaction is durable, and nowhere else.

mod ciphertexts;
pub mod columns;
mod commit;
mod engine;
mod error;
mod keyring;
mod migrations;
mod open;
mod postgres;
mod random;
mod records;
mod row;
mod sqlite;
mod standing;
mod statement;
mod unverified;

pub use ciphertexts::Ciphertexts;
pub use commit::change::Change;
pub use commit::operation::{Lockdown, NewKeyJob, Operation};
pub use commit::request::{DepositIntent, MoveRequest, RewrapRequest, WarmRequest};
pub use commit::{CommitConfig, Committed, Promise};
pub use error::{CommitError, Error};
pub use keyring::Keyring;
pub use keyring::carried::{CarriedKey, CarriedKind};
pub use keyring::claims::KeyFailure;
pub use keyring::deposit_keys::StoredDepositKey;
pub use keyring::integrator::IntegratorState;
pub use keyring::moves::{Behind, MovedKey};
pub use keyring::outlived::Outlived;
pub use keyring::retiring::{Destruction, Retirement};
pub use keyring::subject_keys::{Destroyed, StoredDataKey, StoredSubjectKey, Tombstone};
pub use keyring::tenant_keys::TenantKeyShare;
pub use keyring::wrappings::{CustodianShares, Due, KeyVersion, WrappedBy};
pub use open::{Mode, Place, ServingRoles, StoreConfig, Stores};
pub use postgres::address::{AddressError, Postgres};
pub use records::Records;
pub use records::consents::{ConsentRecord, ReceiptRecord};
pub use records::credentials::{CredentialRecord, Enrolment, EnrolmentState};
pub use records::deciding::{PastRelease, ReleaseQuery, ReleaseRows};
pub use records::erasures::{Erasure, ErasureState};
pub use records::grants::OpenGrant;
pub use records::key_jobs::KeyCount;
pub use records::ledger::{Checkpoint, Head, LedgerRow, Tile};
pub use records::search::{Found, Page, Search};
pub use records::subjects::{Subject, SubjectKind, SubjectState};
pub use records::tenants::TenantRecord;
pub use unverified::Unverified;
