//! Wire to model and back. Parsing is strict and total: every id, number, length and list is judged here, and what is
//! refused names its field and the way out. Nothing is trimmed, folded or guessed.

mod admin;
mod audit;
mod common;
mod consent;
mod deposit;
mod keys;
mod relay;
mod release;

pub use admin::{lockdown, put_institution, put_template, put_tenant, put_worker, template_field, worker};
pub use audit::search;
pub use common::{entry_ref, id, institution};
pub use consent::{grant_request, notice_request};
pub use deposit::{open_enrolment, person, sealed_deposit};
pub use keys::{retire_keys, retire_tenant_keys, rewrap_keys, rotate_keys};
pub use relay::{challenge_key, challenge_key_to_wire, challenge_request, sealed_answer};
pub use release::{outcome_report, release_request, seal_key, statement};

/// A field of a message is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {advice}")]
pub struct Malformed {
    /// The field, as a path such as `fields[2].key`.
    pub field: String,
    /// What it has to be. Holds nothing of what was sent.
    pub advice: String,
}

impl Malformed {
    /// Names a field and the way out.
    pub fn new(field: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { field: field.into(), advice: advice.into() }
    }
}

#[cfg(test)]
mod tests;
