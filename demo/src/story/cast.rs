//! The cast: investors with their logins, phones and, later, credentials and consents.

use cofre_model::id::{ConsentId, CredentialId, SubjectId};
use cofre_testkit::institutions::Institution;
use cofre_testkit::logins::Login;

/// One investor of the story.
pub(super) struct Investor {
    /// The tenant's pseudonym.
    pub(super) reference: String,
    /// The bank.
    pub(super) institution: Institution,
    /// What the bank knows.
    pub(super) login: Login,
    /// What was deposited first; differs from `login` where the investor mistyped.
    pub(super) typed: Login,
    /// The phone and the token to look at it.
    pub(super) phone: (String, String),
    /// The credential holder in the vault.
    pub(super) owner: SubjectId,
    /// The login in the vault.
    pub(super) credential: CredentialId,
    /// The consent, once given.
    pub(super) consent: Option<ConsentId>,
}

impl Investor {
    /// Field names and values, in the order of the form.
    pub(super) fn typed(&self) -> Vec<(&str, &[u8])> {
        self.typed.fields().collect()
    }
}
