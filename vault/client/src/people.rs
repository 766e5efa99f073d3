//! The calls of the personal roles: operators, security, auditors, privacy officers. Thin on purpose; what they may
//! do is the vault's to decide.

pub mod audit;
pub mod operate;
pub mod privacy;
pub mod secure;

pub use audit::Auditor;
pub use operate::{Operator, OrderedJob, RetiredKeys};
pub use privacy::PrivacyOfficer;
pub use secure::Security;
