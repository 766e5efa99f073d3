//! Enrolment and deposit.

use super::{NotAToken, Token};
use crate::credential::FieldKey;
use crate::id::{CredentialId, DepositKeyId, EnrolmentId, InstitutionId};

/// A tenant's own pseudonym for an investor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectRef(Token);

impl SubjectRef {
    /// The text, exactly as parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<&str> for SubjectRef {
    type Error = NotAToken;
    fn try_from(text: &str) -> Result<Self, NotAToken> {
        Token::try_from(text).map(Self)
    }
}

/// Open an enrolment session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenEnrolment {
    /// For which login.
    pub login: Login,
}

/// A new login, or one whose secret is entered anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// A login the vault does not have.
    New {
        /// Where it works.
        institution: InstitutionId,
        /// Whose it is.
        subject: SubjectRef,
    },
    /// A login that rests already; its id stays.
    Existing(CredentialId),
}

/// The sealed fields of a login, as the investor's page made them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedDeposit {
    /// The session.
    pub enrolment: EnrolmentId,
    /// The key it was sealed to.
    pub deposit_key: DepositKeyId,
    /// HPKE encapsulated key; one for the whole deposit.
    pub encapsulated_key: Vec<u8>,
    /// HPKE ciphertexts by field, in the order they were sealed.
    pub fields: Vec<(FieldKey, Vec<u8>)>,
}
